"""The page of experiments, in a real browser."""

from tests.browser.actions import keep

ITEMS = [f"item-{n}" for n in range(6)]


def test_the_page_shows_an_experiment_and_its_buttons_change_it(visit, start_server):
    server = start_server()
    client = server.client
    client.post("/content/batch", json=[{"id": id, "text": f"a venue {id}"} for id in ITEMS])
    arms = [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]
    definition = {"arms": arms, "window_s": 2, "promote": "manual", "min_lift": 0.1}
    client.put("/experiments/feed-ranker", json=definition)
    for n in range(120):
        shown = client.post("/rank", json={"user_id": f"u-{n}", "candidates": ITEMS}).json()
        if n % 4 < 1 + 2 * (shown["arm"] == "treatment"):
            event = {"user_id": f"u-{n}", "content_id": shown["ranked"][0]["id"], "type": "save"}
            client.post("/interactions", json=event)
    page = visit(server, "/page/experiments.html", size=(1000, 900))
    panel = page.locator("[data-name=feed-ranker]")
    panel.get_by_text("The counts say").wait_for()
    panel.locator(".chart .band").wait_for(state="attached")
    assert "running" in panel.locator(".state").inner_text()
    assert panel.get_by_text("Sample ratio").is_visible()
    assert panel.get_by_text("cold start ratio").is_visible()
    assert panel.locator("tr").count() == 3
    keep(page, "experiments.jpg")
    panel.get_by_role("button", name="Promote treatment").click()
    panel.locator(".state", has_text="promoted (treatment)").wait_for()
    assert client.get("/experiments").json()["model"] == "hybrid"
    panel.get_by_role("button", name="Roll back").click()
    panel.locator(".state", has_text="rolled back").wait_for()
    assert client.get("/experiments").json()["model"] is None
