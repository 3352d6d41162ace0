"""What the tests of the pages do in a browser, and how they wait: for conditions, never for a time."""

import os
import time
from pathlib import Path

KEPT = os.environ.get("SCREENSHOTS")  # SCREENSHOTS=docs/images keeps what the pages looked like
WAIT_MS = 90_000
DONE = {"save": "Saved", "share": "Shared", "skip": "Skipped"}


def until(page, condition):
    """Playwright's own way of waiting for a condition evaluates strings in the page, which its policy forbids."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def settle(page):
    """Wait until no animation runs."""
    until(page, lambda: page.evaluate("document.getAnimations().every((a) => a.playState !== 'running')"))


def keep(page, name):
    if KEPT:
        page.mouse.move(5, 500)
        settle(page)
        page.screenshot(path=Path(KEPT) / name, type="jpeg", quality=82)


def titles(page):
    return page.locator(".card h3").all_inner_texts()


def act(page, card, what):
    """Click, and wait until the page has said so, which it does last, and the feed is in its new order."""
    done = f"{DONE[what]} {card.locator('h3').inner_text()}"
    card.locator(f"[data-type={what}]").click()
    until(page, lambda: page.inner_text("#say").startswith(done))
    settle(page)


def become(page, user):
    page.fill("#user", user)
    page.click("#who button:not([type])")
