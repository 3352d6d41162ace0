"""A server with a running experiment that is killed at random moments under exposures and interactions, and what is
found in its database afterwards."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.http_client import build_request
from bench.server import Server, launched
from bench.suite import Conditions

CLIENTS, ITEMS, USERS, LOAD_S, WINDOW_S = 6, 12, 200, 0.4, 0.6
_QUIET = {"p95_ms": None, "error_rate": None, "cold_start_ratio": None}
_DEFINITION = {
    "arms": [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}],
    "window_s": WINDOW_S,
    "guardrails": _QUIET,
    "promote": "manual",
}


@dataclass
class Answered:
    """What clients were told: ranking ids, event ids, and each user's arm. Filled from several threads."""

    rankings: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    arms: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """lost: acknowledged and not stored. doubled: users or outcomes counted more often than there are, or other counts
    than rows. moved: users whose arm changed, and other contradictions."""

    exposures: int
    events: int
    lost: int
    doubled: int
    moved: int


def kill_repeatedly(conditions: Conditions, kills: int, progress: Callable[[int], None] = lambda _: None) -> Outcome:
    """`kills` rounds on one database, then a start that counts every window. Raises RuntimeError where a request fails
    for another reason than the kill."""
    draw, told = random.Random(conditions.seed), Answered()
    with tempfile.TemporaryDirectory(prefix="vows-kills-") as folder:
        settings = {"VOWS_DATA_DIR": str(Path(folder) / "data")}
        for number in range(kills):
            with launched(conditions, settings=settings) as server:
                server.first_answer(build_request("GET", "/readyz"))
                if not number:
                    _prepare(server)
                _load_until_killed(server, number, told, draw)
            progress(number)
        with launched(conditions, settings=settings) as server:
            server.first_answer(build_request("GET", "/readyz"))
            reported = _all_closed(server)
            return _compare(Path(folder) / "data" / "vows.db", told, reported)


def _prepare(server: Server) -> None:
    items = [{"id": f"item-{n}", "text": f"a barn with {n} windows"} for n in range(ITEMS)]
    with server.connect() as connection:
        connection.request_json(build_request("POST", "/content/batch", items))
        connection.request_json(build_request("PUT", "/experiments/kills", _DEFINITION))


def _load_until_killed(server: Server, number: int, told: Answered, draw: random.Random) -> None:
    clients = [
        threading.Thread(target=_visit_until_killed, args=(server, f"{number}-{n}", told, random.Random(draw.random())))
        for n in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    time.sleep(draw.uniform(0.05, LOAD_S))
    server.process.kill()
    server.process.wait()
    for client in clients:
        client.join()


def _visit_until_killed(server: Server, name: str, told: Answered, draw: random.Random) -> None:
    ids = [f"item-{n}" for n in range(ITEMS)]
    try:
        with server.connect() as connection:
            for n in range(1_000_000):
                user = f"user-{draw.randrange(USERS)}"
                body = {"user_id": user, "candidates": ids, "top_k": 3}
                shown = connection.request_json(build_request("POST", "/rank", body))
                told.rankings.add(shown["ranking_id"])
                if told.arms.setdefault(user, shown["arm"]) != shown["arm"]:
                    told.wrong.append(f"{user} moved to {shown['arm']}")
                if draw.random() < 0.5:
                    event = {
                        "event_id": f"{name}-{n}",
                        "user_id": user,
                        "content_id": shown["ranked"][0]["id"],
                        "type": "save",
                        "ranking_id": shown["ranking_id"],
                    }
                    connection.request_json(build_request("POST", "/interactions", event))
                    told.events.add(event["event_id"])
    except (OSError, RuntimeError, ValueError):  # killed; a half-sent answer is no JSON
        return


def _all_closed(server: Server) -> dict[str, int]:
    """Users and closed windows as the server reports them, once every window is over."""
    deadline = time.monotonic() + 30
    with server.connect() as connection:
        while True:
            arms = connection.request_json(build_request("GET", "/experiments/kills"))["arms"]
            found = {name: sum(arm[name] for arm in arms) for name in ("users", "closed", "rankings")}
            if found["closed"] == found["users"] or time.monotonic() > deadline:
                return found
            time.sleep(0.1)


def _compare(database: Path, told: Answered, reported: dict[str, int]) -> Outcome:
    with closing(sqlite3.connect(database)) as connection:
        rankings = {id for (id,) in connection.execute("SELECT ranking_id FROM exposures").fetchall()}
        answers = dict(connection.execute(
            "SELECT event_id, ranking_id FROM interactions l LEFT JOIN exposures e ON e.sequence = l.exposure"
        ).fetchall())  # fmt: skip
        participants = connection.execute("SELECT user, arm, closed FROM participants").fetchall()
        arms = connection.execute(
            """SELECT u.id, a.arm FROM participants p JOIN users u ON u.key = p.user
            JOIN experiment_arms a ON a.key = p.arm"""
        ).fetchall()
        (total,) = connection.execute("SELECT rows FROM totals WHERE name = 'exposures'").fetchone()
    lost = len(told.rankings - rankings) + len(told.events - answers.keys())
    lost += sum(answers[id] is None for id in told.events & answers.keys())
    doubled = abs(reported["users"] - len(participants)) + abs(reported["closed"] - len(participants))
    doubled += abs(reported["rankings"] - len(rankings)) + abs(total - len(rankings))
    doubled += len(participants) - len({user for user, _, _ in participants})
    moved = len(told.wrong) + sum(told.arms.get(user, arm) != arm for user, arm in arms)
    return Outcome(len(rankings), len(answers), lost, doubled, moved)
