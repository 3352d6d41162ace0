"""A trained ranker as a bundle that the server takes over: weights as JSON, neighbours as arrays to map."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from runtime.models import bundle
from runtime.models.ranker import RankerFile, RankerLog, load_ranker
from runtime.personalization.item_identity import id_hash
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.personalization.ranking_features import HISTORY_EVENTS, NAMES
from training.data.events import Dataset
from training.errors import TrainingError

KIND = "ranker"


def write_bundle(
    folder: Path, name: str, data: Dataset, weights: dict[str, float], table: Neighbours, quality: dict[str, Any]
) -> None:
    """Write the bundle and load it the way the server does. `name`: its public model_version.

    Raises TrainingError where the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"{folder} is not empty: name a new folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    file = RankerFile(
        weights={name: round(weight, 6) for name, weight in weights.items()},
        half_lives_hours=HALF_LIVES_HOURS,
        history_events=HISTORY_EVENTS,
        log=_log(data),
    )
    (folder / bundle.RANKER).write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    for array_name, array in zip(bundle.NEIGHBOURS, _by_hash(data.catalogue.ids, table), strict=True):
        np.save(folder / array_name, array)
    names = (bundle.RANKER, *bundle.NEIGHBOURS)
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


def _by_hash(ids: list[str], table: Neighbours) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The table with its rows in the order of their items' hashes: hashes, starts, rows, values."""
    hashes = np.array([id_hash(id) for id in ids], np.uint64)
    order = np.argsort(hashes)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    lengths = np.diff(table.starts)[order]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    entries = np.repeat(table.starts[:-1][order] - starts[:-1], lengths) + np.arange(starts[-1])
    return hashes[order], starts, place[table.rows[entries]], table.values[entries]


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
