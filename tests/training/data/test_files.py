"""Parquet and NDJSON: there and back, and errors that name file and row."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets import small_world
from training.data.events import ACTIONS, Events
from training.data.files import DataError, read_files, write_parquet


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOWS_CACHE_DIR", str(tmp_path / "cache"))


def ndjson(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(**changes: object) -> dict[str, object]:
    return {"user_id": "ada", "content_id": "barn", "action": "view", "timestamp": "2024-05-01T10:00:00Z", **changes}


def test_a_world_survives_parquet(tmp_path: Path, bundle_path: Path) -> None:
    dataset = small_world(users=20, items=48).dataset
    write_parquet(dataset, tmp_path)
    again = read_files(tmp_path / "events.parquet", tmp_path / "items.parquet")
    assert again.catalogue.ids == dataset.catalogue.ids
    assert again.catalogue.texts == dataset.catalogue.texts
    assert np.array_equal(again.catalogue.created_us, dataset.catalogue.created_us)
    present = [user for user, n in zip(dataset.users, np.diff(dataset.starts), strict=True) if n]
    assert again.users == present  # a file of events knows no others
    for column in ("item", "action", "time_us", "duration_ms", "device", "days_to_event"):
        assert np.array_equal(getattr(again.events, column), getattr(dataset.events, column), equal_nan=True), column
    assert changes(again.events).tolist() == changes(dataset.events).tolist()
    assert np.linalg.norm(again.catalogue.vectors, axis=1) == pytest.approx(np.ones(48), abs=1e-3)


def changes(events: Events) -> np.ndarray:
    """Where a session ends: its number means nothing else."""
    return np.flatnonzero(np.diff(events.session))


def test_ndjson_with_what_may_be_missing(tmp_path: Path) -> None:
    file = ndjson(
        tmp_path / "log.ndjson",
        row(action="share", timestamp="2024-05-01T12:00:00+02:00"),
        row(action="save", timestamp=1_714_557_600_000_000),  # the same instant, later in the file
        row(user_id="bob", content_id="tent", device="iPhone", duration_ms=1500, days_to_event=120),
        row(action="skip", timestamp="2024-05-01T11:00:00Z"),
    )
    dataset = read_files(file)
    events = dataset.events
    assert [ACTIONS[code] for code in events.action] == ["share", "save", "skip", "view"]
    assert events.session.tolist() == [0, 0, 1, 2]  # an hour later, and another user
    assert events.duration_ms[3] == 1500
    assert np.isnan(events.duration_ms[:3]).all()
    assert events.device.tolist() == [0, 0, 0, 1]
    assert events.days_to_event[3] == 120
    assert dataset.catalogue.ids == ["barn", "tent"]
    assert not dataset.catalogue.vectors.any()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row(action="buy")], "row 1: action is 'buy'"),
        ([row(timestamp="2024-05-01T10:00:00")], "row 0: timestamp is '2024-05-01T10:00:00'"),
        ([{"user_id": "ada"}], "content_id is missing"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_files(ndjson(tmp_path / "log.ndjson", *rows))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_files(tmp_path / "nothing.parquet")
    (tmp_path / "log.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"ends in '\.csv'"):
        read_files(tmp_path / "log.csv")
    (tmp_path / "log.ndjson").write_text("{}\nnonsense\n")
    with pytest.raises(DataError, match="line 2 is not a JSON object"):
        read_files(tmp_path / "log.ndjson")


EXPORT = """\
{"kind":"interaction","sequence":1,"event_id":"a","user_id":"ann","content_id":"barn","type":"view",\
"timestamp":"2026-01-01T00:00:00Z","received_at":"2026-01-01T00:00:00Z"}
{"kind":"interaction","sequence":2,"event_id":"b","user_id":"ann","content_id":"tent","type":"purchase",\
"timestamp":"2026-01-01T00:02:00Z","received_at":"2026-01-01T00:02:00Z","ranking_id":"r-1","action":"share"}
{"kind":"exposure","sequence":1,"ranking_id":"r-1","user_id":"ann","experiment":"feed","period":2,"arm":"control",\
"model_version":"simple-v1","timestamp":"2026-01-01T00:01:00Z","items":[{"id":"tent","position":1,"propensity":0.25},\
{"id":"hall","position":2,"propensity":0.5}],"not_shown":["barn"]}
{"kind":"exposure","sequence":2,"ranking_id":"r-2","user_id":"bob","experiment":"feed","period":2,"arm":"control",\
"model_version":"simple-v1","timestamp":"2026-01-01T00:03:00Z","items":[{"id":"loft","position":1,"propensity":1.0}]}
"""


def test_the_lines_of_an_export_are_events_and_exposures(tmp_path):
    (tmp_path / "log.ndjson").write_text(EXPORT)
    found = read_files(tmp_path / "log.ndjson")
    assert (found.users, found.catalogue.ids) == (["ann", "bob"], ["barn", "tent", "hall", "loft"])
    assert found.events.action.tolist() == [1, 3]  # of a type of the site's own, the action that it is for models
    assert found.events.exposure.tolist() == [-1, 0]
    shown = found.exposures
    assert shown.groups == ["feed, period 2, control"]
    assert (shown.user.tolist(), shown.starts.tolist(), shown.shown.tolist()) == ([0, 1], [0, 3, 4], [2, 1])
    assert shown.item.tolist() == [1, 2, 0, 3]
    np.testing.assert_array_equal(shown.propensity, [0.25, 0.5, np.nan, 1.0])


def test_an_exposure_that_is_not_whole_names_its_line(tmp_path):
    (tmp_path / "log.ndjson").write_text(EXPORT.replace('"propensity":0.5', '"propensity":null'))
    with pytest.raises(DataError, match=r"row 2 is no exposure"):
        read_files(tmp_path / "log.ndjson")
