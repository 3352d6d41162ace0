"""The page at `/`, in a real browser."""

import re

import pytest

from runtime.api.pages import FOLDER
from runtime.http.api_keys import entry, make_key
from tests.browser.actions import act, become, keep, titles, until

PAGE_BYTES = 90_000  # markup, styles and scripts of all pages
ACTIONS = ("view", "save", "share", "skip")
SAMPLE_BYTES = 70_000  # loaded on a click, or with the sample's items


def test_the_pages_stay_small_and_fetch_nothing_from_elsewhere():
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    sample = [path for path in files if path.name.startswith("wedding")]
    assert {"index.html", "page.js"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in set(files) - set(sample)) <= PAGE_BYTES
    assert sum(path.stat().st_size for path in sample) <= SAMPLE_BYTES
    for path in files:
        text = path.read_text()
        if path.suffix == ".json":
            continue  # data: addresses in it are sent to the server, never fetched
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), f"{path.name} names another host"
        assert not re.search(r"<style|style=|<script>|\son\w+=\"|eval\(", text), f"{path.name} needs a looser policy"


def test_only_the_sample_speaks_of_weddings():
    for path in FOLDER.iterdir():
        if path.is_file() and not path.name.startswith("wedding") and path.name != "sample.js":
            found = re.search(
                r"wedding|bride|groom|venue|couple|vows(?!-edge|\"|_)|barn", path.read_text(), re.IGNORECASE
            )
            assert found is None, f"{path.name}: {found[0]}"


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
    assert page.locator("#plot .trail").get_attribute("d").count("L") == 1
    act(page, page.locator(".card").nth(2), "share")
    assert "2 interactions" in page.inner_text("#closest")
    skipped = titles(page)[1]
    act(page, page.locator(".card").nth(1), "skip")
    assert skipped not in titles(page)
    user = page.input_value("#user")
    assert shared_demo_server.client.get(f"/user/{user}/embedding").json()["interaction_count"] == 3
    page.evaluate("scrollTo(0, 0)")
    keep(page, "page.jpg")


def test_a_catalogue_too_large_to_rank_whole_is_paged_and_nothing_of_it_is_left_out(visit, start_server):
    """What a visitor likes may be the last item that was stored."""
    server, items = start_server(), 460
    kinds = ("garden", "harbour")
    for start in range(0, items, 230):
        batch = [
            {
                "id": f"item-{n}",
                "title": f"Item {n}",
                "text": f"{kinds[n >= 440]} place {n}",
                "category": kinds[n >= 440],
            }
            for n in range(start, start + 230)
        ]
        assert server.client.post("/content/batch", json=batch).json()["stored"] == 230
    page = visit(server)
    page.wait_for_selector(".card")
    assert f"the first 400 of {items} items" in page.inner_text("#source")
    become(page, "sailor")
    server.client.post("/interactions", json={"user_id": "sailor", "content_id": "item-459", "type": "share"})
    become(page, "sailor")
    until(page, lambda: page.locator(".card").nth(1).get_attribute("data-id") >= "item-440")
    shown = {int(card.get_attribute("data-id").rpartition("-")[2]) for card in page.locator(".card").all()}
    assert len({n for n in shown if n >= 440}) >= 15
    count = page.locator(".card").count()
    for _ in range(3):  # the third is beyond the first page
        page.click("#more")
        until(page, lambda count=count: page.locator(".card").count() > count)
        count = page.locator(".card").count()
    ids = [card.get_attribute("data-id") for card in page.locator(".card").all()]
    assert len(ids) == len(set(ids)) == 4 * 24


def test_the_feed_follows_the_words_while_they_are_typed(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    page.locator("#text").press_sequentially("a ballroom with chandeliers, black tie and champagne")
    until(page, lambda: page.inner_text("#feed-title") == "By your words")
    until(page, lambda: page.inner_text("#say").startswith("First for these words"))
    until(page, lambda: "black tie" in page.locator(".card").first.inner_text())
    assert re.search(r"\d+ tokens, read in [\d.]+ ms", page.inner_text("#source"))
    assert page.locator(".words").get_attribute("d").startswith("M")
    page.fill("#text", "")  # back to the own order
    until(page, lambda: page.inner_text("#feed-title") == "For you")


def test_a_card_says_why_it_is_there(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    page.locator(".card .why").first.click()
    page.wait_for_selector("#why[open]")
    assert "popular" in page.inner_text("#why")
    page.keyboard.press("Escape")
    become(page, "demo-hannah-joel")
    until(page, lambda: "what you did" in page.inner_text("#source"))
    page.locator(".card .why").first.click()
    page.wait_for_selector("#why[open] td")
    assert re.search(r"(Saved|Shared|Viewed) .+, \d+ days ago\s+\+0\.\d{3}", page.inner_text("#why"))


def test_a_card_leads_to_what_is_like_it(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    card = page.locator(".card").nth(2)
    item, title = card.get_attribute("data-id"), card.locator("h3").inner_text()
    card.locator(".like").click()
    until(page, lambda: page.inner_text("#feed-title") == f"Like {title}")
    found = shared_demo_server.client.get(f"/content/{item}/similar?top_k=5").json()["results"]
    shown = [card.get_attribute("data-id") for card in page.locator(".card").all()[:5]]
    assert shown == [one["id"] for one in found]


def test_a_card_has_the_probabilities_of_the_four_actions(visit, shared_demo_server):
    page = visit(shared_demo_server)
    become(page, "demo-hannah-joel")
    until(
        page, lambda: page.locator(".chance").first.inner_text() != "" and "what you did" in page.inner_text("#source")
    )
    card = page.locator(".card").first  # whichever it is by then: the feed may still be ranked again
    until(page, lambda: abs(sum(chances(card)) - 100) <= 2)  # each is rounded

    def as_predicted():
        body = {"candidates": [card.get_attribute("data-id")]}
        (found,) = shared_demo_server.client.post("/user/demo-hannah-joel/next-action", json=body).json()["actions"]
        return chances(card) == [pytest.approx(100 * found[what], abs=1) for what in ACTIONS]

    until(page, as_predicted)


@pytest.mark.parametrize(("path", "data"), [("/", "**/content?*"), ("/page/compare.html", "**/openapi.json")])
def test_a_visitor_named_while_the_page_loads_is_not_lost(visit, shared_demo_server, path, data):
    page, held, released = visit(shared_demo_server, path), [], []
    page.wait_for_selector("#who :enabled")  # so that what is held below is asked for after this
    page.route(data, lambda route: route.continue_() if released else held.append(route))
    page.reload()
    until(page, lambda: held)
    assert page.locator("#who :enabled").count() == 0  # nothing can be typed that loading would overwrite
    released.append(True)
    held[0].continue_()
    become(page, "demo-hannah-joel")  # as soon as the field takes it
    until(page, lambda: "what you did" in page.inner_text("main") or "for demo-hannah-joel" in page.inner_text("#say"))
    assert page.input_value("#user") == "demo-hannah-joel"


def test_an_answer_for_an_earlier_visitor_is_not_shown(visit, shared_demo_server):
    page, held = visit(shared_demo_server), []
    page.wait_for_selector(".card .chance:not(:empty)")
    of_hannah = "**/user/demo-hannah-joel/next-action"
    page.route(of_hannah, lambda route: held.append(route))  # all that her order waits for
    become(page, "demo-hannah-joel")
    until(page, lambda: held)
    become(page, "nobody-yet")
    until(page, lambda: "popular" in page.inner_text("#source") and page.inner_text("#closest").startswith("Save"))
    with page.expect_response(of_hannah):
        held[0].continue_()
    page.wait_for_timeout(100)
    assert page.inner_text("#closest").startswith("Save")


def chances(card):
    return [int(re.match(r"\d+", text)[0]) for text in card.locator(".chance").all_inner_texts() if text]


def test_taste_is_a_path_over_weeks(visit, shared_demo_server):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    become(page, "demo-camille-andre")
    until(page, lambda: page.locator("#weeks-plot circle").count() > 2)
    style = shared_demo_server.client.get("/user/demo-camille-andre/style?weeks=12").json()
    weeks = [week for week in style["weeks"] if week["to_now"] is not None]
    assert page.locator("#weeks-plot circle").count() == len(weeks)
    now = page.locator("#weeks-plot .week-now")
    x, y = float(now.get_attribute("cx")), float(now.get_attribute("cy"))
    first = page.locator("#weeks-plot circle").first  # as far from now as its cosine says, in the plot's scale
    assert (x, y) == (200, 100)
    assert (float(first.get_attribute("cx")), float(first.get_attribute("cy"))) != (x, y)
    assert "→" in page.inner_text("#drift")


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
    become(page, "demo-hannah-joel")
    until(page, lambda: "rustic" in page.inner_text("#closest"))
    keep(page, "page-dark.jpg")
    become(page, "to-be-forgotten")
    until(page, lambda: "popular" in page.inner_text("#source"))
    act(page, page.locator(".card").nth(3), "save")
    page.click("#forget")
    until(page, lambda: "popular" in page.inner_text("#source"))
    assert shared_demo_server.client.get("/user/to-be-forgotten/embedding").json()["interaction_count"] == 0


def test_the_first_card_is_seen_on_a_phone_without_scrolling(visit, shared_demo_server):
    page = visit(shared_demo_server, size=(390, 844), color_scheme="light", reduced_motion="reduce")
    until(page, lambda: page.locator(".chance").first.inner_text() != "")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".card").first.bounding_box()
    assert box["y"] + box["height"] <= 844
    buttons = page.locator(".card").first.locator(".acts button").all()
    assert len(buttons) == len(ACTIONS)
    for button in buttons:
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
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


def test_an_empty_server_is_filled_with_a_sample_on_a_click(visit, start_server):
    server = start_server()
    page = visit(server)
    page.wait_for_selector("#empty:not([hidden])")
    assert page.inner_text("#ask") == "Describe what you are looking for"
    page.click("#samples button")
    page.wait_for_selector(".card")
    assert page.inner_text("#ask") == "Describe the day you dream of"
    assert server.client.get("/info").json()["stored"]["content"] == 110
    assert page.locator("#users option").count() == 6
    for option in page.locator("#users option").all():  # each has a history or preferences
        user = option.get_attribute("value")
        assert server.client.get(f"/user/{user}/embedding").json()["source"] in ("history", "preferences")


def test_another_catalogue_is_shown_in_its_own_words(visit, start_server):
    server = start_server()
    for n in range(12):
        server.client.put(
            f"/content/lamp-{n}", json={"title": f"Desk lamp {n}", "category": "lamps", "tags": ["brass"]}
        )
    page = visit(server)
    page.wait_for_selector(".card")
    text = page.inner_text("body")
    assert page.inner_text("#ask") == "Describe what you are looking for"
    assert "lamps" in page.inner_text("#kinds")
    assert not re.search(r"wedding|bride|groom|couple", text, re.IGNORECASE)
    assert page.locator(".card .art path").count() >= 12


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
