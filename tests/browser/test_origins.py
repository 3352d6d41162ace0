"""Pages of other origins in a real browser: what a hostile one tries, and what a listed one may."""

import http.server
import json
import threading

import pytest

WRITES = """
async (url) => {
  const event = JSON.stringify({user_id: "victim", content_id: "barn", type: "share"});
  const sent = [];
  const text = new Blob([event], {type: "text/plain"});
  for (const body of [event, new Blob([event]), text, new URLSearchParams({a: event})])
    for (const mode of ["no-cors", "cors"])
      sent.push(await fetch(url + "/interactions", {method: "POST", mode, body}).then((r) => r.type, (e) => "refused"));
  sent.push(await fetch(url + "/interactions", {method: "POST", body: event,
    headers: {"content-type": "application/json"}}).then((r) => r.status, () => "refused"));
  sent.push(await fetch(url + "/user/victim", {method: "DELETE"}).then((r) => r.status, () => "refused"));
  navigator.sendBeacon(url + "/interactions", event);
  const form = Object.assign(document.createElement("form"), {method: "post", action: url + "/interactions",
    enctype: "text/plain", target: "frame"});
  const [name, value] = [event.slice(0, -1) + ',"device":"', '"}'];
  form.append(Object.assign(document.createElement("input"), {name, value}));
  document.body.append(Object.assign(document.createElement("iframe"), {name: "frame"}), form);
  form.submit();
  await new Promise((done) => setTimeout(done, 500));
  return sent;
}
"""
ASK = """
async (url) => {
  const answer = await fetch(url + "/v1/embeddings", {method: "POST",
    headers: {"content-type": "application/json", "x-stainless-os": "Linux", "x-stainless-retry-count": "0"},
    body: JSON.stringify({model: "sentence-bert-v1", input: "a barn"})});
  return [answer.status, (await answer.json()).data.length, answer.headers.get("x-request-id") !== null];
}
"""


@pytest.fixture(scope="module")
def pages():
    """Any page: an empty one of another origin."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a page</title><body></body>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def server(start_server, pages):
    server = start_server(cors_origins=f"http://listed.example:{pages}")
    server.client.put("/content/barn", json={"text": "a barn"})
    return server


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost", "listed.example.evil.example"])
def test_a_page_of_another_origin_writes_nothing(server, pages, page, host):
    server.client.put("/user/victim/preferences", json={"preferences": ["rustic"]})
    page.goto(f"http://{host}:{pages}/")
    sent = page.evaluate(WRITES, server.url)
    assert set(sent) <= {"opaque", "refused"}
    assert server.client.get("/user/victim/embedding").json()["interaction_count"] == 0
    assert server.client.get("/user/victim/embedding").json()["source"] == "preferences"  # and deletes nothing


def test_a_name_that_leads_here_shows_nothing(server, page):
    port = server.url.rpartition(":")[2]
    answer = page.goto(f"http://rebound.example:{port}/info")
    assert (answer.status, json.loads(answer.text())["error"]["code"]) == (403, "unknown_host")
    sent = page.evaluate(WRITES, f"http://rebound.example:{port}")
    assert not {200} & set(sent)
    assert server.client.get("/user/victim/embedding").json()["interaction_count"] == 0


def test_a_listed_page_calls_as_the_openai_sdk_does(server, pages, page):
    page.goto(f"http://listed.example:{pages}/")
    assert page.evaluate(ASK, server.url) == [200, 1, True]


def test_the_own_page_writes(server, page):
    page.goto(f"{server.url}/docs")
    page.goto(f"{server.url}/")
    assert page.evaluate(ASK, "") == [200, 1, True]
