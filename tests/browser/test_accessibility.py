"""axe, the accessibility checker, finds no violations on any page, in light and in dark, dialogs included."""

from pathlib import Path

import pytest

from tests.browser.actions import become, settle, until

AXE = Path(__file__).parents[2] / "build/clients/node/node_modules/axe-core/axe.min.js"
READY = {
    "/": ".chance",
    "/page/compare.html": "[data-model] li",
    "/page/events.html": "#events tr",
    "/page/models.html": "[data-model]",
    "/page/experiments.html": "#none:not([hidden])",
    "/docs": "h2",
}


@pytest.fixture(scope="module")
def axe():
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make clients")
    return AXE.read_text()


def violations(page, axe):
    settle(page)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], one["help"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", READY)
@pytest.mark.parametrize("size", [(1400, 1000), (390, 844)], ids=["desktop", "phone"])
def test_no_violations(visit, shared_demo_server, axe, path, scheme, size):
    page = visit(shared_demo_server, path, size=size, color_scheme=scheme, reduced_motion="reduce")
    page.wait_for_selector(READY[path])
    assert violations(page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_violations_in_the_feed_of_somebody_with_a_history_and_its_dialogs(visit, shared_demo_server, axe, scheme):
    page = visit(shared_demo_server, color_scheme=scheme, reduced_motion="reduce")
    page.wait_for_selector(".card")
    become(page, "demo-hannah-joel")
    until(page, lambda: "what you did" in page.inner_text("#source"))
    assert violations(page, axe) == []
    for opener, dialog in ((".why", "#why"), ("#requests button", "#request"), (".card .open", "#detail")):
        page.locator(opener).first.click()
        page.wait_for_selector(f"{dialog}[open]")
        assert violations(page, axe) == []
        page.keyboard.press("Escape")


def test_no_violations_on_an_empty_server(visit, start_server, axe):
    page = visit(start_server(), color_scheme="dark", reduced_motion="reduce")
    page.wait_for_selector("#samples button")
    assert violations(page, axe) == []
