"""Models side by side, the last events, what is served."""

from datetime import UTC, datetime, timedelta

from tests.browser.actions import become, until


def test_one_visitor_is_ranked_by_each_model_side_by_side(visit, shared_demo_server):
    page = visit(shared_demo_server, "/page/compare.html")
    become(page, "demo-hannah-joel")
    until(page, lambda: "for demo-hannah-joel" in page.inner_text("#say"))
    document = shared_demo_server.client.get("/openapi.json").json()
    choices = document["components"]["schemas"]["RankRequest"]["properties"]["model"]["anyOf"]
    offered = set(next(one["enum"] for one in choices if "enum" in one)) - {"auto"}
    shown = page.locator("[data-model]")
    assert {one.get_attribute("data-model") for one in shown.all()} == offered >= {"simple", "sequence"}
    everything = [item["id"] for item in all_items(shared_demo_server)]
    tops, boxes, own = [], [], set()
    for column in shown.all():
        body = {"user_id": "demo-hannah-joel", "model": column.get_attribute("data-model"), "candidates": everything}
        answer = shared_demo_server.client.post("/rank", json={**body, "top_k": 10}).json()
        tops.append([line.get_attribute("data-id") for line in column.locator("li").all()])
        boxes.append(column.bounding_box()["y"])
        assert tops[-1] == [one["id"] for one in answer["ranked"]]
        if "fallback" in answer:
            assert answer["fallback"] in column.inner_text()
        else:
            own.add(tuple(tops[-1]))
    assert len(own) >= 2
    assert len(set(boxes)) == 1  # side by side


def all_items(server):
    after, items = 0, []
    while after is not None:
        page = server.client.get("/content", params={"limit": 100, "after": after}).json()
        items += page["items"]
        after = page["next"]
    return items


def test_the_last_events_are_listed_and_those_of_one_visitor(visit, start_server):
    server = start_server()
    server.client.put("/content/lamp", json={"title": "Desk lamp", "text": "a brass lamp"})
    start = datetime.now(UTC) - timedelta(days=1)
    events = [
        {"user_id": f"user-{n % 7}", "content_id": "lamp", "type": "view", "event_id": f"e-{n}",
         "timestamp": (start + timedelta(seconds=n)).isoformat(), "device": "phone"}
        for n in range(330)
    ]  # fmt: skip
    assert server.client.post("/interactions", json=events).json()["stored"] == 330
    server.client.delete("/interactions/e-300")  # a gap in the sequence
    page = visit(server, "/page/events.html")
    until(page, lambda: page.locator("#events tr").count() == 100)
    shown = [row.get_attribute("data-event") for row in page.locator("#events tr").all()]
    assert shown == [f"e-{n}" for n in range(329, 228, -1) if n != 300]
    first = page.locator("#events tr").first.inner_text()
    assert all(part in first for part in ("user-0", "Viewed", "Desk lamp", "phone"))
    page.locator("#events tr").first.locator("button").click()
    until(page, lambda: page.inner_text("#say") == "48 events of user-0.")
    assert {cell.inner_text() for cell in page.locator("#events button").all()} == {"user-0"}


def test_the_models_page_shows_what_is_served_its_quality_and_the_way_back(visit, shared_demo_server):
    page = visit(shared_demo_server, "/page/models.html")
    page.wait_for_selector("[data-model]")
    info = shared_demo_server.client.get("/info").json()
    for model in [*info["models"], info["sequence"]]:
        panel = page.locator(f"[data-model='{model['model_version']}']")
        assert model["bundle_sha256"] in panel.inner_text()
    assert "Hybrid ranker" in page.locator("[data-model='hybrid-prior-1']").inner_text()
    spearman = info["models"][0]["quality"]["stsb_dev"]["spearman"]
    assert f"{spearman:.4g}" in page.inner_text("#models")
    assert "vows-edge models back" in page.inner_text("#models")


def test_a_button_of_the_models_page_serves_the_bundle_before_again(visit, start_server, models_with_two_sequences):
    server = start_server(models_dir=models_with_two_sequences)
    page = visit(server, "/page/models.html")
    for now, before in (("first", "second"), ("second", "first")):
        page.locator("[data-kind=sequence] button", has_text=f"Serve {now} again").click()
        until(page, lambda now=now: page.inner_text("#say") == f"{now} is served.")
        assert server.client.get("/info").json()["sequence"]["model_version"] == now
        assert f"Serve {before} again" in page.inner_text("[data-kind=sequence]")


def test_the_pages_lead_to_each_other(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    for name in [link.inner_text() for link in page.locator("nav a").all()]:
        page.goto(f"{shared_demo_server.url}/")
        page.locator("nav a").filter(has_text=name).click()
        page.wait_for_load_state()
        assert shared_demo_server.client.get(page.url).status_code == 200
        if name != "API":  # which has links of its own
            assert page.locator("nav a[aria-current=page]").inner_text() == name, page.url
