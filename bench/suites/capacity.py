"""Events a second and users that several machines on one Postgres take: measured for what runs here, simulated from
the measured service times beyond it. Its table is the one under "How many machines" in docs/deployment.md."""

import asyncio
import os
import random
import statistics
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench.capacity import Service, Simulated, simulate
from bench.case_result import CaseResult
from bench.closed_loop import Answer, closed_loop
from bench.http_client import build_request
from bench.postgres import PostgresServer
from bench.server import Server, launched
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw, share
from bench.threads import in_threads
from bench.traffic import store_items

HERE = (1, 3)  # machines as processes of this one
MACHINES = (1, 3, 10, 100)
POSTGRES_CORES = (4, 16)
CLIENTS = 16  # of each machine here
CLIENTS_SIMULATED = 64
NETWORK_MS = 0.5  # of a round trip between a machine and Postgres in one region
EVENTS_A_MINUTE, RANKINGS_A_MINUTE = 6, 2  # of an active user
MOST_BUSY = 0.7  # beyond it waiting grows fast
ITEMS, USERS, CANDIDATES, BATCH = 200, 1_000, 100, 64


def measure(conditions: Conditions, samples: Samples) -> None:
    """Service times of one machine, then events a second of 1 and 3."""
    with PostgresServer() as postgres:
        samples.add("sync_ms", *_syncs(postgres.folder, conditions.rounds(full=300, quick=20)))
        for machines in HERE[: conditions.rounds(full=len(HERE), quick=1)]:
            url = postgres.create_database(f"capacity-{machines}")
            settings = {"VOWS_DATABASE_URL": url, "VOWS_THREADS": "1"}
            with ExitStack() as stack:
                servers = [stack.enter_context(launched(conditions, None, settings)) for _ in range(machines)]
                for server in servers:
                    server.first_answer(build_request("GET", "/readyz"), limit_s=120)
                _fill(servers[0])
                if machines == 1:
                    _service_times(servers[0], postgres, conditions, samples)
                _loaded(servers, postgres, conditions, samples)
        samples.add("statements", asyncio.run(_statements(postgres.create_database("capacity-statements"))))


def _fill(server: Server) -> None:
    with server.connect() as connection:
        store_items(connection, ITEMS)


def _service_times(server: Server, postgres: PostgresServer, conditions: Conditions, samples: Samples) -> None:
    """CPU of the machine and of Postgres for single events, for batches, and for rankings."""
    draw = random.Random(conditions.seed)
    n = conditions.rounds(full=300, quick=10)
    candidates = [f"item-{one}" for one in range(CANDIDATES)]
    kinds: dict[str, tuple[int, Any]] = {
        "event": (n, lambda: ("/interactions", _event(draw))),
        "batch": (n // 5, lambda: ("/interactions", [_event(draw) for _ in range(BATCH)])),
        "ranking": (n, lambda: ("/rank", {"user_id": f"user-{draw.randrange(USERS)}", "candidates": candidates})),
    }
    with server.connect() as connection:
        for name, (requests, make) in kinds.items():
            for _ in range(10):
                connection.request_json(build_request("POST", *make()))
            machine, database = server.cpu_ms(), _cpu_ms(postgres)
            for _ in range(requests):
                path, body = make()
                request = build_request("POST", path, body)
                elapsed_ms, status = connection.timed(request)
                samples.add(f"{name}.ms", elapsed_ms)
                samples.count("requests")
                samples.count("succeeded", int(status == 200))
            samples.add(f"{name}.machine_ms", (server.cpu_ms() - machine) / requests)
            samples.add(f"{name}.postgres_ms", (_cpu_ms(postgres) - database) / requests)


def _loaded(servers: list[Server], postgres: PostgresServer, conditions: Conditions, samples: Samples) -> None:
    """CLIENTS of each machine send single events as fast as they are answered."""
    seconds = conditions.rounds(full=10, quick=2)
    found: list[tuple[float, list[Answer]]] = []

    def load(server: Server, seed: int) -> None:
        clients = [_events(random.Random(seed * 1_000 + n)) for n in range(CLIENTS)]
        found.append(closed_loop(server.port, clients, limit_s=seconds))

    machine, database = sum(server.cpu_ms() for server in servers), _cpu_ms(postgres)
    with in_threads(partial(load, server, n) for n, server in enumerate(servers)):
        pass
    answers = [answer for _, some in found for answer in some]
    stored = sum(answer.status == 200 for answer in answers)
    samples.count("requests", len(answers))
    samples.count("succeeded", stored)
    machines = len(servers)
    samples.add(f"events_per_s.{machines}", stored / max(elapsed for elapsed, _ in found))
    samples.add(f"loaded_machine_ms.{machines}", (sum(one.cpu_ms() for one in servers) - machine) / max(stored, 1))
    samples.add(f"loaded_postgres_ms.{machines}", (_cpu_ms(postgres) - database) / max(stored, 1))


def _events(draw: random.Random) -> Iterator[bytes]:
    while True:
        yield build_request("POST", "/interactions", _event(draw))


def _event(draw: random.Random) -> dict[str, str]:
    content = f"item-{draw.randrange(ITEMS)}"
    return {"user_id": f"user-{draw.randrange(USERS)}", "content_id": content, "type": "save"}


def _postmaster(postgres: PostgresServer) -> int:
    return int((postgres.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def _cpu_ms(postgres: PostgresServer) -> float:
    """Of all processes of the server that run now."""
    parent, total = _postmaster(postgres), 0.0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(stat[1]) == parent or int(folder.name) == parent:
                total += int((folder / "schedstat").read_text().split()[0]) / 1e6
        except OSError:  # it ended meanwhile
            continue
    return total


def _syncs(folder: Path, rounds: int) -> list[float]:
    """Milliseconds of writing and syncing a page of the log, where Postgres keeps it."""
    found = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(rounds):
            started = time.perf_counter()
            file.write(bytes(8_192))
            os.fdatasync(file.fileno())
            found.append(1e3 * (time.perf_counter() - started))
    return found


async def _statements(url: str) -> int:
    """Round trips of a transaction that adds an event."""
    import numpy as np

    from runtime.store import ContentItem, Interaction
    from runtime.store.postgres.store import open_store

    store = await open_store(url, dimensions=4)
    counted = 0

    def count(_: object) -> None:
        nonlocal counted
        counted += 1

    try:
        vector = np.full(4, 0.5, np.float32)
        item = ContentItem(
            id="barn", fields=b"{}", embedding=vector, model_version="m", bundle_digest="d", tokens=1, truncated=False
        )
        await store.put_content([item])
        await store.add_interactions([_interaction(Interaction)])  # prepares its statements
        async with store.connections.use("counting") as connection:
            connection.add_query_logger(count)
        await store.add_interactions([_interaction(Interaction)])
    finally:
        await store.close()
    return counted


def _interaction(kind: Any) -> Any:
    return kind(
        event_id=uuid.uuid4().hex, user_id="ann", content_id="barn", type="save", time_us=time.time_ns() // 1_000
    )


def service_of(series: Mapping[str, list[float]]) -> Service:
    """What one machine was measured to need, with the network of a region."""
    one, many = (statistics.fmean(series[f"{name}.postgres_ms"]) for name in ("event", "batch"))
    event = max((many - one) / (BATCH - 1), 0.0)
    return Service(
        request=series["loaded_machine_ms.1"][0],
        transaction=max(one - event, 0.0),
        event=event,
        sync=statistics.median(series["sync_ms"]),
        network=series["statements"][0] * NETWORK_MS,
    )


def here(series: Mapping[str, list[float]], machines: int) -> Simulated:
    """What the simulation says about this machine, where all servers share a core and Postgres has the other."""
    service = service_of(series)
    waiting = (
        statistics.median(series["event.ms"]) - service.request - service.transaction - service.event - service.sync
    )
    local = Service(
        request=service.request, transaction=service.transaction, event=service.event, sync=service.sync,
        network=max(waiting, 0.0),
    )  # fmt: skip
    return simulate(local, machines=machines, cores=1, clients=CLIENTS, shared_core=True, events=5_000)


def users(series: Mapping[str, list[float]], machines: int, cores: int) -> int:
    """As many active users as keep everything below MOST_BUSY."""
    events, rankings = EVENTS_A_MINUTE / 60, RANKINGS_A_MINUTE / 60
    of_machines = events * series["loaded_machine_ms.1"][0] + rankings * series["ranking.machine_ms"][0]
    of_postgres = events * series["event.postgres_ms"][0] + rankings * series["ranking.postgres_ms"][0]
    return int(1e3 * MOST_BUSY * min(machines / of_machines, cores / max(of_postgres, 1e-9)))


def table(results: Mapping[str, CaseResult]) -> str:
    """Markdown: a row a number of machines."""
    result = results.get("one Postgres")
    if result is None or result.failed or result.not_measured:
        return "Not measured yet."
    series = {name: list(values) for name, values in result.series.items()}
    lines = [
        "| machines | events/s here, measured | simulated for here | "
        + " | ".join(f"events/s, Postgres of {cores} cores | busiest | active users" for cores in POSTGRES_CORES)
        + " |",
        "|---" * (3 + 3 * len(POSTGRES_CORES)) + "|",
    ]
    for machines in MACHINES:
        measured = series.get(f"events_per_s.{machines}")
        cells = [str(machines)]
        cells += [f"{measured[0]:,.0f}", f"{here(series, machines).events_per_s:,.0f}"] if measured else ["–", "–"]
        for cores in POSTGRES_CORES:
            found = simulate(service_of(series), machines=machines, cores=cores, clients=CLIENTS_SIMULATED)
            cells += [f"{found.events_per_s:,.0f}", found.bottleneck, f"{users(series, machines, cores):,}"]
        lines.append(f"| {' | '.join(cells)} |")
    service = service_of(series)
    lines += [
        "",
        f"Service times: {service.request:.2f} ms of a machine's core an event, {service.transaction:.2f} ms of a core "
        f"of Postgres a transaction and {service.event:.3f} ms an event in it, {service.sync:.2f} ms a sync, "
        f"{series['statements'][0]:.0f} round trips a transaction; a ranking of {CANDIDATES} candidates "
        f"{series['ranking.machine_ms'][0]:.2f} ms of a machine and {series['ranking.postgres_ms'][0]:.2f} ms of "
        "Postgres.",
    ]
    return "\n".join(lines)


_TIMES = [f"{name}.{part}" for name in ("event", "batch", "ranking") for part in ("machine_ms", "postgres_ms")]

SUITE = Suite(
    name="capacity",
    purpose="events a second and users of several machines on one Postgres",
    reading=f"Measured here: servers that share one core, {CLIENTS} clients of each that send single events, and "
    "Postgres with the clients on another core. Beyond it: a simulation of queues with the measured service times "
    f"(`bench/capacity.py`), a core for each machine, {CLIENTS_SIMULATED} clients of each, and {NETWORK_MS:g} ms a "
    "round trip; it knows nothing of locks that transactions on one item wait for. An active user sends "
    f"{EVENTS_A_MINUTE} events and reads {RANKINGS_A_MINUTE} rankings a minute; the number of users is the one that "
    f"keeps everything at {MOST_BUSY:.0%} or less, each event in a transaction of its own.",
    cases=(Case("one Postgres", measure, limit_s=900),),
    metrics=(
        *(Metric(f"capacity.events_per_s.{n}", "one Postgres", "1/s", "lower", raw(f"events_per_s.{n}")) for n in HERE),
        *(Metric(f"capacity.{name}", "one Postgres", "ms", "higher", raw(name)) for name in _TIMES),
        Metric("capacity.event_ms", "one Postgres", "ms", "higher", raw("event.ms")),
        Metric("capacity.sync_ms", "one Postgres", "ms", "higher", raw("sync_ms")),
        Metric("capacity.round_trips", "one Postgres", "round trips", "higher", raw("statements")),
        Metric("capacity.success_share", "one Postgres", "share", "lower", share("succeeded", "requests")),
    ),
    table=table,
)
