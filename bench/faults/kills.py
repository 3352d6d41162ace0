"""A server that is killed at random moments while clients write, started again each time, and checked."""

import json
import random
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.faults.ledger import Findings, Ledger, compare
from bench.http_client import Connection, build_request
from bench.server import Server, launched
from bench.suite import Conditions
from bench.threads import in_threads
from bench.traffic import store_items

CLIENTS = 8
CONTENTS, USERS = 20, 12
LOAD_S = 0.4  # a server is killed within this time of its first write
START_S = 0.8  # or, now and then, within this time of the start of its process
KILLED_STARTING, KILLED_STOPPING = 0.1, 0.1  # shares of the rounds
KINDS = ("view", "view", "save", "share", "skip")


def kill_repeatedly(
    conditions: Conditions, kills: int, progress: Callable[[int, Findings], None]
) -> tuple[Ledger, Findings]:
    """`kills` rounds on one database. Raises RuntimeError at the first round that lost or duplicated something."""
    draw, ledger = random.Random(conditions.seed), Ledger()
    with tempfile.TemporaryDirectory(prefix="vows-kills-") as folder:
        database = Path(folder) / "data" / "vows.db"
        settings = {"VOWS_DATA_DIR": str(database.parent)}
        for number in range(kills):
            with launched(conditions, settings=settings) as server:
                if number and draw.random() < KILLED_STARTING:
                    time.sleep(draw.uniform(0, START_S))
                else:
                    server.first_answer(build_request("GET", "/readyz"))
                    if number:
                        progress(number, _checked(database, ledger, thorough=False))
                    _load_until_killed(server, number, ledger, draw)
                server.process.kill()
                server.process.wait()
        with launched(conditions, settings=settings) as server:
            server.first_answer(build_request("GET", "/readyz"))
            _send_again(server, ledger)
            return ledger, _checked(database, ledger, thorough=True)


def _checked(database: Path, ledger: Ledger, *, thorough: bool) -> Findings:
    found = compare(database, ledger, thorough=thorough)
    if ledger.unexpected_responses or found.wrong:
        raise RuntimeError(f"not what was acknowledged: {found} {ledger.unexpected_responses[:3]}")
    return found


def _load_until_killed(server: Server, number: int, ledger: Ledger, draw: random.Random) -> None:
    if number == 0:
        with server.connect() as connection:
            store_items(connection, CONTENTS)
    doubtful = sorted(ledger.in_doubt)
    with in_threads(
        [
            partial(
                _write_until_killed, server, f"{number}-{n}", doubtful[n::CLIENTS], ledger, random.Random(draw.random())
            )
            for n in range(CLIENTS)
        ]
    ):
        time.sleep(draw.uniform(0, LOAD_S))
        if draw.random() < KILLED_STOPPING:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(draw.uniform(0, LOAD_S))
        server.process.kill()


def _write_until_killed(server: Server, name: str, doubtful: list[str], ledger: Ledger, draw: random.Random) -> None:
    """Events one by one and in batches, those in doubt first; now and then a new vector, or a user to forget."""
    try:
        with server.connect() as connection:
            for start in range(0, len(doubtful), 50):
                _store(connection, doubtful[start : start + 50], ledger)
            n = 0
            while True:
                ids = [f"{name}-{n + i}" for i in range(draw.choice((1, 1, 1, 5, 20)))]
                n += len(ids)
                _store(connection, ids, ledger)
                if draw.random() < 0.03:
                    content = {"text": f"a barn with {draw.randrange(100)} doors"}
                    connection.send(build_request("PUT", f"/content/item-{draw.randrange(CONTENTS)}", content))
                if draw.random() < 0.03:
                    _create_and_delete_user(connection, f"{name}-{n}-guest", ledger)
    except (OSError, RuntimeError):  # killed, or in time refused what it could not finish
        return


def _event(id: str) -> dict[str, str]:
    """The event of that id, the same whenever it is sent again."""
    draw = random.Random(id)
    return {
        "event_id": id,
        "user_id": f"user-{draw.randrange(USERS)}",
        "content_id": f"item-{draw.randrange(CONTENTS)}",
        "type": draw.choice(KINDS),
    }


def _store(connection: Connection, ids: list[str], ledger: Ledger) -> None:
    events = [_event(id) for id in ids]
    ledger.sent.update(ids)
    answer = connection.request_json(build_request("POST", "/interactions", events))
    outcomes = {result["event_id"] for result in answer["results"] if result["status"] in ("stored", "duplicate")}
    if outcomes != set(ids):
        ledger.unexpected_responses.append(f"an event was rejected: {json.dumps(answer)[:300]}")
    ledger.acknowledged.update(ids)


def _create_and_delete_user(connection: Connection, user: str, ledger: Ledger) -> None:
    preferences = {"preferences": ["a barn"]}
    connection.request_json(build_request("PUT", f"/user/{user}/preferences", preferences))
    connection.request_json(build_request("DELETE", f"/user/{user}"))
    ledger.deleted.add(user)


def _send_again(server: Server, ledger: Ledger) -> None:
    """What is still in doubt once more: after this every event sent was acknowledged."""
    doubtful = sorted(ledger.in_doubt)
    with server.connect() as connection:
        for start in range(0, len(doubtful), 50):
            _store(connection, doubtful[start : start + 50], ledger)
