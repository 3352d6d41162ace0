"""A server that was sent a small log in the order of time, to be asked as of any time."""

from datetime import UTC, datetime, timedelta

import numpy as np

from tests.small_world import ITEMS, small_world
from training.__main__ import main
from training.data.events import ACTIONS

USERS = 200
WORDS = ("rustic", "modern", "coastal", "garden", "urban", "alpine", "vintage", "royal")
DEVICES = (None, "phone", "tablet", "desktop")


def rfc3339(time_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()


def replayed_server(start_server, bundle_path, models, **settings):
    """With an own folder of models, and a log of 6,000 events."""
    (models / "minilm").symlink_to(bundle_path.resolve())
    # Beyond its deadline for the sequence model a request is ranked without, which is no order to compare
    server = start_server(models_dir=models, allow_at=1, request_timeout_s=300, **settings)
    server.models = models
    items = [{"id": f"item-{n}", "text": f"a {WORDS[n % 8]} place number {n}"} for n in range(ITEMS)]
    assert server.client.post("/content/batch", json=items).json()["stored"] == ITEMS
    world = small_world(users=USERS)
    events = world.events.take(np.argsort(world.events.time_us, kind="stable"))
    sent = [
        {
            "user_id": world.users[user],
            "content_id": f"item-{item}",
            "type": ACTIONS[action],
            "timestamp": rfc3339(int(t)),
            "device": DEVICES[device],
            "context": {} if np.isnan(days) else {"days_to_wedding": round(float(days), 3)},
        }
        for user, item, action, t, device, days in zip(
            events.user, events.item, events.action, events.time_us, events.device, events.days_to_event, strict=True
        )
    ]
    for start in range(0, len(sent), 1000):
        answer = server.client.post("/interactions", json=sent[start : start + 1000]).json()
        assert answer["rejected"] == 0
    return server


def trained_sequence(server, out):
    """A sequence model of the server's whole log, by the owner's command; the folder of its run."""
    arguments = ["train", "--events", str(server.data_dir), "--recipe", "tiny", "--epochs", "1", "--out", str(out)]
    assert main(arguments) == 0
    return out
