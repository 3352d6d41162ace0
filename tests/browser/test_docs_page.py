"""The documentation page: grouped, with defaults and example answers, and forms that send to this server."""

import json
import subprocess

import pytest

from runtime.api.pages import ANSWERS_FILE
from runtime.http.api_keys import entry, make_key
from tests.browser.actions import until
from tests.waiting import WAIT_S


def send(page, operation):
    section = page.locator(f"#{operation}")
    if not section.locator("details.send").evaluate("(details) => details.open"):
        section.locator("details.send summary").click()
    shown = section.locator(".sent")
    shown.evaluate("(shown) => { shown.textContent = ''; }")
    section.locator("button").click()
    until(page, lambda: shown.text_content() != "")
    status, _, body = shown.text_content().partition("\n\n")
    return int(status.split()[0]), body


def test_operations_are_grouped_by_tag(visit, shared_demo_server):
    page = visit(shared_demo_server, "/docs")
    document = shared_demo_server.client.get("/openapi.json").json()
    operations = [
        (operation.get("tags", [path.split("/")[1] or "pages"])[0], operation["operationId"])
        for path, item in document["paths"].items()
        for operation in item.values()
    ]
    assert {heading.inner_text() for heading in page.locator("nav h3").all()} == {tag for tag, _ in operations}
    shown = page.evaluate(
        """[...document.querySelectorAll("main > section, main > h2")].map((one) => [one.tagName, one.id])"""
    )
    group = None
    found = set()
    for tag, name in shown:
        if tag == "H2":
            group = name.removeprefix("tag-")
        else:
            found.add((group, name))
    assert set(operations) <= found


def test_fields_have_their_defaults_and_answers_an_example(visit, shared_demo_server):
    page = visit(shared_demo_server, "/docs")
    row = page.locator("#post_search tr").filter(has=page.locator("th", has_text="top_k"))
    assert "default 10" in row.first.inner_text()
    answer = json.loads(page.locator("#post_search .answer pre").text_content())
    assert {"results", "matched", "model_version"} <= answer.keys()


def test_every_answer_with_a_body_has_an_example_of_its_fields(shared_demo_server):
    answers = json.loads(ANSWERS_FILE.read_text())
    document = shared_demo_server.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    missing = []
    for item in document["paths"].values():
        for operation in item.values():
            (success,) = [answer for status, answer in operation["responses"].items() if int(status) < 400]
            media = success.get("content", {}).get("application/json")
            if media is None or "$ref" not in media["schema"]:
                continue
            answer, schema = answers.get(operation["operationId"]), schemas[media["schema"]["$ref"].split("/")[-1]]
            if answer is None:
                missing.append((operation["operationId"], operation["x-needs"]))
            else:
                assert set(schema.get("required", ())) <= answer.keys() <= schema["properties"].keys()
    assert [name for name, needs in missing if needs != "admin"] == [], "run make docs"


def test_forms_send_to_this_server_with_path_query_and_body(visit, start_server):
    server = start_server()
    page = visit(server, "/docs")
    status, body = send(page, "put_content")
    assert (status, json.loads(body)["id"]) == (200, "hollow-oak-barn")
    assert server.client.get("/content/hollow-oak-barn").status_code == 200
    status, body = send(page, "post_interactions")
    assert (status, json.loads(body)["stored"]) == (200, 1)
    page.locator("#get_style details.send summary").click()
    page.fill("#get_style input[name=weeks]", "3")
    status, body = send(page, "get_style")
    assert (status, len(json.loads(body)["weeks"])) == (200, 3)
    page.locator("#get_user_embedding details.send summary").click()
    page.fill("#get_user_embedding input[name=id]", "some/body?")
    assert (status, json.loads(send(page, "get_user_embedding")[1])["interaction_count"]) == (200, 0)


def test_the_entered_key_is_sent(visit, start_server):
    key = make_key()
    server = start_server(api_keys=entry("docs", "read", key))
    page = visit(server, "/docs")
    assert send(page, "get_info")[0] == 401
    page.fill("#key-text", key)
    assert send(page, "get_info")[0] == 200


def test_examples_have_the_address_of_this_server_and_run(visit, shared_demo_server):
    served = shared_demo_server.client.get("/docs").text
    assert f'class="base">{shared_demo_server.url}<' in served  # without the script, too
    page = visit(shared_demo_server, "/docs")
    command = page.locator("#post_embed pre").first.text_content()
    assert command.startswith(f"curl {shared_demo_server.url}/embed ")
    done = subprocess.run(["bash", "-c", command.replace("curl", "curl -sS", 1)], capture_output=True, timeout=WAIT_S)
    assert len(json.loads(done.stdout)["embedding"]) == 384


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_the_style_of_the_scheme(visit, shared_demo_server, scheme):
    page = visit(shared_demo_server, "/docs", color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.querySelector('pre')).borderRadius") == "6px"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 27, 29)"}[scheme]
