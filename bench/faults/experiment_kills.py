"""Servers with running experiments that are killed at random moments under exposures and interactions, and what is
found in their database afterwards: one server on SQLite, or several on one Postgres."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.http_client import build_request
from bench.server import Server, launched
from bench.suite import Conditions
from bench.threads import in_threads
from bench.traffic import store_items
from runtime.store import Store

CLIENTS, ITEMS, USERS, WINDOW_S = 6, 12, 200, 0.6
LOAD_S = 0.4  # at most, until a kill
SHARED_LOAD_S = 1.2  # of machines on one Postgres, which answer their first requests later
FOLLOWED_S = 30.0
_ARMS = [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]
_QUIET = {"p95_ms": None, "error_rate": None, "cold_start_ratio": None}
_RUNNING = {
    "arms": _ARMS,
    "namespace": {"name": "kills", "start": 0.2},
    "window_s": WINDOW_S,
    "guardrails": _QUIET,
    "promote": "manual",
}
_DECIDED = {"arms": _ARMS, "namespace": {"name": "kills", "end": 0.2}}


@dataclass
class Answered:
    """Ranking ids, event ids, and each user's arm as clients got them. decided: of each start, the state of
    every experiment. Filled from several threads."""

    rankings: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    arms: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    decided: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """lost: acknowledged and not stored, or not with what it answers. doubled: users or outcomes counted more often
    than there are, or other counts than rows. moved: users whose arm changed, starts after which something else was
    decided, and what the database's own check finds."""

    exposures: int
    events: int
    lost: int
    doubled: int
    moved: int


def kill_repeatedly(conditions: Conditions, kills: int, *, url: str | None = None, machines: int = 1) -> Outcome:
    """Rounds on one database, each killing every machine, `kills` in all; then two starts that count every window.
    url: of a Postgres that `machines` share. Raises RuntimeError where a request fails for another reason."""
    draw, answered = random.Random(conditions.seed), Answered()
    with tempfile.TemporaryDirectory(prefix="vows-kills-") as folder:
        data = Path(folder) / "data"
        settings = {"VOWS_DATA_DIR": str(data)} if url is None else {"VOWS_DATABASE_URL": url, "VOWS_THREADS": "1"}
        for number in range(-(-kills // machines)):
            with _started(conditions, settings, machines) as servers:
                if not number:
                    _prepare(servers)
                answered.decided += [_decided(server) for server in servers]
                _load_until_killed(servers, number, answered, draw, LOAD_S if url is None else SHARED_LOAD_S)
        reports = []
        for _ in range(2):
            with _started(conditions, settings, 1) as servers:
                answered.decided.append(_decided(servers[0]))
                reports.append(_all_closed(servers[0]))
                servers[0].process.kill()
                servers[0].process.wait()
        if reports[0] != reports[1]:
            answered.wrong.append("the second start reports something else")
        return asyncio.run(_compare(lambda: _open(url, data), answered, reports[-1]))


@contextmanager
def _started(conditions: Conditions, settings: dict[str, str], machines: int) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(launched(conditions, settings=settings)) for _ in range(machines)]
        for server in servers:
            server.first_answer(build_request("GET", "/readyz"), limit_s=120)
        yield servers


def _prepare(servers: Sequence[Server]) -> None:
    """Define the experiments on one machine, and wait until the others follow."""
    with servers[0].connect() as connection:
        store_items(connection, ITEMS)
        connection.request_json(build_request("PUT", "/experiments/kills", _RUNNING))
        connection.request_json(build_request("PUT", "/experiments/decided", _DECIDED))
        connection.request_json(build_request("POST", "/experiments/decided/promote?arm=control", {}))
    deadline = time.monotonic() + FOLLOWED_S
    while any(_decided(server) != _decided(servers[0]) for server in servers[1:]):
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {FOLLOWED_S:g} s not every machine knows the experiments")
        time.sleep(0.05)


def _decided(server: Server) -> Any:
    with server.connect() as connection:
        return connection.request_json(build_request("GET", "/experiments"))


def _load_until_killed(
    servers: Sequence[Server], number: int, answered: Answered, draw: random.Random, load_s: float
) -> None:
    clients = [
        partial(_visit_until_killed, servers[n % len(servers)], f"{number}-{n}", answered, random.Random(draw.random()))
        for n in range(CLIENTS)
    ]
    with in_threads(clients):
        for server in servers:
            time.sleep(draw.uniform(0.05, load_s))
            server.process.kill()
            server.process.wait()


def _visit_until_killed(server: Server, name: str, answered: Answered, draw: random.Random) -> None:
    ids = [f"item-{n}" for n in range(ITEMS)]
    try:
        with server.connect() as connection:
            for n in range(1_000_000):
                user = f"user-{draw.randrange(USERS)}"
                body = {"user_id": user, "candidates": ids, "top_k": 3}
                shown = connection.request_json(build_request("POST", "/rank", body))
                arm = shown.get("arm", "none")
                if answered.arms.setdefault(user, arm) != arm:
                    answered.wrong.append(f"{user} moved to {arm}")
                if "ranking_id" not in shown:
                    continue
                answered.rankings.add(shown["ranking_id"])
                if draw.random() < 0.5:
                    event = {
                        "event_id": f"{name}-{n}",
                        "user_id": user,
                        "content_id": shown["ranked"][0]["id"],
                        "type": "save",
                        "ranking_id": shown["ranking_id"],
                    }
                    connection.request_json(build_request("POST", "/interactions", event))
                    answered.events.add(event["event_id"])
    except (OSError, RuntimeError, ValueError):  # killed; a half-sent answer is no JSON
        return


def _all_closed(server: Server) -> dict[str, Any]:
    """What the server reports of the running experiment, once every window is over."""
    deadline = time.monotonic() + 60
    with server.connect() as connection:
        while True:
            found: dict[str, Any] = connection.request_json(build_request("GET", "/experiments/kills"))
            arms = found["arms"]
            if all(arm["closed"] == arm["users"] for arm in arms) or time.monotonic() > deadline:
                return {"arms": arms, "decision": found["decision"], "state": found["state"]}
            time.sleep(0.1)


async def _open(url: str | None, data: Path) -> Any:
    if url is None:
        from runtime.store.sqlite.store import SqliteStore

        return SqliteStore(data)
    from runtime.store.postgres.store import open_store

    return await open_store(url)


async def _compare(open: Callable[[], Awaitable[Any]], answered: Answered, reported: dict[str, Any]) -> Outcome:
    store = await open()
    try:
        shown, arms = await _exposures(store)
        answers = await _answers(store)
        total = (await store.counts()).exposures
        problems = store.check()
        problems = await problems if asyncio.iscoroutine(problems) else problems
    finally:
        await store.close()
    sums = {name: sum(arm[name] for arm in reported["arms"]) for name in ("users", "closed", "rankings")}
    lost = len(answered.rankings - shown.keys()) + len(answered.events - answers.keys())
    lost += sum(answers[id] is None for id in answered.events & answers.keys())
    doubled = abs(sums["users"] - len(arms)) + abs(sums["closed"] - len(arms))
    doubled += abs(sums["rankings"] - shown.total()) + abs(total - shown.total()) + shown.total() - len(shown)
    moved = len(answered.wrong) + len(problems) + sum(one != answered.decided[0] for one in answered.decided)
    moved += sum(len(found) > 1 or answered.arms.get(user, *found) not in found for user, found in arms.items())
    return Outcome(len(shown), len(answers), lost, doubled, moved)


async def _exposures(store: Store) -> tuple[Counter[str], dict[str, set[str]]]:
    """How often each ranking is stored, and the arms of each user."""
    shown: Counter[str] = Counter()
    arms: dict[str, set[str]] = {}
    after = 0
    while page := await store.exposures(after=after):
        after = page[-1].sequence
        shown.update(one.ranking_id for one in page)
        for one in page:
            arms.setdefault(one.user_id, set()).add(one.arm)
    return shown, arms


async def _answers(store: Store) -> dict[str, str | None]:
    """The ranking that each stored event answers."""
    found: dict[str, str | None] = {}
    after: int | None = 0
    while after is not None:
        page, after = await store.log(after=after)
        found |= {event.event_id: event.ranking_id for event in page}
    return found
