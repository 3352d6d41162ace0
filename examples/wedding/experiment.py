"""Experiments on simulated couples: a better ranking is promoted, a harmful one stopped, equal ones are left alone.

In this world the order decides. A couple has viewed one item. They read the list from the top, look further with a
probability of a half after each item, and save an item of the season when they see one. Which items are in season
cannot be read from their words or from what a couple viewed; earlier couples saved them. Windows are two seconds, not
days.
"""

import random
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from examples.wedding.client import Client
from examples.wedding.journeys import Item

SEASON, EARLIER_COUPLES, COUPLES = 6, 40, 200
READS_ON, SAVES = 0.5, 0.8
WINDOW_S, SETTLE_S = 2.0, 20.0
QUIET = {"p95_ms": None, "error_rate": None, "cold_start_ratio": None}


@dataclass(frozen=True)
class Finished:
    """What an experiment came to, after how many couples."""

    name: str
    state: str
    reason: str
    couples: int
    lift: float | None
    interval: list[float | None]

    def __str__(self) -> str:
        low, high = (f"{end:+.0%}" if end is not None else "infinity" for end in self.interval)
        found = "?" if self.lift is None else f"{self.lift:+.0%}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.name}: {self.state}{why} after {self.couples} couples; lift {found}, from {low} to {high}"


def run(client: Client, catalogue: list[Item], seed: int = 1) -> list[Finished]:
    """Three experiments, one after another; the promotion of the first is rolled back. Raises ServerError."""
    draw = random.Random(seed)
    ids = [item["id"] for item in catalogue]
    season = set(draw.sample(ids, SEASON))
    users = [f"demo-season-{n}" for n in range(EARLIER_COUPLES)]
    for user in users:
        client.add_interactions([_event(user, id, "save") for id in draw.sample(sorted(season), 3)])
    finished = []
    for name, control, treatment in (
        ("demo-better", "simple", "hybrid"),
        ("demo-harmful", "hybrid", "simple"),
        ("demo-equal", "hybrid", "hybrid"),
    ):
        found = _visited(client, name, control, treatment, ids, season, draw, users)
        finished.append(found)
        if found.state == "promoted":
            client.request("POST", f"/experiments/{name}/rollback")
        if found.state == "running":
            client.request("POST", f"/experiments/{name}/stop")
    for user in users:
        client.delete_user(user)
    return finished


def _visited(
    client: Client,
    name: str,
    control: str,
    treatment: str,
    ids: list[str],
    season: set[str],
    draw: random.Random,
    users: list[str],
) -> Finished:
    """Couples visit until the server decides, or all have. Their ids go to `users`."""
    arms = [{"name": "control", "model": control}, {"name": "treatment", "model": treatment}]
    definition = {"arms": arms, "window_s": WINDOW_S, "guardrails": QUIET}
    # Two definitions with different exploration: what another run counted is another period.
    for top in (2, 3):
        client.request("PUT", f"/experiments/{name}", definition | {"explore": {"top": top}})
    visitors = [f"{name}-{n}" for n in range(COUPLES)]
    users += visitors
    others = sorted(set(ids) - season)
    client.add_interactions([_event(user, draw.choice(others), "view") for user in visitors])
    decided_after = COUPLES
    for visited, user in enumerate(visitors):
        shown = client.request("POST", "/rank", {"user_id": user, "candidates": ids, "top_k": 10})
        if "arm" not in shown:
            decided_after = visited
            break
        for one in shown["ranked"]:
            if one["id"] in season and draw.random() < SAVES:
                client.add_interactions([_event(user, one["id"], "save") | {"ranking_id": shown["ranking_id"]}])
            if draw.random() > READS_ON:
                break
    return _settled(client, name, decided_after)


def _settled(client: Client, name: str, couples: int) -> Finished:
    """The experiment once every window is over, and a moment later."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        found = client.request("GET", f"/experiments/{quote(name)}")
        if found["state"] != "running":
            break
        if all(arm["closed"] == arm["users"] for arm in found["arms"]) and time.monotonic() > deadline - SETTLE_S + 5:
            break
        time.sleep(0.2)
    treatment: dict[str, Any] = found["arms"][1]
    return Finished(name, found["state"], found["reason"], couples, treatment.get("lift"), treatment["lift_interval"])


def _event(user: str, content: str, type: str) -> dict[str, str]:
    return {"user_id": user, "content_id": content, "type": type, "event_id": f"{user}-{content}"}
