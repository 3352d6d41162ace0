"""Who may call what: keys, scopes, rates, other origins, and a public address."""

import subprocess
import sys
import time

import httpx
import openai
import pytest

from runtime.api.endpoints import ENDPOINTS
from runtime.http.api_keys import entry, make_key
from tests.waiting import WAIT_S

READER, WRITER, ADMIN, OLD, NEW, SCRAPER = (make_key() for _ in range(6))
HEALTH = {"/healthz", "/readyz"}
OPEN = {"/docs", "/openapi.json", "/", "/page/{id}"}
ORIGIN = "https://feed.example"


@pytest.fixture(scope="module")
def shared_server_with_keys(start_server):
    keys = [
        entry("reader", "read", READER),
        entry("writer", "write", WRITER),
        entry("operator", "admin", ADMIN),
        entry("prometheus", "metrics", SCRAPER),
        entry("both", "read+write", OLD),
        entry("both", "read+write", NEW),
    ]
    return start_server(api_keys=",".join(keys), cors_origins=f"{ORIGIN}, http://localhost:3000")


def ask(server, endpoint, **headers):
    path = endpoint.path.replace("/page/{id}", "/page/page.js").replace("{id:path}", "x").replace("{id}", "x")
    return server.client.request(endpoint.method, path, headers=headers)


def bearer(key):
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_but_health_and_the_static_pages_asks_for_a_key(shared_server_with_keys, endpoint):
    """Without one: 401. With one of the other scope: 403. With the right one: whatever the endpoint says."""
    assert (endpoint.needs == "health") == (endpoint.path in HEALTH)
    assert (endpoint.needs == "open") == (endpoint.path in OPEN)
    answer = ask(shared_server_with_keys, endpoint)
    if endpoint.path in HEALTH | OPEN:
        assert answer.status_code == 200
        return
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert ask(shared_server_with_keys, endpoint, **bearer(make_key())).status_code == 401
    right, wrong = {
        "metrics": (SCRAPER, WRITER),
        "read": (READER, SCRAPER),
        "write": (WRITER, READER),
        "admin": (ADMIN, OLD),
    }[endpoint.needs]
    answer = ask(shared_server_with_keys, endpoint, **bearer(wrong))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")
    for good in (right, ADMIN):
        assert ask(shared_server_with_keys, endpoint, **bearer(good)).status_code not in (401, 403)


def test_a_scraper_reads_metrics_and_nothing_else(shared_server_with_keys):
    """A key for Prometheus must not open anybody's data; readers may read metrics, as before."""
    needs_metrics = {endpoint.path for endpoint in ENDPOINTS if endpoint.needs == "metrics"}
    assert needs_metrics == {"/metrics"}
    for key in (SCRAPER, READER, ADMIN):
        answer = shared_server_with_keys.client.get("/metrics", headers=bearer(key))
        assert (answer.status_code, "vows_stored_rows" in answer.text) == (200, True)
    answer = shared_server_with_keys.client.get("/info", headers=bearer(SCRAPER))
    assert answer.json()["error"]["message"] == "this needs the scope read, the key 'prometheus' has metrics"


def test_what_changes_something_needs_write():
    """Reading with a body is the exception, and listed."""
    reading = {endpoint.path for endpoint in ENDPOINTS if endpoint.method != "GET" and endpoint.needs == "read"}
    assert reading <= {"/embed", "/embed/batch", "/rank", "/v1/embeddings", "/search", "/user/{id:path}/next-action"}
    assert all(endpoint.needs != "write" for endpoint in ENDPOINTS if endpoint.method == "GET")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {READER}"},
        {"authorization": f"bearer  {READER}"},
        {"x-api-key": READER},
        {"authorization": "Basic YTpi", "x-api-key": READER},
    ],
)
def test_a_key_can_come_in_two_headers(shared_server_with_keys, headers):
    assert shared_server_with_keys.client.get("/info", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", READER, f"Basic {READER}", f"Bearer {READER[:-1]}", "é"],
    ids=["nothing", "no key", "no scheme", "another scheme", "cut", "no ASCII"],
)
def test_what_is_not_a_key_is_refused(shared_server_with_keys, value):
    answer = shared_server_with_keys.client.get("/info", headers={"authorization": value.encode()})
    assert answer.status_code == 401


def test_two_keys_of_one_client_hold_at_once(shared_server_with_keys):
    for key in (OLD, NEW):
        assert shared_server_with_keys.client.get("/info", headers=bearer(key)).status_code == 200


def test_a_refusal_comes_before_the_body_is_read(shared_server_with_keys):
    """Nobody without a key makes the server hold or decode anything."""
    answer = shared_server_with_keys.client.post(
        "/embed", content=b"[" * 1_000_000, headers={"content-type": "text/nonsense"}
    )
    assert answer.status_code == 401


def test_keys_are_in_no_log_and_no_answer(shared_server_with_keys):
    answer = shared_server_with_keys.client.get("/info", headers=bearer(READER)).text
    metrics = shared_server_with_keys.client.get("/metrics", headers=bearer(READER)).text
    for text in (shared_server_with_keys.log.read_text(), answer, metrics):
        assert READER not in text
        assert "vows_ThisIsNoKey" not in text


def test_the_document_says_what_is_needed(shared_server_with_keys, shared_server):
    document = shared_server_with_keys.client.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    embed = document["paths"]["/embed"]["post"]
    assert embed["security"] == [{"bearer": []}, {"header": []}]
    assert {"401", "403"} <= set(embed["responses"])
    assert document["paths"]["/healthz"]["get"]["security"] == []
    without = shared_server.client.get("/openapi.json").json()
    assert without["paths"]["/embed"]["post"]["security"] == [{}, {"bearer": []}, {"header": []}]


def test_openai_clients_bring_their_key_as_they_always_do(shared_server_with_keys):
    good = openai.OpenAI(base_url=f"{shared_server_with_keys.url}/v1", api_key=READER, max_retries=0)
    assert len(good.embeddings.create(model="sentence-bert-v1", input="a barn").data[0].embedding) == 384
    bad = openai.OpenAI(base_url=f"{shared_server_with_keys.url}/v1", api_key="sk-nothing", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        bad.models.list()
    writer = openai.OpenAI(base_url=f"{shared_server_with_keys.url}/v1", api_key=WRITER, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError):
        writer.models.list()


def test_a_burst_and_then_the_rate(start_server):
    keys = f"{entry('a', 'read', READER)},{entry('a', 'read', NEW)},{entry('b', 'read', WRITER)}"
    server = start_server(api_keys=keys, rate_per_s=0.1, rate_burst=3)
    for key in (READER, NEW, READER):  # one client, by its name
        assert server.client.get("/v1/models", headers=bearer(key)).status_code == 200
    answer = server.client.get("/v1/models", headers=bearer(NEW))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    assert server.client.get("/v1/models", headers=bearer(WRITER)).status_code == 200  # another client has its own
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=READER, max_retries=0)
    with pytest.raises(openai.RateLimitError):
        client.models.list()
    for _ in range(5):  # a health check never has to wait
        assert server.client.get("/readyz").status_code == 200
    responses = server.client.get("/openapi.json").json()["paths"]["/embed"]["post"]["responses"]
    assert "429" in responses
    statuses = [server.client.get("/info").status_code for _ in range(8)]
    assert (statuses[0], statuses[-1]) == (401, 429)  # guessing is limited too, by address
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    time.sleep(int(answer.headers["retry-after"]))
    assert server.client.get("/v1/models", headers=bearer(READER)).status_code == 200


def preflight(server, origin):
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    return server.client.options("/embed", headers=headers)


def test_other_origins_are_shut_out_unless_listed(shared_server, shared_server_with_keys):
    assert "access-control-allow-origin" not in shared_server.client.get("/info", headers={"origin": ORIGIN}).headers
    assert preflight(shared_server, ORIGIN).status_code == 403
    for origin in (ORIGIN, "http://localhost:3000"):
        allowed = preflight(shared_server_with_keys, origin)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == origin
        answer = shared_server_with_keys.client.get("/info", headers={"origin": origin, **bearer(READER)})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"].lower() == "origin"
        assert "access-control-allow-credentials" not in answer.headers
    for origin in ("https://feed.example.evil.example", "https://feed.example:444", "http://feed.example", "null"):
        assert preflight(shared_server_with_keys, origin).status_code == 403
        answer = shared_server_with_keys.client.get("/info", headers={"origin": origin, **bearer(READER)})
        assert "access-control-allow-origin" not in answer.headers


def start(bundle_path, tmp_path, **settings):
    environment = {"VOWS_PORT": "0", "VOWS_DATA_DIR": str(tmp_path), "VOWS_MODELS_DIR": str(bundle_path.parent)}
    environment |= {f"VOWS_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "runtime"], env=environment, capture_output=True, text=True, timeout=WAIT_S
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_public_address_without_a_key_stops_the_start(bundle_path, tmp_path, host):
    result = start(bundle_path, tmp_path, host=host)
    if "cannot listen" in result.stderr:
        pytest.skip(f"{host} cannot be used here")
    assert result.returncode == 1
    for way_out in ("vows-edge key", "VOWS_HOST=127.0.0.1", "VOWS_AUTH=disabled"):
        assert way_out in result.stderr


@pytest.mark.parametrize(
    "settings",
    [{"api_keys": entry("a", "read", READER)}, {"auth": "disabled"}],
    ids=["with a key", "authentication disabled"],
)
def test_a_public_address_is_listened_on(start_server, settings):
    server = start_server(host="0.0.0.0", **settings)
    assert httpx.get(f"http://127.0.0.1:{server.url.rpartition(':')[2]}/readyz").status_code == 200
    server.stop()
