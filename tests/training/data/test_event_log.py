"""The runtime's log, read while a real server writes it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.blocking_store import BlockingStore
from runtime.personalization.sequence_features import DAYS_TO_EVENT_KEY, DEVICES
from runtime.serving.experiment_state import counted_arm
from runtime.store import Exposure
from runtime.store.errors import StoreError
from runtime.store.sqlite.store import SqliteStore
from tests.conftest import Server
from training.data.event_log import read_event_log
from training.data.events import ACTIONS


def test_what_a_server_logged(start_server: Callable[..., Server]) -> None:
    server = start_server()
    client = server.client
    for id in ("barn", "tent", "cake"):
        client.put(f"/content/{id}", json={"title": f"The {id}"}).raise_for_status()
    client.put("/user/ada/preferences", json={"preferences": ["rustic"]}).raise_for_status()
    sent = [
        ("ada", "tent", "save", "2024-05-01T10:00:00Z", {"device": "iPad", "duration_ms": 900}),
        ("ada", "barn", "view", "2024-05-01T09:59:00Z", {"context": {DAYS_TO_EVENT_KEY: 120, "page": "home"}}),
        ("bob", "cake", "skip", "2024-05-01T10:00:00Z", {}),
        ("ada", "cake", "share", "2024-05-01T10:00:00Z", {}),  # one instant with the save, and later in the log
        ("ada", "cake", "view", "2024-05-01T10:45:00Z", {}),
    ]
    for user, content, kind, timestamp, more in sent:
        event = {"user_id": user, "content_id": content, "type": kind, "timestamp": timestamp, **more}
        client.post("/interactions", json=event).raise_for_status()
    client.delete("/content/tent").raise_for_status()
    dataset = read_event_log(server.data_dir)
    events = dataset.events
    ids = [dataset.catalogue.ids[row] for row in events.item]
    assert [dataset.users[row] for row in events.user] == ["ada"] * 4 + ["bob"]
    assert ids == ["barn", "tent", "cake", "cake", "cake"]
    assert [ACTIONS[code] for code in events.action] == ["view", "save", "share", "view", "skip"]
    assert events.session.tolist() == [0, 0, 0, 1, 2]
    assert DEVICES[events.device[1]] == "tablet"
    assert events.duration_ms[1] == 900
    assert events.days_to_event[0] == 120
    assert np.isnan(events.days_to_event[1:]).all()
    texts = dict(zip(dataset.catalogue.ids, dataset.catalogue.texts, strict=True))
    assert texts == {"barn": "The barn", "cake": "The cake", "tent": ""}
    vectors = dict(zip(dataset.catalogue.ids, dataset.catalogue.vectors, strict=True))
    served = client.post("/embed", json={"text": "The barn"}).json()["embedding"]
    assert vectors["barn"] == pytest.approx(np.array(served, np.float32), abs=1e-6)
    assert not vectors["tent"].any()
    assert (dataset.catalogue.created_us[events.item] <= events.time_us).all()
    assert dataset.preference_embedding is not None
    assert np.linalg.norm(dataset.preference_embedding, axis=1).tolist() == pytest.approx([1, 0], abs=1e-5)
    under_another_key = read_event_log(server.data_dir, days_to_event_key="page")
    assert np.isnan(under_another_key.events.days_to_event).all()
    assert (dataset.days_to_event_key, under_another_key.days_to_event_key) == (DAYS_TO_EVENT_KEY, "page")
    # It was only read: the server goes on
    assert client.get("/user/ada/embedding").status_code == 200


def test_users_whose_weights_followed_outcomes_are_of_one_arm(tmp_path: Path) -> None:
    """An adaptive experiment counts them by batch; what an arm shows does not depend on it."""
    store = BlockingStore(SqliteStore(tmp_path / "data"))
    arms = ["control", counted_arm("control", 1), counted_arm("treatment", 12), counted_arm("control", 12)]
    store.add_exposures([
        Exposure(
            ranking_id=f"r-{n}", user_id=f"u-{n}", experiment="feed", period=2, arm=arm, model_version="m",
            time_us=n, items=b'[["barn",1.0]]', closes_us=10, bucket_us=1,
        )
        for n, arm in enumerate(arms)
    ])  # fmt: skip
    store.close()
    found = read_event_log(tmp_path / "data").exposures
    assert found.groups == ["feed, period 2, control", "feed, period 2, treatment"]
    assert found.group.tolist() == [0, 0, 1, 0]


def test_what_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no event log at"):
        read_event_log(tmp_path)
    assert list(tmp_path.iterdir()) == []  # SQLite makes the files that it is asked to open
    (tmp_path / "vows.db").write_bytes(b"not a database, though long enough to be taken for one" * 20)
    with pytest.raises(StoreError):
        read_event_log(tmp_path)
