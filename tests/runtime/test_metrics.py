"""The exposition format, parsed line by line, and what a real server puts into it."""

import re

from runtime.metrics import BUCKETS, RequestMetrics, family

LINE = re.compile(r'^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? ([0-9.e+-]+)$')


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
    metrics = RequestMetrics()
    for seconds in (0.0001, 0.0005, 0.003, 99.0):
        metrics.observe("GET /x", 200, seconds)
    found = parse("\n".join(metrics.text()))
    counts = [value for (name, _), value in found.items() if name == "vows_request_seconds_bucket"]
    assert counts == sorted(counts)
    assert len(counts) == len(BUCKETS) + 1
    assert (counts[0], counts[-1]) == (2, 4)
    assert found["vows_request_seconds_count", '{endpoint="GET /x"}'] == 4


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
    assert found["vows_requests_total", '{endpoint="POST /embed",status="200"}'] == 4
    assert found["vows_requests_total", '{endpoint="POST /embed",status="422"}'] == 1
    assert found["vows_errors_total", '{code="invalid_request"}'] == 1
    assert (found["vows_cache_hits_total", ""], found["vows_cache_misses_total", ""]) == (2, 2)
    assert found["vows_texts_truncated_total", ""] == 1
    assert found["vows_memory_rss_bytes", ""] > found["vows_memory_anonymous_bytes", ""] > 1e7
    assert (found["vows_held_bytes", ""], found["vows_queue_tokens", ""]) == (0, 0)
