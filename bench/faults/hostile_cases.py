"""Hostile clients beside an honest one in a memory cgroup: each kind in turn, for an hour, and what two kinds cost."""

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench.cgroup import forget_cached, memory_limit
from bench.closed_loop import closed_loop
from bench.faults import hostile
from bench.http_client import Connection, build_request
from bench.server import Server, serving
from bench.suite import Case, Conditions, Metric, Samples, growth, raw, share
from bench.texts import text_source
from bench.threads import in_threads
from bench.traffic import CheckedRequest, MixedTraffic, store_items

LIMITS_MIB = (256, 192)
SOAK_MIB, SOAK_CONNECTIONS, SOAK_KIND_S, SOAK_PAUSE_S, SOAK_PROBE_EVERY_S = 256, 100, 20.0, 0.05, 0.5
READ_EVERY_S = 5.0
READY_AGAIN_S = 60.0
CATALOGUE = 60
LARGE_ITEMS, LARGE_CHARACTERS = 512, 32_000  # of four bytes each, twice an item: 256 KB of fields
STYLE_CLIENTS, STYLE_EVENTS, STYLE_S = 40, 10_000, 20
_TRIES, _LONGEST_WAIT_S = 20, 2.0
_REJECTED = (429, 503)


def measure_hostile(conditions: Conditions, samples: Samples) -> None:
    """Each kind of hostile client in turn, and all together, in a memory cgroup, beside an honest client."""
    seconds = conditions.rounds(full=20, quick=1)
    for limit_mib in LIMITS_MIB[conditions.rounds(full=0, quick=1) :]:
        with memory_limit(limit_mib) as group:
            forget_cached([conditions.models])
            with serving(conditions, group) as server:
                load_catalogue(server)
                attacks = [[kind] for kind in hostile.KINDS.values()] + [list(hostile.KINDS.values())]
                for name, kinds in zip([*hostile.KINDS, "all"], attacks, strict=True):
                    failed, times_ms = 0, []
                    with contextlib.ExitStack() as stack:
                        for kind in kinds:
                            stack.enter_context(hostile.attack(server.port, kind))
                        for succeeded, elapsed_ms in hostile.probe(server.port, seconds):
                            samples.count("probes")
                            samples.count("probes.200", int(succeeded))
                            times_ms.append(elapsed_ms)
                            failed += not succeeded
                    samples.add("probe_ms", *times_ms)
                    where = f"hostile.{limit_mib}.{name}"
                    samples.note(f"{where}.failed", failed)
                    samples.note(f"{where}.probes", len(times_ms))
                    samples.note(f"{where}.slowest_ms", round(max(times_ms)))
                samples.add("hostile_peak_rss_mib", server.memory().peak_rss_mib)
                age_s = time.monotonic() - server.started
                server.first_answer(build_request("GET", "/readyz"), limit_s=age_s + READY_AGAIN_S)
            samples.add("hostile_oom_kills", group.oom_kills())


def measure_hostile_soak(conditions: Conditions, samples: Samples) -> None:
    """Mixed traffic for `soak_s` in a hard limit, every answer checked, beside one kind of hostile client after
    another; anonymous memory read every five seconds."""
    seconds = 4.0 if conditions.quick else conditions.soak_s
    every = 0.2 if conditions.quick else READ_EVERY_S
    ends = threading.Event()
    with memory_limit(SOAK_MIB) as group:
        forget_cached([conditions.models])
        with serving(conditions, group) as server:
            with in_threads(
                [partial(_attack_in_turns, server.port, ends), partial(_probe, server.port, seconds, samples)]
            ):
                try:
                    _send_mixed(conditions, server, time.monotonic() + seconds, every, samples)
                finally:
                    ends.set()
            server.first_answer(build_request("GET", "/readyz"), limit_s=seconds + 2 * READY_AGAIN_S)
            samples.add("hostile_soak_peak_rss_mib", server.memory().peak_rss_mib)
        samples.add("hostile_soak_oom_kills", group.oom_kills())
    samples.note("soak_s", seconds)


def measure_stored_items(conditions: Conditions, samples: Samples) -> None:
    """A short batch that names many stored items of long fields: what the server takes for it at its peak."""
    count = conditions.rounds(full=LARGE_ITEMS, quick=8)
    with memory_limit(LIMITS_MIB[0]) as group, serving(conditions, group) as server, server.connect() as connection:
        text = "\N{WEDDING}" * LARGE_CHARACTERS
        for n in range(count):
            fields = {"text": text, "description": text, "title": f"large {n}"}
            body = json.dumps(fields, ensure_ascii=False).encode()
            connection.request_json(build_request("PUT", f"/content/large-{n}", body))
        before = _reset_peak(server)
        named = [{"id": f"large-{n}", "title": f"large {n}"} for n in range(count)]
        connection.request_json(build_request("POST", "/content/batch", named))
        samples.add("stored_items_peak_mib", server.memory().peak_rss_mib - before)
        samples.add("stored_items_oom_kills", group.oom_kills())


def measure_neighbours_of_style(conditions: Conditions, samples: Samples) -> None:
    """Recommendations of a user with one event, alone and beside many clients who ask how a long history changed."""
    seconds = conditions.rounds(full=STYLE_S, quick=1)
    events = conditions.rounds(full=STYLE_EVENTS, quick=200)
    style = build_request("GET", "/user/long/style?weeks=104&dislikes=true")
    with serving(conditions) as server:
        load_catalogue(server)
        with server.connect() as connection:
            _store_history(connection, events)
        for _, elapsed_ms in _recommended(server, seconds / 4):
            samples.add("recommendation_alone_ms", elapsed_ms)
        clients = [itertools.repeat(style)] * STYLE_CLIENTS
        with in_threads([partial(closed_loop, server.port, clients, seconds)]):
            for status, elapsed_ms in _recommended(server, seconds):
                samples.count("recommended")
                samples.count("recommended.200", int(status == 200))
                samples.add("recommendation_ms", elapsed_ms)


def load_catalogue(server: Server) -> None:
    """Store a few items."""
    with server.connect() as connection:
        store_items(connection, CATALOGUE)


def _attack_in_turns(port: int, ends: threading.Event) -> None:
    for kind in itertools.cycle(hostile.KINDS.values()):
        with hostile.attack(port, kind, SOAK_CONNECTIONS):
            ends.wait(SOAK_KIND_S)
        if ends.is_set():
            return


def _probe(port: int, seconds: float, samples: Samples) -> None:
    for succeeded, elapsed_ms in hostile.probe(port, seconds, SOAK_PROBE_EVERY_S):
        samples.count("soak_probes")
        samples.count("soak_probes.200", int(succeeded))
        samples.add("soak_probe_ms", elapsed_ms)


def _send_mixed(conditions: Conditions, server: Server, end: float, every: float, samples: Samples) -> None:
    source = text_source(conditions)
    patient = _PatientClient(server, samples)
    next_reading = time.monotonic()
    for checked in MixedTraffic(source, conditions.seed):
        if (now := time.monotonic()) >= next_reading:
            samples.add("hostile_soak_anonymous_mib", server.memory().anonymous_mib)
            next_reading += every
        if now >= end:
            return
        status, body = patient.send(checked)
        samples.count("mixed")
        samples.count("mixed.expected", int(status in checked.expected))
        if status not in checked.expected:
            samples.note(f"unexpected.{checked.name}", f"{status}: {body[:200]!r}")
        time.sleep(SOAK_PAUSE_S)


class _PatientClient:
    """A client that does what the server says: waits for Retry-After, and connects again."""

    def __init__(self, server: Server, samples: Samples) -> None:
        self._server = server
        self._samples = samples
        self._connection: Connection | None = None

    def send(self, checked: CheckedRequest) -> tuple[int, bytes]:
        """The answer that is no rejection; the last rejection after _TRIES; status 0 without any."""
        status, body = 0, b""
        for number in range(_TRIES):
            if number:
                self._samples.count("mixed.repeated")
                time.sleep(min(_LONGEST_WAIT_S, 0.1 * 2**number))
            try:
                if self._connection is None:
                    self._connection = self._server.connect()
                status, body = self._connection.send(checked.request)
            except OSError:
                self._connection = None
                continue
            if status not in _REJECTED or status in checked.expected:
                return status, body
            self._connection = None  # a rejection may close it
        return status, body


def _reset_peak(server: Server) -> float:
    """Forget the highest resident memory so far; MiB that are resident now."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    return server.memory().peak_rss_mib


def _store_history(connection: Connection, events: int) -> None:
    now = datetime.now(UTC)
    stored = [
        {
            "user_id": "long", "content_id": f"item-{n % CATALOGUE}", "type": ("save", "view", "skip")[n % 3],
            "timestamp": (now - timedelta(hours=n)).isoformat(),
        }
        for n in range(events)
    ]  # fmt: skip
    for start in range(0, events, 100):
        connection.request_json(build_request("POST", "/interactions", stored[start : start + 100]))
    once = {"user_id": "short", "content_id": "item-0", "type": "save"}
    connection.request_json(build_request("POST", "/interactions", once))


def _recommended(server: Server, seconds: float) -> Iterator[tuple[int, float]]:
    request = build_request("GET", "/user/short/recommendations?top_k=10")
    end = time.monotonic() + seconds
    with server.connect() as connection:
        while time.monotonic() < end:
            elapsed_ms, status = connection.timed(request)
            yield status, elapsed_ms
            time.sleep(0.01)


READING = (
    "`hostile`: clients that hold connections, heads, bodies and "
    f"answers without using them, {hostile.CONNECTIONS} of each of {len(hostile.KINDS)} kinds in turn and then of all, "
    "under hard limits of 256 and 192 MiB; an honest client makes a connection and asks for a vector every 20 ms. "
    f"`hostile soak`: mixed traffic under {SOAK_MIB} MiB beside {SOAK_CONNECTIONS} connections of one kind after "
    "another; a client waits for Retry-After. `stored items`: a batch of 20 KB that names "
    f"{LARGE_ITEMS} items of {LARGE_CHARACTERS * 8 // 1000} KB. `style`: recommendations of a user with one event "
    f"beside {STYLE_CLIENTS} clients who ask for the style of one with {STYLE_EVENTS:,} events. "
)
CASES = (
    Case("hostile", measure_hostile, limit_s=1800),
    Case("hostile soak", measure_hostile_soak, limit_s=7200),
    Case("stored items", measure_stored_items, limit_s=1200),
    Case("style", measure_neighbours_of_style),
)
_SOAK, _STYLE = "hostile soak", "style"
METRICS = (
    Metric("faults.hostile_probe_success_share", "hostile", "share", "lower", share("probes.200", "probes")),
    Metric("faults.hostile_probe_ms", "hostile", "ms", "higher", raw("probe_ms"), "p99"),
    Metric("faults.hostile_peak_rss_mib", "hostile", "MiB", "higher", raw("hostile_peak_rss_mib"), "max"),
    Metric("faults.hostile_oom_kills", "hostile", "kills", "higher", raw("hostile_oom_kills"), "max"),
    Metric("faults.hostile_soak_requests", _SOAK, "requests", "lower", raw("mixed")),
    Metric("faults.hostile_soak_expected_share", _SOAK, "share", "lower", share("mixed.expected", "mixed")),
    Metric("faults.hostile_soak_probe_share", _SOAK, "share", "lower", share("soak_probes.200", "soak_probes")),
    Metric("faults.hostile_soak_probe_ms", _SOAK, "ms", "higher", raw("soak_probe_ms"), "p99"),
    Metric("faults.hostile_soak_growth_mib", _SOAK, "MiB", "higher", growth("hostile_soak_anonymous_mib")),
    Metric("faults.hostile_soak_peak_rss_mib", _SOAK, "MiB", "higher", raw("hostile_soak_peak_rss_mib")),
    Metric("faults.hostile_soak_oom_kills", _SOAK, "kills", "higher", raw("hostile_soak_oom_kills")),
    Metric("faults.stored_items_peak_mib", "stored items", "MiB", "higher", raw("stored_items_peak_mib")),
    Metric("faults.stored_items_oom_kills", "stored items", "kills", "higher", raw("stored_items_oom_kills")),
    Metric("faults.style_neighbour_share", _STYLE, "share", "lower", share("recommended.200", "recommended")),
    Metric("faults.style_neighbour_ms", _STYLE, "ms", "higher", raw("recommendation_ms"), "p99"),
    Metric("faults.style_alone_ms", _STYLE, "ms", "higher", raw("recommendation_alone_ms"), "p99"),
)
