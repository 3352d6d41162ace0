"""What the log says of a request, and what it never says."""

import contextlib
import json
import logging
import os
import re
import subprocess
import sys

import httpx
import pytest

from runtime.system.logs import FIELDS, JsonFormatter, LineHandler, TextFormatter
from runtime.system.trace import Trace, current
from tests.waiting import WAIT_S, until

SECRET = "quiet-elopement-on-the-cliffs"


def lines(server):
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def requests(server):
    server.client.get("/healthz")  # an answer is logged once it is sent: before the next one is
    return [line for line in lines(server) if line["logger"] == "vows.request"]


def test_every_line_is_json_with_the_same_beginning(shared_server):
    shared_server.client.post("/embed", json={"text": "a barn"})
    for line in lines(shared_server):
        assert list(line)[:4] == ["time", "level", "logger", "message"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_a_request_leaves_a_line_with_its_id_and_times(shared_server):
    answer = shared_server.client.post(
        "/embed", json={"text": "a line in the log"}, headers={"x-request-id": "trace-me.1"}
    )
    assert answer.headers["x-request-id"] == "trace-me.1"
    (line,) = [line for line in requests(shared_server) if line["request_id"] == "trace-me.1"]
    assert (line["message"], line["status"], line["level"], line["client"]) == ("POST /embed", 200, "info", "anyone")
    assert line["ms"] >= line["infer_ms"] > 0
    assert {"tokenise_ms", "queue_ms"} <= line.keys()


def test_users_and_what_they_sent_are_in_no_log(start_server):
    server = start_server(log_level="debug", max_body_bytes=100_000, body_budget_bytes=100_000)
    client = server.client
    client.put(f"/content/{SECRET}", json={"title": SECRET, "description": SECRET})
    client.put(f"/user/{SECRET}/preferences", json={"preferences": [SECRET]})
    client.post("/interactions", json={"user_id": SECRET, "content_id": SECRET, "type": "save", "event_id": SECRET})
    client.post("/rank", json={"user_id": SECRET, "candidates": [SECRET]})
    client.get(f"/user/{SECRET}/embedding", headers={"user-agent": SECRET, "cookie": SECRET, "referer": SECRET})
    client.get(f"/{SECRET}?q={SECRET}")
    client.post("/embed", content=f'{{"text": "{SECRET}", {SECRET}'.encode())
    client.post("/embed", json={"text": SECRET * 10_000})
    client.request(SECRET.upper(), "/embed")
    client.get("/info", headers={"x-request-id": f"{SECRET} {SECRET}", "traceparent": SECRET, "x-api-key": SECRET})
    client.delete(f"/user/{SECRET}")
    client.delete(f"/content/{SECRET}")
    assert len(requests(server)) >= 10
    assert SECRET not in server.log.read_text().lower()


@pytest.mark.parametrize("given", ["", "a b", "ä", "x" * 129, "a\tb", "<script>"])
def test_an_id_that_is_not_sane_is_replaced(shared_server, given):
    answer = shared_server.client.get("/healthz", headers={"x-request-id": given.encode()})
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"])


def test_ids_that_are_made_differ(shared_server):
    ids = {shared_server.client.get("/healthz").headers["x-request-id"] for _ in range(50)}
    assert len(ids) == 50


def test_refusals_carry_an_id_too(shared_server):
    for path in ("/nothing", "/content/missing"):
        answer = shared_server.client.get(path, headers={"x-request-id": f"refused{path.replace('/', '.')}"})
        assert answer.status_code == 404
        assert answer.headers["x-request-id"].startswith("refused.")
    found = {line["request_id"]: line for line in requests(shared_server)}
    assert found["refused.nothing"]["message"] == "GET (unmatched route)"
    assert found["refused.content.missing"]["reason"] == "unknown_content"


def test_server_timing_adds_up(shared_server):
    def stages(answer):
        timing = answer.headers["server-timing"]
        return {name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", timing)}

    embed = stages(shared_server.client.post("/embed", json={"text": "where does the time go"}))
    assert list(embed) == ["tokenise", "queue", "infer", "total"]
    assert embed["tokenise"] + embed["queue"] + embed["infer"] <= embed["total"] + 0.002
    cached = stages(shared_server.client.post("/embed", json={"text": "where does the time go"}))
    assert list(cached) == ["tokenise", "total"]
    put = stages(shared_server.client.put("/content/timed", json={"text": "a timed barn"}))
    assert set(put) == {"store", "tokenise", "queue", "infer", "total"}
    rank = stages(shared_server.client.post("/rank", json={"user_id": "timed", "candidates": ["timed"]}))
    assert rank["total"] >= rank["store"] > 0


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_trace_context_is_passed_on(shared_server):
    answer = shared_server.client.get("/info", headers={"traceparent": TRACE, "x-request-id": "traced"})
    assert answer.headers["traceparent"] == TRACE
    (line,) = [line for line in requests(shared_server) if line["request_id"] == "traced"]
    assert (line["trace_id"], line["parent_id"]) == (TRACE[3:35], TRACE[36:52])


@pytest.mark.parametrize(
    "given",
    ["", "00-zz", TRACE.upper(), TRACE + "-more", "ff" + TRACE[2:], f"00-{'0' * 32}-{'1' * 16}-01",
     f"00-{'1' * 32}-{'0' * 16}-01"],
)  # fmt: skip
def test_a_trace_context_that_is_not_valid_is_dropped(shared_server, given):
    assert "traceparent" not in shared_server.client.get("/healthz", headers={"traceparent": given}).headers


def test_health_checks_are_not_worth_a_line(shared_server):
    shared_server.client.get("/readyz", headers={"x-request-id": "a-health-check"})
    assert "a-health-check" not in shared_server.log.read_text()


def record(**more):
    return logging.LogRecord("vows", logging.ERROR, "file", 1, "it %s", ("happened",), more.pop("exc_info", None))


def failure():
    def inner():
        raise ValueError(SECRET)

    try:
        try:
            inner()
        except ValueError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError:
        return record(exc_info=sys.exc_info())


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_an_exception_is_logged_by_type_and_place(formatter):
    text = formatter.format(failure())
    assert SECRET not in text
    for told in ("builtins.ValueError", "builtins.RuntimeError", "inner", "test_logs.py"):
        assert told in text


def test_text_lines_have_ids_and_fields_too():
    one = record()
    setattr(one, FIELDS, {"status": 503})
    token = current.set(Trace(b"my-id", None))
    try:
        assert TextFormatter().format(one).endswith("ERROR vows: it happened request_id=my-id status=503")
    finally:
        current.reset(token)


def test_text_on_request(start_server):
    server = start_server(log_format="text")
    server.client.get("/info", headers={"x-request-id": "told-in-text"})
    server.client.get("/healthz")
    text = server.log.read_text()
    assert "vows-edge on http://" in text
    assert re.search(r"INFO vows.request: GET /info request_id=told-in-text status=200 ms=[\d.]+", text)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_log_that_nobody_reads_holds_up_nothing(bundle_path, tmp_path, form):
    """Not one answer, and not the end. What is dropped is counted, and said once somebody reads again."""
    settings = {"PORT": 0, "DATA_DIR": tmp_path, "MODELS_DIR": bundle_path.parent, "LOG_FORMAT": form}
    environ = os.environ | {f"VOWS_{name}": str(value) for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "runtime"], env=environ, stdout=subprocess.PIPE)
    try:
        log, received = process.stdout.fileno(), b""
        os.set_blocking(log, False)

        def read(pattern):
            """Read until the log says so."""
            nonlocal received
            with contextlib.suppress(BlockingIOError):
                received += os.read(log, 1 << 20)
            return re.search(pattern, received.decode(errors="replace"))

        until(lambda: read(r'vows-edge on http://[^\s"]+'), every_s=0.01)
        url = re.search(r'vows-edge on (http://[^\s"]+)', received.decode())
        with httpx.Client(base_url=url.group(1), timeout=WAIT_S) as client:
            for _ in range(1_500):
                assert client.get("/content/of-nobody").status_code == 404
            dropped = int(re.search(r"^log_lines_dropped_total (\d+)", client.get("/metrics").text, re.M).group(1))
            assert dropped > 100
            received = b""
            read("")  # what the pipe holds, to make room in it
            client.get("/content/of-nobody")
            until(lambda: read(r"\d+ log lines were dropped"))
            told = re.findall(r"(\d+) log lines were dropped", received.decode())
            assert [int(number) >= dropped for number in told] == [True]
            for _ in range(1_500):
                client.get("/content/of-nobody")
        process.terminate()
        assert process.wait(timeout=WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_line_longer_than_the_pipe_takes_is_not_cut():
    read, write = os.pipe()
    handler = LineHandler(write, JsonFormatter())
    message = "x" * 200_000
    record = logging.makeLogRecord({"name": "vows", "levelname": "INFO", "msg": message})
    handler.emit(record)
    handler.emit(record)
    assert handler.dropped == 1  # the first waits for its reader
    received = os.read(read, 1 << 20)
    os.set_blocking(read, False)
    while b"\n" not in received:
        handler.emit(record)
        received += os.read(read, 1 << 20)
    assert json.loads(received.split(b"\n")[0])["message"] == message
    for descriptor in (read, write):
        os.close(descriptor)


def test_a_closed_log_fails_no_request():
    read, write = os.pipe()
    handler = LineHandler(write, JsonFormatter())
    os.close(read)
    handler.emit(logging.makeLogRecord({"name": "vows", "levelname": "INFO", "msg": "nobody is there"}))
    os.close(write)
    handler.emit(logging.makeLogRecord({"name": "vows", "levelname": "INFO", "msg": "nobody is there"}))
    assert handler.dropped >= 1
