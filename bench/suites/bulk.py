"""A catalogue of 100,000 items streamed in under 256 MiB, while another client sends requests."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

from bench.catalogue import item_id
from bench.cgroup import memory_limit
from bench.http_client import HOST, build_request
from bench.server import serving, text_encoder_alone
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw, share
from bench.texts import TextSource, load_tokenizer

ITEMS = 100_000
LIMIT_MIB = 256
ASK_EVERY_S = 0.25
TEXT_TOKENS = 16
IDLE_TEXTS = 60
_ROW_BYTES = 392
_STREAM_LIMIT_S = 3000.0
CASE = f"{ITEMS:,} items, limit {LIMIT_MIB} MiB"


class Stream(threading.Thread):
    """One `POST /content/batch` of `items` lines. After it: `progress`, the number of progress lines; `last`, the last
    line; `error`, set when the stream failed."""

    def __init__(self, port: int, items: int) -> None:
        super().__init__(daemon=True)
        self.progress = 0
        self.last: dict[str, Any] = {}
        self.error: str | None = None
        self._port = port
        self._body = b"".join(b'{"id":"%b","text":"venue %d"}\n' % (item_id(n).encode(), n) for n in range(items))

    def run(self) -> None:
        """Send in one thread and read in another, as a client with an asynchronous library does."""
        head = (
            f"POST /content/batch HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/x-ndjson\r\n"
            f"accept: application/x-ndjson\r\ncontent-length: {len(self._body)}\r\nconnection: close\r\n\r\n"
        )
        try:
            with socket.create_connection((HOST, self._port), timeout=_STREAM_LIMIT_S) as connection:
                sender = threading.Thread(target=connection.sendall, args=(head.encode() + self._body,), daemon=True)
                sender.start()
                for line in connection.makefile("rb"):
                    if line.startswith(b'{"event"'):
                        self.last = json.loads(line)
                        self.progress += self.last["event"] == "progress"
                sender.join()
        except (OSError, ValueError) as error:
            self.error = f"{type(error).__name__}: {error}"


def measure(conditions: Conditions, samples: Samples) -> None:
    """Request new texts on an idle server, then a few times a second while the stream runs."""
    items = conditions.rounds(full=ITEMS, quick=1_500)
    source = TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed)
    settings = {"VOWS_CATALOG_VECTORS": "int8", "VOWS_CATALOG_BYTES": str(max(1 << 20, items * _ROW_BYTES))}
    with (
        text_encoder_alone(conditions) as alone,
        memory_limit(LIMIT_MIB) as group,
        serving(alone, group, settings) as server,
        server.connect() as connection,
    ):

        def embed(series: str) -> None:
            text = {"type": "content", "text": source.texts(TEXT_TOKENS, 1)[0]}
            elapsed_ms, status = connection.timed(build_request("POST", "/embed", text))
            samples.count("requests")
            samples.count("succeeded", int(status == 200))
            samples.add(series, elapsed_ms)

        for _ in range(conditions.rounds(full=IDLE_TEXTS, quick=5)):
            embed("idle_ms")
            time.sleep(ASK_EVERY_S if not conditions.quick else 0)
        stream = Stream(server.port, items)
        started = time.monotonic()
        stream.start()
        while stream.is_alive():
            embed("concurrent_ms")
            stream.join(ASK_EVERY_S)
        samples.add("items_per_s", items / (time.monotonic() - started))
        if stream.error is not None or stream.last.get("event") != "done":
            raise RuntimeError(f"the stream ended with {stream.error or stream.last}")
        samples.count("sent", items)
        samples.count("stored", connection.request_json(build_request("GET", "/info"))["stored"]["content"])
        samples.add("progress_lines", stream.progress)
        memory = server.memory()
        samples.add("anonymous_mib", memory.anonymous_mib)
        samples.add("peak_rss_mib", memory.peak_rss_mib)
        samples.add("oom_kills", group.oom_kills())


SUITE = Suite(
    name="bulk",
    purpose="100,000 items in one stream under 256 MiB, with concurrent requests",
    reading="`POST /content/batch` with NDJSON, every text new and embedded; only the text encoder is served, "
    "vectors held as int8. Meanwhile a client requests `/embed` of a new text of 16 tokens four times a second "
    "(`concurrent`; `idle`: the same before the stream). `stored_share`: of the items sent, those that `/info` counts.",
    cases=(Case(CASE, measure, limit_s=3600),),
    metrics=(
        Metric("bulk.stored_share", CASE, "share", "lower", share("stored", "sent")),
        Metric("bulk.concurrent_success_share", CASE, "share", "lower", share("succeeded", "requests")),
        Metric("bulk.oom_kills", CASE, "processes", "higher", raw("oom_kills"), "max"),
        Metric("bulk.items_per_s", CASE, "1/s", "lower", raw("items_per_s")),
        Metric("bulk.idle_p50_ms", CASE, "ms", "higher", raw("idle_ms")),
        Metric("bulk.concurrent_p50_ms", CASE, "ms", "higher", raw("concurrent_ms")),
        Metric("bulk.concurrent_p95_ms", CASE, "ms", "higher", raw("concurrent_ms"), "p95"),
        Metric("bulk.concurrent_max_ms", CASE, "ms", "higher", raw("concurrent_ms"), "max"),
        Metric("bulk.progress_lines", CASE, "lines", "lower", raw("progress_lines")),
        Metric("bulk.anonymous_mib", CASE, "MiB", "higher", raw("anonymous_mib")),
        Metric("bulk.peak_rss_mib", CASE, "MiB", "higher", raw("peak_rss_mib")),
    ),
)
