"""A browser, pages opened in it, and a server with the sample catalogue."""

import shutil

import pytest

from examples.wedding.client import Client
from examples.wedding.demo import load, play_all
from examples.wedding.journeys import load_catalogue, load_journeys
from tests.browser.actions import WAIT_MS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")  # not longer: an event loop runs as long as it does, and other tests need none there
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright, see the test extra")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP *.example 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_demo_server(start_lasting_server):
    """A server with the catalogue of the demo, and its couples."""
    server = start_lasting_server()
    client, catalogue = Client(server.url), load_catalogue()
    load(client, catalogue)
    play_all(client, load_journeys(), catalogue)
    return server


@pytest.fixture
def visit(browser):
    """Opens a page as a new visitor. At the end nothing may have gone wrong, or have been asked of another host."""
    contexts, faults = [], []

    def visit(server, path="/", size=(1400, 1000), **options):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: request.url.startswith(server.url) or faults.append(request.url))
        page.goto(f"{server.url}{path}")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [fault for fault in faults if "401" not in fault] == []
