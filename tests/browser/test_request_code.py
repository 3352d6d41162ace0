"""A click's request as curl, Python and TypeScript: each runs as copied, and gets what the page got."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from runtime.http.api_keys import entry, make_key
from tests.browser.actions import act, until

ODD = 'l\'été "en" $HOME `id` \\ 花嫁'


def commands(code, language, folder):
    if language == "curl":
        return ["bash", "-c", code.replace("curl ", "curl -sS ", 1)]
    file = folder / ("request.py" if language == "Python" else "request.mts")
    file.write_text(code)
    if language == "Python":
        return [sys.executable, str(file)]
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js here")
    if subprocess.run(["node", str(file)], capture_output=True, text=True).stderr.count("ERR_UNKNOWN_FILE_EXTENSION"):
        file = file.rename(file.with_suffix(".mjs"))  # before Node.js 22.6; there is nothing in it but JavaScript
    return ["node", str(file)]


def code_of(page, path, language):
    button = page.locator("#requests button").filter(has_text=path).first
    button.click()
    page.locator("#request .tabs button").filter(has_text=language).click()
    code = page.inner_text("#request pre")
    page.keyboard.press("Escape")
    return code


def run(code, language, folder, **environment):
    done = subprocess.run(
        commands(code, language, folder), capture_output=True, text=True, timeout=60, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("language", ["curl", "Python", "TypeScript"])
def test_a_request_runs_as_it_was_copied(visit, shared_demo_server, tmp_path, language):
    page = visit(shared_demo_server)
    page.wait_for_selector(".card")
    page.fill("#text", ODD)
    until(page, lambda: page.inner_text("#say").startswith("First for these words"))
    answer = run(code_of(page, "/search", language), language, tmp_path)
    expected = shared_demo_server.client.post("/search", json={"text": ODD, "top_k": 100}).json()
    assert answer["results"] == expected["results"]
    act(page, page.locator(".card").first, "save")
    answer = run(code_of(page, "/interactions", language), language, tmp_path)
    assert answer["duplicates"] == 1  # the very same event
    user = page.input_value("#user")
    answer = run(code_of(page, f"/user/{user}/embedding", language), language, tmp_path)
    assert answer["interaction_count"] == 1


@pytest.mark.parametrize("language", ["curl", "Python", "TypeScript"])
def test_the_key_is_not_in_the_code_and_is_read_from_the_environment(visit, start_server, tmp_path, language):
    key = make_key()
    server = start_server(api_keys=entry("page", "read+write", key))
    server.client.put("/content/a", json={"text": "a lamp"}, headers={"x-api-key": key})
    page = visit(server)
    page.wait_for_selector("#key[open]")
    page.fill("#key-text", key)
    page.click("#key button")
    page.wait_for_selector(".card")
    code = code_of(page, "/rank", language)
    assert key not in code
    assert run(code, language, tmp_path, VOWS_KEY=key)["ranked"][0]["id"] == "a"


def test_the_copy_button_fills_the_clipboard(visit, shared_demo_server):
    page = visit(shared_demo_server, permissions=["clipboard-read", "clipboard-write"])
    page.wait_for_selector(".card")
    page.locator("#requests button").first.click()
    copy = page.locator("#request .tabs button").filter(has_text="Copy")
    copy.click()
    page.locator("#request .tabs button").filter(has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#request pre").text_content()
