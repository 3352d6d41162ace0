"""Catalogues of 100,000 and a million items streamed in under 256 MiB, while another client sends requests."""

import json
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.catalogue import item_id
from bench.cgroup import memory_limit
from bench.http_client import HOST, build_request
from bench.process_memory import MiB
from bench.server import serving, text_encoder_alone
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw, share
from bench.texts import text_source
from runtime.catalog.formats import row_bytes

LIMIT_MIB = 256
ASK_EVERY_S = 0.25
TEXT_TOKENS = 16
IDLE_TEXTS = 60
DIMENSIONS = 384
_STREAM_LIMIT_S = 7_000.0


@dataclass(frozen=True)
class Load:
    """`texts`: how many different ones the items have; each is embedded once, and then its vector is in the cache."""

    items: int
    texts: int
    vectors: str

    @property
    def case(self) -> str:
        """As tables have it."""
        return f"{self.items:,} items, limit {LIMIT_MIB} MiB"


NEW_TEXTS = Load(100_000, 100_000, "int8")
MILLION = Load(1_000_000, 200, "disk")  # the cache of the smallest machine has room for 300
LOADS = (NEW_TEXTS, MILLION)


class Stream(threading.Thread):
    """One `POST /content/batch` of `items` lines. After it: `progress`, the number of progress lines; `last`, the last
    line; `error`, set when the stream failed."""

    def __init__(self, port: int, items: int, texts: int) -> None:
        super().__init__(daemon=True)
        self.progress = 0
        self.last: dict[str, Any] = {}
        self.error: str | None = None
        self._port = port
        self._body = b"".join(
            b'{"id":"%b","text":"venue %d"}\n' % (item_id(n).encode(), n % texts) for n in range(items)
        )

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


def measure(load: Load, conditions: Conditions, samples: Samples) -> None:
    """Request new texts on an idle server, then a few times a second while the stream runs."""
    items = conditions.rounds(full=load.items, quick=1_500)
    source = text_source(conditions)
    room = items * row_bytes(load.vectors, DIMENSIONS)
    settings = {"VOWS_CATALOG_VECTORS": load.vectors, "VOWS_CATALOG_BYTES": str(max(1 << 20, room))}
    with ExitStack() as stack:
        data = Path(stack.enter_context(TemporaryDirectory(prefix="vows-bench-")))
        settings["VOWS_DATA_DIR"] = str(data)
        if load.vectors == "int8":  # 100,000 items leave no room for the sequence model's vectors
            conditions = stack.enter_context(text_encoder_alone(conditions))
        group = stack.enter_context(memory_limit(LIMIT_MIB))
        server = stack.enter_context(serving(conditions, group, settings))
        connection = stack.enter_context(server.connect())

        def embed(series: str) -> None:
            text = {"type": "content", "text": source.texts(TEXT_TOKENS, 1)[0]}
            elapsed_ms, status = connection.timed(build_request("POST", "/embed", text))
            samples.count("requests")
            samples.count("succeeded", int(status == 200))
            samples.add(series, elapsed_ms)

        for _ in range(conditions.rounds(full=IDLE_TEXTS, quick=5)):
            embed("idle_ms")
            time.sleep(ASK_EVERY_S if not conditions.quick else 0)
        stream = Stream(server.port, items, load.texts)
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
        samples.add("disk_mib", sum(path.stat().st_blocks * 512 for path in data.rglob("*")) / MiB)
        samples.add("oom_kills", group.oom_kills())


def _metrics(load: Load) -> tuple[Metric, ...]:
    case = load.case
    end = "" if load is NEW_TEXTS else f".{load.items}"
    return (
        Metric(f"bulk.stored_share{end}", case, "share", "lower", share("stored", "sent")),
        Metric(f"bulk.concurrent_success_share{end}", case, "share", "lower", share("succeeded", "requests")),
        Metric(f"bulk.oom_kills{end}", case, "processes", "higher", raw("oom_kills"), "max"),
        Metric(f"bulk.items_per_s{end}", case, "1/s", "lower", raw("items_per_s")),
        Metric(f"bulk.idle_p50_ms{end}", case, "ms", "higher", raw("idle_ms")),
        Metric(f"bulk.concurrent_p50_ms{end}", case, "ms", "higher", raw("concurrent_ms")),
        Metric(f"bulk.concurrent_p95_ms{end}", case, "ms", "higher", raw("concurrent_ms"), "p95"),
        Metric(f"bulk.concurrent_max_ms{end}", case, "ms", "higher", raw("concurrent_ms"), "max"),
        Metric(f"bulk.progress_lines{end}", case, "lines", "lower", raw("progress_lines")),
        Metric(f"bulk.anonymous_mib{end}", case, "MiB", "higher", raw("anonymous_mib")),
        Metric(f"bulk.peak_rss_mib{end}", case, "MiB", "higher", raw("peak_rss_mib")),
        Metric(f"bulk.disk_mib{end}", case, "MiB", "higher", raw("disk_mib")),
    )


SUITE = Suite(
    name="bulk",
    purpose="100,000 items and a million in one stream under 256 MiB, with concurrent requests",
    reading="`POST /content/batch` with NDJSON. 100,000: every text new and embedded; only the text encoder is served, "
    f"vectors held as int8. A million: {MILLION.texts} different texts, so that the encoder has little to do and the "
    "load is of database and catalogue; both models are served, vectors held on disk. Meanwhile a client requests "
    "`/embed` of a new text of 16 tokens four times a second (`concurrent`; `idle`: the same before the stream). "
    "`stored_share`: of the items sent, those that `/info` counts. `disk`: the data folder at the end.",
    cases=tuple(Case(load.case, partial(measure, load), limit_s=7_200) for load in LOADS),
    metrics=tuple(metric for load in LOADS for metric in _metrics(load)),
    independent=True,
)
