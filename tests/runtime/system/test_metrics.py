"""The exposition format, parsed line by line, and what a real server puts into it."""

import re

from prometheus_client.parser import text_string_to_metric_families

from runtime.store.sqlite.migrations import MIGRATIONS
from runtime.system.metrics import BUCKETS, RequestMetrics, family
from runtime.system.trace import Trace

LINE = re.compile(r'^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? ([0-9.e+-]+|nan)$')


def parse(text):
    """{(name, labels): value}; every line must be well-formed."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# "):
            assert re.match(r"# (HELP|TYPE) [a-z_]+ .+", line), line
            continue
        match = LINE.match(line)
        assert match, line
        found[match[1], match[2] or ""] = float(match[3])
    return found


def test_a_histogram_adds_up():
    metrics, trace = RequestMetrics(), Trace(None, None)
    trace.endpoint = "GET /x"
    for seconds in (0.0001, 0.0005, 0.003, 99.0):
        metrics.observe(trace, 200, seconds)
    found = parse("\n".join(metrics.text()))
    counts = [value for (name, _), value in found.items() if name == "http_request_duration_seconds_bucket"]
    assert counts == sorted(counts)
    assert len(counts) == len(BUCKETS) + 1
    assert (counts[0], counts[-1]) == (2, 4)
    assert found["http_request_duration_seconds_count", '{endpoint="GET /x"}'] == 4


DEPRECATED = {
    "http_requests_total": "vows_requests_total",
    "http_request_errors_total": "vows_errors_total",
    "http_requests_rejected_total": "vows_refusals_total",
    "http_request_duration_seconds": "vows_request_seconds",
    "http_request_body_reserved_bytes": "vows_held_bytes",
}


def test_renamed_metrics_keep_their_old_names_for_one_version(start_server):
    """The same samples under both, and HELP of the old name says what to use."""
    server = start_server(max_body_bytes=1024)
    server.client.post("/embed", json={"text": "counted"})
    server.client.post("/embed", content=b" " * 1025)
    text = server.client.get("/metrics").text
    for name, deprecated in DEPRECATED.items():
        assert f"# HELP {deprecated} Deprecated: use {name}.\n" in text
        current, old = (
            [line for line in text.splitlines() if re.match(rf"{n}\W|{n}_[bsc]", line)] for n in (name, deprecated)
        )
        assert current
        assert old == [line.replace(name, deprecated) for line in current]
    server.stop()


def test_labels_are_escaped():
    (line,) = family("m", "gauge", "h", [("", {"a": 'quote " slash \\ line \n'}, 1)])[2:]
    assert line == r'm{a="quote \" slash \\ line \n"} 1'
    parse(line)


def test_a_server_counts_what_it_does(start_server):
    server = start_server()
    for _ in range(3):
        server.client.post("/embed", json={"text": "counted"})
    server.client.post("/embed", json={"text": "word " * 300})
    server.client.post("/embed", json={})
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = parse(answer.text)
    assert found["http_requests_total", '{endpoint="POST /embed",status="200"}'] == 4
    assert found["http_requests_total", '{endpoint="POST /embed",status="422"}'] == 1
    assert found["http_request_errors_total", '{code="invalid_request"}'] == 1
    assert (found["vows_cache_hits_total", ""], found["vows_cache_misses_total", ""]) == (2, 2)
    assert found["vows_texts_truncated_total", ""] == 1
    assert found["vows_memory_rss_bytes", ""] > found["vows_memory_anonymous_bytes", ""] > 1e7
    assert (found["http_request_body_reserved_bytes", ""], found["vows_queue_tokens", ""]) == (0, 0)
    assert 0 < found["vows_memory_rss_bytes", ""] < found["vows_memory_limit_bytes", ""]
    assert found["vows_volume_free_bytes", ""] > 0
    assert (
        found["vows_stage_seconds_total", '{stage="infer"}'] > found["vows_stage_seconds_total", '{stage="tokenise"}']
    )
    assert found["vows_client_requests_total", '{client="anyone"}'] >= 5
    assert found["process_cpu_seconds_total", ""] > 0
    schema = MIGRATIONS[-1].__name__
    assert found["vows_data_info", f'{{schema="{schema}",decay_per_day="0.01"}}'] == 1


def test_refusals_are_counted_by_reason(start_server):
    server = start_server(max_body_bytes=1024, body_budget_bytes=65536, rate_per_s=0.001, rate_burst=7)
    server.client.post("/embed", content=b" " * 1025)
    server.client.post("/embed/batch", json={"items": [{"text": "a"}] * 20})
    server.client.get("/nothing")
    server.client.put("/content/a", json={"text": "a barn"})
    for content in ("a", "nothing"):
        server.client.post("/interactions", json={"user_id": "u", "content_id": content, "type": "save"})
    found = parse(server.client.get("/metrics").text)
    assert found["http_requests_rejected_total", '{reason="body_too_large"}'] == 1
    assert found["http_requests_rejected_total", '{reason="too_large"}'] == 1
    assert found["http_request_errors_total", '{code="unknown_path"}'] == 1
    assert found["http_requests_total", '{endpoint="none",status="404"}'] == 1
    assert found["vows_stored_rows", '{table="interactions"}'] == 1
    assert found["vows_stage_seconds_total", '{stage="store"}'] > 0
    while server.client.get("/metrics").status_code == 200:
        pass
    server.client.get("/healthz")  # the line before is written by now
    assert '"reason":"rate_limited"' in server.log.read_text()


def test_prometheus_reads_them(shared_server):
    """By the library's own parser: every family has its type and help, and what is counted is called so."""
    shared_server.client.post("/embed", json={"text": "read by a library"})
    families = {
        found.name: found for found in text_string_to_metric_families(shared_server.client.get("/metrics").text)
    }
    assert len(families) >= 25
    for found in families.values():
        assert found.documentation
        assert found.type in ("counter", "gauge", "histogram")
        assert found.type != "counter" or all(sample.name.endswith("_total") for sample in found.samples)
    seconds = families["http_request_duration_seconds"]
    assert seconds.type == "histogram"
    for endpoint in {sample.labels["endpoint"] for sample in seconds.samples}:
        of = [sample for sample in seconds.samples if sample.labels["endpoint"] == endpoint]
        counts = [sample.value for sample in of if sample.name.endswith("_bucket")]
        assert counts == sorted(counts)
        assert [sample.value for sample in of if sample.name.endswith("_count")] == counts[-1:]
        assert [sample.labels["le"] for sample in of if sample.name.endswith("_bucket")][-1] == "+Inf"
