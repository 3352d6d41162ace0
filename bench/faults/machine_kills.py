"""Several servers on one Postgres under write load: random ones are killed, Postgres is stopped as if it had crashed,
and clients repeat on any machine what was not answered."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.cgroup import memory_limit
from bench.faults.operations import Operation, violations
from bench.http_client import build_request
from bench.postgres import PostgresServer
from bench.server import Server, ServerError, launched
from bench.suite import Conditions

MACHINES, CLIENTS, CONTENTS, USERS = 3, 6, 12, 10
HARD_LIMIT_MIB = 192
LOAD_S = 1.0  # at most, between two faults
KINDS = ("view", "view", "save", "share", "skip")


@dataclass
class Answers:
    """What clients sent, were answered and read. Filled from several threads."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    history: list[Operation] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    refused: int = 0


@dataclass(frozen=True)
class Findings:
    """What was done to the servers, and what became of the events that they had acknowledged."""

    kills: int
    stops: int
    acknowledged: int
    lost: int
    doubled: int
    problems: list[str]


class Machines:
    """Servers by number; a killed one is started again."""

    def __init__(self, conditions: Conditions, url: str, *, limited: bool) -> None:
        self._conditions, self._limited = conditions, limited
        self._settings = {"VOWS_DATABASE_URL": url, "VOWS_THREADS": "1", "VOWS_DATABASE_TIMEOUT_S": "5"}
        self._stacks: list[ExitStack] = [ExitStack() for _ in range(MACHINES)]
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

    def close(self) -> None:
        """End all of them."""
        for stack in self._stacks:
            stack.close()

    def _launch(self, number: int) -> Server:
        stack = self._stacks[number] = ExitStack()
        group = stack.enter_context(memory_limit(HARD_LIMIT_MIB)) if self._limited else None
        return stack.enter_context(launched(self._conditions, group, self._settings))


def kill_repeatedly(conditions: Conditions, *, kills: int, stops: int, limited: bool) -> Findings:
    """Raises RuntimeError where an answer was none of those that are expected."""
    draw, answers, ended = random.Random(conditions.seed), Answers(), threading.Event()
    faults = draw.sample(["kill"] * kills + ["stop"] * stops, kills + stops)
    with PostgresServer() as postgres:
        machines = Machines(conditions, postgres.create_database("machines"), limited=limited)
        try:
            items = [{"id": f"item-{n}", "text": f"a barn with {n} windows"} for n in range(CONTENTS)]
            with machines.servers[0].connect() as connection:
                connection.request_json(build_request("POST", "/content/batch", items))
            clients = [
                threading.Thread(target=_client, args=(machines, n, answers, random.Random(draw.random()), ended))
                for n in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            for fault in faults:
                time.sleep(draw.uniform(0, LOAD_S))
                machines.restart_ended()
                if fault == "kill":
                    machines.kill(draw.randrange(MACHINES))
                else:
                    postgres.stop("immediate")
                    time.sleep(draw.uniform(0, 0.5))
                    postgres.start()
            machines.until_ready()
            ended.set()
            for client in clients:
                client.join()
        finally:
            ended.set()
            machines.close()
        stored, problems = asyncio.run(_stored(postgres.url("machines")))
    if answers.unexpected:
        raise RuntimeError(f"not what a client may be answered: {answers.unexpected[:3]}")
    return Findings(
        kills=kills,
        stops=stops,
        acknowledged=len(answers.acknowledged),
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
        events = [
            {
                "event_id": id,
                "user_id": user,
                "content_id": f"item-{draw.randrange(CONTENTS)}",
                "type": draw.choice(KINDS),
                "timestamp": "2026-01-01T00:00:00Z",
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
    except (OSError, RuntimeError):
        time.sleep(0.02)
        return None
    if status == 200:
        answered: dict[str, Any] = json.loads(body)
        return answered
    if status == 503:
        answers.refused += 1
        time.sleep(0.05)
    else:
        answers.unexpected.append(f"{status} {body[:200]!r}")
    return None
