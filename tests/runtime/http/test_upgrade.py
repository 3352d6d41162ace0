"""An offer to speak another protocol is ignored, with its body read: RFC 9110, section 7.8."""

import json
import shutil
import subprocess

import pytest

from tests.raw_http import answer, answers, connect, request
from tests.waiting import WAIT_S

BODY = b'{"text":"a barn"}'
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
OFFERS = {
    "h2c": H2C,
    "lower case and keep-alive": ("connection: keep-alive, upgrade", "upgrade: h2c"),
    "websocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                  "Sec-WebSocket-Version: 13"),
    "TLS": ("Connection: Upgrade", "Upgrade: TLS/1.3, HTTP/2.0"),
    "unheard of": ("Connection: upgrade", "Upgrade: something/9"),
    "several": ("Connection: upgrade", "Connection: HTTP2-Settings", "Upgrade: h2c", "Upgrade: websocket"),
}  # fmt: skip


def chunked(*headers):
    lines = ["POST /embed HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()
    return head + b"5\r\n" + BODY[:5] + b"\r\n%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_body_is_read_and_the_connection_stays_open(shared_server, offer, framing):
    offered = chunked(*offer) if framing == "chunked" else request("POST", "/embed", BODY, *offer)
    with connect(shared_server) as connection:
        for asked in (offered, request("GET", "/healthz"), offered):
            connection.sendall(asked)
            status, _, body = answer(connection)
            assert status == 200, body


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_byte_by_byte(shared_server, offer):
    with connect(shared_server) as connection:
        for byte in chunked(*offer):
            connection.sendall(bytes([byte]))
        assert answer(connection)[0] == 200


def test_pipelined(shared_server):
    offered = [request("POST", "/embed", BODY, *offer) for offer in OFFERS.values()]
    with connect(shared_server) as connection:
        connection.sendall(b"".join(offered) + request("GET", "/healthz", b"", "Connection: close"))
        received = answers(connection)
    assert received.count(b"HTTP/1.1 200 ") == len(offered) + 1


def test_an_offer_without_a_body(shared_server):
    with connect(shared_server) as connection:
        for path in ("/healthz", "/readyz"):
            connection.sendall(request("GET", path, b"", *H2C))
            assert answer(connection)[0] == 200


def test_a_connection_that_is_to_close_is_closed(shared_server):
    with connect(shared_server) as connection:
        connection.sendall(request("POST", "/embed", BODY, "Connection: close, Upgrade", "Upgrade: h2c"))
        received = answers(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in received


def test_a_tunnel_is_refused(shared_server):
    with connect(shared_server) as connection:
        connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        status, _, body = answer(connection)
    assert (status, json.loads(body)["error"]["code"]) == (405, "method_not_allowed")


def test_curl_offers_http2(shared_server):
    curl = shutil.which("curl") or pytest.skip("needs curl")
    for more in ([], ["-H", "Transfer-Encoding: chunked"]):
        done = subprocess.run(
            [curl, "-sS", "--http2", f"{shared_server.url}/embed", f"{shared_server.url}/embed", "-H",
             "Content-Type: application/json", "-d", BODY.decode(), "-w", "\n%{http_code} %{num_connects}\n", *more],
            capture_output=True, text=True, timeout=WAIT_S,
        )  # fmt: skip
        assert "\n200 1\n" in done.stdout, done
        assert "\n200 0\n" in done.stdout, done  # the second went over the same connection


# As java.net.http.HttpClient of Java 17 sent them, but for the port: tests/clients runs it where there is a JDK.
JAVA = (
    b"Connection: Upgrade, HTTP2-Settings\r\n%bHost: 127.0.0.1:8080\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n%bUpgrade: h2c\r\n"
    b"User-Agent: Java-http-client/17.0.15\r\n%b\r\n"
)
JSON = b"Content-Type: application/json\r\n"


def test_what_java_sends(shared_server):
    with_length = b"POST /embed HTTP/1.1\r\n" + JAVA % (b"Content-Length: 17\r\n", b"", JSON) + BODY
    in_chunks = (
        b"POST /embed HTTP/1.1\r\n" + JAVA % (b"", b"Transfer-encoding: chunked\r\n", JSON)
        + b"11\r\n" + BODY + b"\r\n0\r\n\r\n"
    )  # fmt: skip
    get = b"GET /healthz HTTP/1.1\r\n" + JAVA % (b"Content-Length: 0\r\n", b"", b"")
    with connect(shared_server) as connection:
        for sent in (with_length, in_chunks, get, with_length):
            connection.sendall(sent)
            status, _, body = answer(connection)
            assert status == 200, body
