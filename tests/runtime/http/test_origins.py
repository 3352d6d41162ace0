"""Pages of other origins, and names that lead here by the wish of others. See tests/browser for real ones."""

import json
import re

import pytest

from runtime.http.api_keys import entry, make_key
from tests.raw_http import answer, connect

LISTED = "https://app.example"
EVIL = {
    "cross-site": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "same-site": {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
    "no fetch metadata": {"origin": "http://evil.example"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "a sandboxed frame": {"origin": "null", "sec-fetch-site": "cross-site"},
    "null alone": {"origin": "null"},
    "no origin": {"sec-fetch-site": "cross-site"},
    "listed by its end": {"origin": "https://app.example.evil.example"},
    "listed by its scheme": {"origin": "http://app.example"},
    "empty": {"origin": ""},
    "two": {"origin": "https://evil.example, https://app.example"},
    "an unknown kind of site": {"origin": "https://evil.example", "sec-fetch-site": "friendly"},
}
SIMPLE = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"]


@pytest.fixture(scope="module")
def listing(start_server):
    server = start_server(cors_origins=f"{LISTED}, http://localhost:3000")
    server.client.put("/content/origins", json={"text": "a barn"})
    return server


def event(user):
    return json.dumps({"user_id": user, "content_id": "origins", "type": "share"})


def raw(server, head):
    """Status and error code of a request whose head is written by hand."""
    with connect(server) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        status, _, body = answer(connection)
    return status, json.loads(body).get("error", {}).get("code") if body else None


@pytest.mark.parametrize("media", SIMPLE)
@pytest.mark.parametrize("headers", EVIL.values(), ids=EVIL)
def test_a_page_of_another_origin_writes_nothing(shared_server, headers, media):
    shared_server.client.put("/content/origins", json={"text": "a barn"})
    head = f"POST /interactions HTTP/1.1\nHost: {shared_server.url.removeprefix('http://')}\n"
    head += "".join(f"{name}: {value}\n" for name, value in headers.items())
    head += f"Content-Type: {media}\n" if media else ""
    body = event("victim")
    assert raw(shared_server, f"{head}Content-Length: {len(body)}\n\n{body}") == (403, "foreign_origin")
    assert shared_server.client.get("/user/victim/embedding").json()["interaction_count"] == 0


@pytest.mark.parametrize(
    "called",
    ["PUT /content/x", "PATCH /content/x", "DELETE /user/v", "POST /embed", "POST /v1/embeddings", "DELETE /content/x",
     "POST /content/batch", "DELETE /interactions/e", "POST /nowhere", "PUT /user/v/preferences"],
)  # fmt: skip
def test_on_no_path_and_by_no_method(shared_server, called):
    response = shared_server.client.request(*called.split(), json={}, headers=EVIL["cross-site"])
    assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_origin")
    assert "VOWS_CORS_ORIGINS" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"origin": "{url}"},
        {"origin": "{url}", "sec-fetch-site": "same-origin"},
        {"origin": "https://behind-a-proxy.example", "sec-fetch-site": "same-origin"},
        {"origin": "https://feed.example", "host": "feed.example"},
        {"origin": "https://localhost", "host": "localhost:443"},
    ],
    ids=str,
)
def test_programs_and_own_pages_write(start_server, shared_server, headers):
    server = start_server(allowed_hosts="feed.example") if "host" in headers else shared_server
    headers = {name: value.format(url=server.url) for name, value in headers.items()}
    assert server.client.post("/embed", json={"text": "a barn"}, headers=headers).status_code == 200


def test_pages_may_link_here_and_read_nothing(shared_server):
    response = shared_server.client.get("/docs", headers=EVIL["cross-site"])
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("keys", [True, False])
def test_a_listed_page_may_do_everything(start_server, listing, keys):
    key = make_key()
    server = start_server(cors_origins=LISTED, api_keys=entry("app", "read+write", key)) if keys else listing
    headers = {"origin": LISTED, "sec-fetch-site": "cross-site", "authorization": f"Bearer {key}"}
    for response in (
        server.client.post("/embed", json={"text": "a barn"}, headers=headers),
        server.client.get("/readyz", headers=headers),
        server.client.post("/embed", json={"text": ""}, headers=headers),
        server.client.get("/nowhere", headers=headers),
    ):
        assert response.headers["access-control-allow-origin"] == LISTED
        assert response.headers["vary"] == "origin"
        assert "retry-after" in response.headers["access-control-expose-headers"]


# What openai-node 6 sends from a browser.
STAINLESS = (
    "authorization,content-type,openai-organization,openai-project,x-stainless-arch,x-stainless-lang,x-stainless-os,"
    "x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,"
    "x-stainless-timeout,idempotency-key,x-stainless-helper-method,user-agent"
)


@pytest.mark.parametrize("wanted", [STAINLESS, "x-stainless-os", "traceparent, x-api-key", "x-anything", None])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE", "PATCH"])
def test_preflights_of_a_listed_page(listing, wanted, method):
    headers = {"origin": LISTED, "access-control-request-method": method, "sec-fetch-site": "cross-site"}
    if wanted:
        headers["access-control-request-headers"] = wanted
    response = listing.client.options("/v1/embeddings", headers=headers)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["access-control-allow-origin"] == LISTED
    assert method in response.headers["access-control-allow-methods"]
    assert response.headers.get("access-control-allow-headers") == wanted


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://app.example"])
def test_preflights_of_others_are_refused_as_json(listing, shared_server, origin):
    for server in (listing, shared_server):
        response = server.client.options(
            "/interactions", headers={"origin": origin, "access-control-request-method": "POST"}
        )
        assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in response.headers


HOSTS = {
    "rebind.example": 403, "rebind.example:8080": 403, "localhost.evil.example": 403, "evil.example.": 403,
    "127.0.0.1.evil.example": 403, "LOCALHOST": 200, "localhost:1": 200, "app.localhost:8080": 200, "localhost.": 200,
    "127.0.0.1": 200, "127.0.0.1:8080": 200, "[::1]": 200, "[::1]:8080": 200, "192.168.1.7": 200,
    "localhost@evil.example": 403, "evil.example/localhost": 403, "[::1].evil.example": 403, "[evil.example]": 403,
}  # fmt: skip


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_names_that_others_point_here_are_not_served(shared_server, host, status):
    for method, path in (("GET", "/info"), ("GET", "/"), ("GET", "/events/export?limit=1"), ("OPTIONS", "/info")):
        expected = status if status == 403 or method == "GET" else 405
        found = raw(shared_server, f"{method} {path} HTTP/1.1\nHost: {host}\n\n") if path == "/info" else None
        if found is None:
            found = shared_server.client.request(method, path, headers={"host": host}).status_code, "unknown_host"
        assert found[0] == expected
        assert expected != 403 or found[1] == "unknown_host"
    assert raw(shared_server, f"GET /healthz HTTP/1.1\nHost: {host}\n\n")[0] == 200


def test_a_rebound_page_is_of_the_same_origin_and_refused(shared_server):
    headers = {"host": "rebind.example", "origin": "http://rebind.example", "sec-fetch-site": "same-origin"}
    assert shared_server.client.post("/embed", json={"text": "a"}, headers=headers).status_code == 403


def test_names_are_free_with_keys_and_listed_ones_always(start_server):
    key = make_key()
    keyed = start_server(api_keys=entry("app", "read", key))
    headers = {"authorization": f"Bearer {key}"}
    assert keyed.client.get("/info", headers=headers | {"host": "api.example"}).status_code == 200
    named = start_server(allowed_hosts="api.example, feed.example", api_keys=entry("app", "read", key))
    for host, status in (("api.example", 200), ("API.example:443", 200), ("other.example", 403), ("localhost", 200)):
        assert named.client.get("/info", headers=headers | {"host": host}).status_code == status
    assert start_server(allowed_hosts="*").client.get("/info", headers={"host": "any.example"}).status_code == 200


@pytest.mark.parametrize("name", ["https://app.example", "app.example:8080", "app example", "a/b"])
def test_a_name_is_no_address(start_server, name):
    with pytest.raises(AssertionError, match=re.escape("VOWS_ALLOWED_HOSTS")):
        start_server(allowed_hosts=name)
