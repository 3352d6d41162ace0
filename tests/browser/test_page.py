"""The page at `/`, in a real browser. SCREENSHOTS=docs/images keeps what it looked like."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from examples.wedding.client import Client
from examples.wedding.demo import load, play_all
from examples.wedding.journeys import load_catalogue, load_journeys
from runtime.api.pages import FOLDER
from runtime.http.api_keys import entry, make_key

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEPT = os.environ.get("SCREENSHOTS")
WAIT_MS = 30_000
DONE = {"save": "Saved", "share": "Shared", "skip": "Skipped"}


def test_the_page_stays_small():
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert {"index.html", "page.js"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) <= 60_000
    for path in files:
        text = path.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), f"{path.name} names another host"
        assert not re.search(r"<style|style=|<script>|\son\w+=\"|eval\(", text), f"{path.name} needs a looser policy"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright, see the test extra")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared_demo_server(start_server):
    """A server with the catalogue of the demo, and its couples."""
    server = start_server()
    client, catalogue = Client(server.url), load_catalogue()
    load(client, catalogue)
    play_all(client, load_journeys(), catalogue)
    return server


@pytest.fixture
def visit(browser):
    """Opens the page as a new visitor. At the end nothing may have gone wrong, or have been asked of another host."""
    contexts, faults = [], []

    def visit(server, **options):
        context = browser.new_context(viewport={"width": 1400, "height": 1000}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: request.url.startswith(server.url) or faults.append(request.url))
        page.goto(f"{server.url}/")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [fault for fault in faults if "401" not in fault] == []


def titles(page):
    return page.locator(".card h3").all_inner_texts()


def until(page, condition):
    """Playwright's own way of waiting for a condition evaluates strings in the page, which its policy forbids."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def settle(page):
    """Wait until no animation runs."""
    until(page, lambda: page.evaluate("document.getAnimations().every((a) => a.playState !== 'running')"))


def act(page, card, what):
    """Click, and wait until the page has said so, which it does last, and the feed is in its new order."""
    done = f"{DONE[what]} {card.locator('h3').inner_text()}"
    card.locator(f"[data-type={what}]").click()
    until(page, lambda: page.inner_text("#say").startswith(done))
    settle(page)


def keep(page, name):
    if KEPT:
        page.mouse.move(5, 500)
        settle(page)
        page.screenshot(path=Path(KEPT) / name, type="jpeg", quality=82)


def test_clicks_move_the_ranking_and_the_plot(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    assert "popular" in page.inner_text("#source")
    before, place = titles(page), page.locator(".you").get_attribute("style")
    rustic = page.locator(".card").filter(has_text="rustic").first
    saved = rustic.locator("h3").inner_text()
    act(page, rustic, "save")
    assert titles(page)[0] == saved
    assert titles(page) != before
    assert page.locator(".you").get_attribute("style") != place
    assert "what you did" in page.inner_text("#source")
    assert page.locator(".card").first.locator("[data-type=save]").get_attribute("aria-pressed") == "true"
    assert saved in page.inner_text("#say")
    assert "rustic" in page.inner_text("#closest")
    assert page.locator(".trail").get_attribute("d").count("L") == 1
    act(page, page.locator(".card").nth(2), "share")
    assert "2 interactions" in page.inner_text("#closest")
    skipped = titles(page)[1]
    act(page, page.locator(".card").nth(1), "skip")
    assert skipped not in titles(page)
    user = page.input_value("#user")
    assert shared_demo_server.client.get(f"/user/{user}/embedding").json()["interaction_count"] == 3
    page.evaluate("scrollTo(0, 0)")
    keep(page, "page.jpg")


def test_a_text_is_embedded_and_ranks_the_feed(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    page.fill("#text", "a ballroom with chandeliers, black tie and champagne")
    page.click("#embed button")
    page.wait_for_selector("#reading:not([hidden])")
    assert re.search(r"384 numbers from \d+ tokens in [\d.]+ ms", page.inner_text("#read"))
    assert page.locator(".words").get_attribute("d").startswith("M")
    page.click("#read button")
    assert page.inner_text("#feed-title") == "As you said"
    assert "black tie" in page.locator(".card").first.inner_text()


def test_memory_and_latency_charts_show_the_limit(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    until(page, lambda: "MiB" in page.inner_text("#memory"))
    rss = int(re.match(r"(\d+) MiB", page.inner_text("#memory"))[1])
    assert 50 < rss < 256
    assert page.locator(".limit-text").text_content() == "256 MiB"
    assert "of 256 MiB" in page.locator("#memory-plot title").text_content()
    assert re.search(r"[\d.]+ of [\d.]+ ms in the server", page.inner_text("#latency"))
    assert page.locator("#latency-plot rect").count() >= 4


def test_an_item_opens_and_closes_by_keyboard_and_counts_as_a_view(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    page.locator(".card .open").nth(1).focus()
    title = titles(page)[1]
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[open]")
    assert page.inner_text("#detail-title") == title
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail", state="hidden")
    viewed = page.locator(".card").filter(has_text=title).first.locator("[data-type=view]")
    until(page, lambda: viewed.get_attribute("aria-pressed") == "true")


def test_switching_users_and_deleting_one(visit, shared_demo_server):
    page = visit(shared_demo_server, color_scheme="dark")
    page.wait_for_selector(".card")
    page.fill("#user", "demo-hannah-joel")
    page.click("#who button:not([type])")
    until(page, lambda: "what you did" in page.inner_text("#source"))
    assert "rustic" in page.inner_text("#closest")
    keep(page, "page-dark.jpg")
    page.fill("#user", "to-be-forgotten")
    page.click("#who button:not([type])")
    until(page, lambda: "popular" in page.inner_text("#source"))
    act(page, page.locator(".card").nth(3), "save")
    page.click("#forget")
    until(page, lambda: "popular" in page.inner_text("#source"))
    assert shared_demo_server.client.get("/user/to-be-forgotten/embedding").json()["interaction_count"] == 0


def test_the_page_fits_a_phone(visit, shared_demo_server):
    page = visit(shared_demo_server, color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_selector(".card")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    buttons = page.locator(".card").first.locator(".acts button").all()
    assert len(buttons) == 4  # view, save, share, skip
    for button in buttons:
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    page.locator("#feed").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('feed').scrollIntoView()")
    keep(page, "page-phone.jpg")


def test_every_control_has_an_accessible_name(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    assert page.locator("button, input, [role=img]").count() > 20
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, [role=img], dialog[open]")].filter((e) => !(
            e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
            || e.labels?.length)).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []


def test_an_empty_catalogue_says_what_to_do(visit, start_server):
    page = visit(start_server())
    page.wait_for_selector("#empty:not([hidden])")
    assert "make demo" in page.inner_text("#empty")


def test_a_server_with_keys_asks_for_one(visit, start_server):
    key = make_key()
    server = start_server(api_keys=entry("page", "read+write", key))
    item = {"text": "a barn", "tags": ["venue", "rustic"]}
    server.client.put("/content/a", json=item, headers={"x-api-key": key})
    page = visit(server)
    page.wait_for_selector("#key[open]")
    page.fill("#key-text", key)
    page.click("#key button")
    page.wait_for_selector(".card")
    act(page, page.locator(".card").first, "save")


def test_stored_content_is_shown_as_text_never_as_markup(visit, start_server):
    server = start_server()
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    for n in range(3):
        item = {"title": f"{evil} {n}", "description": evil, "vendor_name": evil, "tags": [evil, "rustic"]}
        server.client.put(f"/content/{n}%3Cb%3E", json=item)
    page = visit(server)
    page.wait_for_selector(".card")
    assert titles(page)[0].startswith(evil)
    page.locator(".card .open").first.click()
    page.wait_for_selector("#detail[open]")
    assert page.locator("#cards img, #cards script, #detail img, #detail script").count() == 0
    assert page.title().startswith("vows-edge")


def test_the_content_security_policy_is_strict(shared_demo_server):
    for path in ("/", "/page/page.js", "/docs"):
        answer = shared_demo_server.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Fapp.py", "..%2f..%2fsettings.py", "%2Fetc%2Fpasswd", "page.js%00"]
)
def test_only_files_of_the_page_are_served(shared_server, name):
    assert shared_server.client.get(f"/page/{name}").status_code == 404


def test_the_documentation_page_has_its_style(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.goto(f"{shared_demo_server.url}/docs")
    assert page.evaluate("getComputedStyle(document.querySelector('pre')).borderRadius") == "6px"
