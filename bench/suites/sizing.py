"""What a machine of 256 MiB holds and does: memory, disk and events a second by the size of the catalogue and audience.

Its table is the one under "Sizing" in docs/deployment.md.
"""

import random
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.case_result import CaseResult
from bench.catalogue import fill, item_id
from bench.cgroup import memory_limit
from bench.closed_loop import closed_loop
from bench.http_client import Connection, build_request
from bench.server import Server, serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw, share
from bench.suites.first_answer import disk_bytes

LIMIT_MIB = 256
EVENTS_A_USER = 5
EVENTS_A_REQUEST = 500
CANDIDATES = 100
CLIENTS = 16  # that send single events at once
_TYPES = ("view", "view", "save", "share", "skip")
_HELD_AS = re.compile(r"the catalogue is held as (\w+)")


@dataclass(frozen=True)
class Size:
    """A row of the table."""

    items: int
    users: int

    @property
    def name(self) -> str:
        """As metrics have it."""
        return f"{self.items}.{self.users}"

    @property
    def case(self) -> str:
        """As tables have it."""
        return f"{self.items:,} items, {self.users:,} users"


SIZES = (Size(1_000, 1_000), Size(10_000, 10_000), Size(100_000, 100_000))


def measure(size: Size, conditions: Conditions, samples: Samples) -> None:
    """Serve a catalogue with default settings under a hard limit, take in every user's events, then answer readers."""
    items, users = (300, 40) if conditions.quick else (size.items, size.users)
    draw = random.Random(conditions.seed)
    with tempfile.TemporaryDirectory(prefix="vows-bench-") as folder, ExitStack() as stack:
        data = Path(folder)
        fill(data, conditions, items)
        group = stack.enter_context(memory_limit(LIMIT_MIB))
        server = stack.enter_context(serving(conditions, group, {"VOWS_DATA_DIR": folder}, ready_s=300))
        connection = stack.enter_context(server.connect())
        found = _HELD_AS.search(server.log.read_text(encoding="utf-8"))
        samples.note("held_as", found[1] if found else "unknown")
        before = _data_bytes(server, data)
        started = time.monotonic()
        for request in _batches(items, users, draw):
            samples.count("stored", connection.request_json(request)["stored"])
        samples.add("events_a_s.batched", users * EVENTS_A_USER / (time.monotonic() - started))
        samples.add("disk_mb", _data_bytes(server, data) / 1e6)
        samples.add("disk_bytes_an_event", (_data_bytes(server, data) - before) / (users * EVENTS_A_USER))
        _single_events(server, items, users, conditions, samples)
        _read(connection, items, users, draw, conditions, samples)
        memory = server.memory()
        samples.add("anonymous_mib", memory.anonymous_mib)
        samples.add("peak_rss_mib", memory.peak_rss_mib)
        samples.add("oom_kills", group.oom_kills())


def _batches(items: int, users: int, draw: random.Random) -> Iterator[bytes]:
    """Every user's events, users mixed, as requests."""
    order = [user for user in range(users) for _ in range(EVENTS_A_USER)]
    draw.shuffle(order)
    for start in range(0, len(order), EVENTS_A_REQUEST):
        events = [_event(user, items, draw) for user in order[start : start + EVENTS_A_REQUEST]]
        yield build_request("POST", "/interactions", events)


def _event(user: int, items: int, draw: random.Random) -> dict[str, str]:
    content = item_id(draw.randrange(items))
    return {"user_id": f"user-{user}", "content_id": content, "type": draw.choice(_TYPES), "device": "phone"}


def _single_events(server: Server, items: int, users: int, conditions: Conditions, samples: Samples) -> None:
    def client(seed: int) -> Iterator[bytes]:
        draw = random.Random(seed)
        while True:
            yield build_request("POST", "/interactions", _event(draw.randrange(users), items, draw))

    clients = [client(conditions.seed * 1_000 + n) for n in range(CLIENTS)]
    elapsed_s, answers = closed_loop(server.port, clients, limit_s=conditions.rounds(full=10, quick=1))
    succeeded = sum(answer.status == 200 for answer in answers)
    samples.add("events_a_s.single", succeeded / elapsed_s)
    samples.count("requests", len(answers))
    samples.count("succeeded", succeeded)


def _read(
    connection: Connection, items: int, users: int, draw: random.Random, conditions: Conditions, samples: Samples
) -> None:
    for n in range(conditions.rounds(full=300, quick=10)):
        user = f"user-{draw.randrange(users)}"
        candidates = [item_id(one) for one in draw.sample(range(items), CANDIDATES)]
        for request in (
            build_request("POST", "/rank", {"user_id": user, "candidates": candidates}),
            build_request("POST", "/search", {"text": f"a venue for {n} guests"}),
            build_request("GET", f"/user/{user}/recommendations"),
        ):
            status, _ = connection.send(request)
            samples.count("requests")
            samples.count("succeeded", int(status == 200))


def _data_bytes(server: Server, data: Path) -> int:
    """Of the data folder on the disk, with the files without a name that the server has open there."""
    unnamed, device = 0, data.stat().st_dev
    for opened in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            found = opened.stat()
        except OSError:  # closed meanwhile
            continue
        if found.st_nlink == 0 and found.st_dev == device:
            unnamed += found.st_blocks * 512
    return disk_bytes(data) + unnamed


def table(results: Mapping[str, CaseResult]) -> str:
    """Markdown: a row a size that was measured."""
    lines = [
        "| items | users | stored events | vectors held as | memory, MiB | disk, MB | events/s, one a request | "
        f"events/s, {EVENTS_A_REQUEST} a request |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        result = results.get(size.case)
        if result is None or result.failed or result.not_measured:
            continue
        series = result.series
        figures = [
            f"{size.items:,}",
            f"{size.users:,}",
            f"{sum(series['stored']):,.0f}",
            str(result.notes["held_as"]),
            f"{series['anonymous_mib'][0]:.0f}",
            f"{series['disk_mb'][0]:,.0f}",
            f"{series['events_a_s.single'][0]:,.0f}",
            f"{series['events_a_s.batched'][0]:,.0f}",
        ]
        lines.append(f"| {' | '.join(figures)} |")
    return "\n".join(lines)


def _metrics(size: Size) -> Iterator[Metric]:
    sizes = (("anonymous_mib", "MiB"), ("peak_rss_mib", "MiB"), ("disk_mb", "MB"), ("disk_bytes_an_event", "bytes"))
    for name, unit in sizes:
        yield Metric(f"sizing.{name}.{size.name}", size.case, unit, "higher", raw(name))
    for name in ("events_a_s.single", "events_a_s.batched"):
        yield Metric(f"sizing.{name}.{size.name}", size.case, "events/s", "lower", raw(name))
    yield Metric(f"sizing.oom_kills.{size.name}", size.case, "processes", "higher", raw("oom_kills"), "max")
    yield Metric(f"sizing.success_share.{size.name}", size.case, "share", "lower", share("succeeded", "requests"))


SUITE = Suite(
    name="sizing",
    purpose=f"memory, disk and events a second by items and users, on {LIMIT_MIB} MiB",
    reading=f"Default settings, both models, one core, a hard limit of {LIMIT_MIB} MiB. {EVENTS_A_USER} events of each "
    f"user are stored; then {CLIENTS} clients send single events, each durable before its answer; then rankings of "
    f"{CANDIDATES} candidates, searches and recommendations. Memory is what no file backs, after all of that. Disk is "
    "the data folder, with what the server keeps there while it runs.",
    cases=tuple(Case(size.case, partial(measure, size), limit_s=1_800) for size in SIZES),
    metrics=tuple(metric for size in SIZES for metric in _metrics(size)),
    table=table,
)
