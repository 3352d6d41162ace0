"""Several servers on one Postgres under write load: random ones are killed, Postgres is stopped as if it had crashed,
networks between are cut, clocks differ and jump, and clients repeat on any machine what was not answered."""

import asyncio
import json
import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.cgroup import memory_limit
from bench.faults import shim
from bench.faults.operations import Operation, violations
from bench.http_client import build_request
from bench.postgres import PostgresServer
from bench.server import Server, ServerError, launched
from bench.suite import Conditions
from bench.tcp_proxy import Network, TcpProxy
from bench.threads import in_threads
from bench.traffic import store_items

MACHINES, CLIENTS, CONTENTS, USERS = 3, 6, 12, 10
HARD_LIMIT_MIB = 192
LOAD_S = 1.0  # at most, between two faults
DATABASE_TIMEOUT_S = 2  # of the servers
CUT_S = 3.0  # at most; a silent network is then longer away than the servers wait
CLOCKS_S = (-90, 0, 90)  # of the machines at first; a jump goes as far
KINDS = ("view", "view", "save", "share", "skip")


@dataclass
class Answers:
    """What clients sent, were answered and read. Filled from several threads."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    history: list[Operation] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    refused: int = 0
    from_memory: int = 0


@dataclass(frozen=True)
class Faults:
    """How often each is done. cuts: of the network between a server and Postgres. clock_jumps: of a server."""

    kills: int
    stops: int
    cuts: int
    clock_jumps: int

    @property
    def names(self) -> list[str]:
        """One a fault."""
        named = {"kill": self.kills, "stop": self.stops, "cut": self.cuts, "clock": self.clock_jumps}
        return [name for name, number in named.items() for _ in range(number)]


@dataclass(frozen=True)
class Findings:
    """What became of the events that the servers had acknowledged. refused: answers 503, all with Retry-After.
    from_memory: texts that were embedded while the server's network was cut."""

    acknowledged: int
    refused: int
    from_memory: int
    lost: int
    doubled: int
    problems: list[str]


class Machines:
    """Servers by number, each with a network and a clock of its own; a killed one is started again."""

    def __init__(self, conditions: Conditions, postgres: Path, database: str, folder: Path, *, limited: bool) -> None:
        self._conditions, self._limited, self._database = conditions, limited, database
        self._library = shim.build(folder)
        self._folders = [folder / str(number) for number in range(MACHINES)]
        self._networks = [TcpProxy(postgres) for _ in range(MACHINES)]
        self._stacks: list[ExitStack] = [ExitStack() for _ in range(MACHINES)]
        for number, own in enumerate(self._folders):
            own.mkdir()
            self.set_clock(number, CLOCKS_S[number % len(CLOCKS_S)])
        self.servers: list[Server] = [self._launch(number) for number in range(MACHINES)]
        for server in self.servers:
            server.first_answer(build_request("GET", "/readyz"), limit_s=120)

    def kill(self, number: int) -> None:
        """Kill a server and start it again."""
        self.servers[number].process.kill()
        self.servers[number].process.wait()
        self._stacks[number].close()
        self.servers[number] = self._launch(number)

    def restart_ended(self) -> None:
        """As a platform does: start those again that ended because Postgres was away as they started."""
        for number, server in enumerate(self.servers):
            if server.process.poll() is not None:
                self.kill(number)

    def until_ready(self) -> None:
        """Return when all of them answer; one that ended is started again."""
        for number, server in enumerate(self.servers):
            while True:
                try:
                    server.first_answer(build_request("GET", "/readyz"), limit_s=120)
                    break
                except ServerError:
                    self.kill(number)
                    server = self.servers[number]

    def ready(self, draw: random.Random, longest_s: float = 20.0) -> int:
        """The number of one that answers everything; any one where none does in time."""
        until = time.monotonic() + longest_s
        while time.monotonic() < until:
            for number in draw.sample(range(MACHINES), MACHINES):
                try:
                    with self.servers[number].connect(timeout_s=5) as connection:
                        if connection.send(build_request("GET", "/readyz"))[0] == 200:
                            return number
                except (OSError, RuntimeError):
                    continue
            self.restart_ended()
            time.sleep(0.05)
        return 0

    def set_clock(self, number: int, ahead_s: int) -> None:
        """Let a server's time of day be off by so much."""
        written = self._folders[number] / "clock.new"
        written.write_text(str(ahead_s))
        written.replace(self._folders[number] / "clock")

    def cut(self, number: int, network: Network, seconds: float, answers: Answers) -> None:
        """Cut a server's network for a while, in which it still has to embed."""
        self._networks[number].set(network)
        began = time.monotonic()
        try:
            with self.servers[number].connect(timeout_s=30) as connection:
                status, body = connection.send(build_request("POST", "/embed", {"text": f"a barn at {began}"}))
            answers.from_memory += status == 200
            if status not in (200, 503):
                answers.unexpected.append(f"/embed {status} {body[:200]!r}")
        except (OSError, RuntimeError):
            pass  # it is starting
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        self._networks[number].set("up")

    def close(self) -> None:
        """End all of them."""
        for stack in self._stacks:
            stack.close()
        for network in self._networks:
            network.close()

    def _launch(self, number: int) -> Server:
        stack = self._stacks[number] = ExitStack()
        group = stack.enter_context(memory_limit(HARD_LIMIT_MIB)) if self._limited else None
        settings = {
            "VOWS_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{self._networks[number].port}/{self._database}",
            "VOWS_THREADS": "1",
            "VOWS_DATABASE_TIMEOUT_S": str(DATABASE_TIMEOUT_S),
            "LD_PRELOAD": str(self._library),
            "FAULTS_DIR": str(self._folders[number]),
        }
        return stack.enter_context(launched(self._conditions, group, settings))


def disturb(conditions: Conditions, wanted: Faults, *, limited: bool) -> Findings:
    """Raises RuntimeError where an answer was none of those that are expected."""
    draw, answers, ended = random.Random(conditions.seed), Answers(), threading.Event()
    faults = draw.sample(wanted.names, len(wanted.names))
    with PostgresServer() as postgres, TemporaryDirectory(prefix="vows-machines-") as folder:
        postgres.create_database("machines")
        machines = Machines(conditions, postgres.socket, "machines", Path(folder), limited=limited)
        try:
            with machines.servers[0].connect() as connection:
                store_items(connection, CONTENTS)
            clients = [
                partial(_client, machines, n, answers, random.Random(draw.random()), ended) for n in range(CLIENTS)
            ]
            with in_threads(clients):
                for fault in faults:
                    time.sleep(draw.uniform(0, LOAD_S))
                    machines.restart_ended()
                    number = draw.randrange(MACHINES)
                    if fault == "kill":
                        machines.kill(number)
                    elif fault == "cut":
                        machines.cut(
                            machines.ready(draw), draw.choice(("refused", "silent")), draw.uniform(0.1, CUT_S), answers
                        )
                    elif fault == "clock":
                        machines.set_clock(number, draw.randint(min(CLOCKS_S), max(CLOCKS_S)))
                    else:
                        postgres.stop("immediate")
                        time.sleep(draw.uniform(0, 0.5))
                        postgres.start()
                machines.until_ready()
                ended.set()
        finally:
            ended.set()
            machines.close()
        stored, problems = asyncio.run(_stored(postgres.url("machines")))
    if answers.unexpected:
        raise RuntimeError(f"not what a client may be answered: {answers.unexpected[:3]}")
    return Findings(
        acknowledged=len(answers.acknowledged),
        refused=answers.refused,
        from_memory=answers.from_memory,
        lost=len(answers.acknowledged - set(stored)),
        doubled=len(stored) - len(set(stored)) + len(set(stored) - answers.sent),
        problems=problems + violations(answers.history),
    )


async def _stored(url: str) -> tuple[list[str], list[str]]:
    """The event ids of the log, and what contradicts it."""
    from runtime.store.postgres.store import open_store

    store = await open_store(url)
    try:
        stored: list[str] = []
        after: int | None = 0
        while after is not None:
            page, after = await store.log(after=after)
            stored += [event.event_id for event in page]
        return stored, await store.check()
    finally:
        await store.close()


def _client(machines: Machines, number: int, answers: Answers, draw: random.Random, ended: threading.Event) -> None:
    """Events one by one and in batches, each repeated until it is answered, and reads; everything on any machine."""
    n = 0
    while not ended.is_set():
        user = f"user-{draw.randrange(USERS)}"
        if draw.random() < 0.3:
            began = time.monotonic()
            found = _request(machines, draw, build_request("GET", f"/user/{user}/embedding"), answers)
            if found is not None:
                count = found.get("interaction_count", 0)
                answers.history.append(Operation("read", user, began, time.monotonic(), count=count))
            continue
        ids = [f"{number}-{n + i}" for i in range(draw.choice((1, 1, 1, 5, 20)))]
        n += len(ids)
        # Half of them have no time: the machine's own clock stamps them
        times = {} if draw.random() < 0.5 else {"timestamp": "2026-01-01T00:00:00Z"}
        events = [
            {
                "event_id": id,
                "user_id": user,
                "content_id": f"item-{draw.randrange(CONTENTS)}",
                "type": draw.choice(KINDS),
                **times,
            }
            for id in ids
        ]
        answers.sent.update(ids)
        began = time.monotonic()
        answered = None
        while answered is None and not ended.is_set():
            answered = _request(machines, draw, build_request("POST", "/interactions", events), answers)
        ended_at = None if answered is None else time.monotonic()
        answers.history.append(Operation("write", user, began, ended_at, events=frozenset(ids)))
        if answered is not None:
            if {result["status"] for result in answered["results"]} - {"stored", "duplicate"}:
                answers.unexpected.append(json.dumps(answered)[:300])
            answers.acknowledged.update(ids)


def _request(machines: Machines, draw: random.Random, request: bytes, answers: Answers) -> dict[str, Any] | None:
    """The answer of some machine; None where it was killed or refused, which is 503 with Retry-After alone."""
    server = machines.servers[draw.randrange(MACHINES)]
    try:
        with server.connect(timeout_s=30) as connection:
            status, body = connection.send(request)
            head = connection.head.lower()
    except (OSError, RuntimeError):
        time.sleep(0.02)
        return None
    if status == 200:
        answered: dict[str, Any] = json.loads(body)
        return answered
    if status == 503 and b"\r\nretry-after: " in head:
        answers.refused += 1
        time.sleep(0.05)
    else:
        answers.unexpected.append(f"{status} {body[:200]!r}")
    return None
