"""A trained ranker as a bundle that the server takes over: weights as JSON, neighbours as arrays to map."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from runtime.models import bundle
from runtime.models.ranker import NextActionFile, RankerFile, RankerLog, RegressionFile, SequenceFile, load_ranker
from runtime.personalization.item_identity import id_hash
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.next_action import ALONE_NAMES, STACKED_NAMES, Regression
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.personalization.ranking_features import HISTORY_EVENTS, NAMES
from training.data.events import Dataset
from training.errors import TrainingError
from training.ranker.actions import ActionModel

KIND = "ranker"


def write_bundle(
    folder: Path,
    name: str,
    data: Dataset,
    weights: dict[str, float],
    table: Neighbours,
    actions: ActionModel,
    quality: dict[str, Any],
    sequence: SequenceFile | None = None,
) -> None:
    """Write the bundle and load it the way the server does. `name`: its public model_version. `actions`: fitted.
    sequence: the sequence model that it was fitted beside, with the second set of weights where there is one.

    Raises TrainingError where the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"{folder} is not empty: name a new folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    file = RankerFile(
        weights=_rounded(weights) or {},
        half_lives_hours=HALF_LIVES_HOURS,
        history_events=HISTORY_EVENTS,
        log=_log(data),
        next_action=_next_action(actions, data),
        sequence=None if sequence is None else msgspec.structs.replace(sequence, weights=_rounded(sequence.weights)),
    )
    (folder / bundle.RANKER).write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    order, *arrays = _by_hash(data.catalogue.ids, table)
    names = (bundle.RANKER, *bundle.NEIGHBOURS, *bundle.ACTIONS)
    for array_name, array in zip(names[1:], (*arrays, actions.table.values[order], actions.table.basis), strict=True):
        np.save(folder / array_name, array)
    manifest = bundle.Manifest(
        format=bundle.FORMAT,
        kind="ranker",
        model_version=name,
        dimensions=len(NAMES),
        max_tokens=0,
        files={one: _entry(folder / one) for one in names},
        encodings={},
        source=bundle.Source(id=data.name, license=data.licence, files={}),
        onnxruntime="",
        opset=0,
        recipe={"features": list(NAMES)},
        quality=quality,
    )
    (folder / bundle.MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    load_ranker(bundle.Bundle.load(folder, kind=KIND))


def _rounded(weights: dict[str, float] | None) -> dict[str, float] | None:
    return None if weights is None else {name: round(weight, 6) for name, weight in weights.items()}


def _next_action(actions: ActionModel, data: Dataset) -> NextActionFile:
    model, table = actions.model, actions.table
    assert model is not None
    return NextActionFile(
        alone=_regression(model.alone, ALONE_NAMES),
        stacked=None if model.stacked is None else _regression(model.stacked, STACKED_NAMES),
        sequence=model.sequence,
        shares=[float(share) for share in table.shares],
        mean=table.mean,
        days_to_event_key=data.days_to_event_key,
    )


def _regression(found: Regression, names: tuple[str, ...]) -> RegressionFile:
    weights = {name: [round(one, 6) for one in row] for name, row in zip(names, found.weights.T.tolist(), strict=True)}
    return RegressionFile(
        intercept=[round(one, 6) for one in found.intercept.tolist()],
        weights={name: row for name, row in weights.items() if any(row)},
    )


def _by_hash(ids: list[str], table: Neighbours) -> tuple[np.ndarray, ...]:
    """The order of the items' hashes, and the table with its rows in that order: hashes, starts, rows, values."""
    hashes = np.array([id_hash(id) for id in ids], np.uint64)
    order = np.argsort(hashes)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    lengths = np.diff(table.starts)[order]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    entries = np.repeat(table.starts[:-1][order] - starts[:-1], lengths) + np.arange(starts[-1])
    return order, hashes[order], starts, place[table.rows[entries]], table.values[entries]


def _log(data: Dataset) -> RankerLog:
    times = data.events.time_us
    first, last = (f"{np.datetime64(int(time), 's')}Z" for time in (times.min() // 10**6, times.max() // 10**6))
    return RankerLog(
        name=data.name,
        events=len(data.events),
        users=len(data.users),
        items=len(data.catalogue),
        first=first,
        last=last,
    )


def _entry(file: Path) -> bundle.FileEntry:
    raw = file.read_bytes()
    return bundle.FileEntry(hashlib.sha256(raw).hexdigest(), len(raw))
