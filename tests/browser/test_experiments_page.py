"""The page of experiments, in a real browser."""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEPT = os.environ.get("SCREENSHOTS")
ITEMS = [f"item-{n}" for n in range(6)]


def test_the_page_shows_an_experiment_and_its_buttons_change_it(start_server):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright, see the test extra")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium on the PATH: apt-get install chromium")
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
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url) if server.url not in request.url else None)
        page.goto(f"{server.url}/page/experiments.html")
        panel = page.locator("[data-name=feed-ranker]")
        panel.get_by_text("The counts say").wait_for()
        panel.locator(".chart .band").wait_for(state="attached", timeout=20_000)
        assert "running" in panel.locator(".state").inner_text()
        assert panel.get_by_text("Sample ratio").is_visible()
        assert panel.get_by_text("cold start ratio").is_visible()
        assert panel.locator("tr").count() == 3
        if KEPT:
            page.screenshot(path=Path(KEPT) / "experiments.png")
        panel.get_by_role("button", name="Promote treatment").click()
        panel.locator(".state", has_text="promoted (treatment)").wait_for()
        assert client.get("/experiments").json()["model"] == "hybrid"
        panel.get_by_role("button", name="Roll back").click()
        panel.locator(".state", has_text="rolled back").wait_for()
        assert client.get("/experiments").json()["model"] is None
        assert faults == []
        browser.close()
