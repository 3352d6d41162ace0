"""A `ranker` bundle: the weights of the hybrid ranker, the log they were fitted to, and where there is one its table of
neighbours, mapped."""

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import NEIGHBOURS, RANKER, Bundle, BundleError
from runtime.personalization import ranking_features
from runtime.personalization.hybrid import Ranker
from runtime.personalization.item_identity import id_hash
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.popularity import HALF_LIVES_HOURS


class RankerLog(msgspec.Struct, frozen=True, kw_only=True):
    """The log that a ranker was fitted to; `first` and `last` are RFC 3339."""

    name: str
    events: int
    users: int
    items: int
    first: str
    last: str


class RankerFile(msgspec.Struct, frozen=True, kw_only=True):
    """`ranker.json`. half_lives_hours and history_events: what the features were computed with."""

    weights: dict[str, float]
    half_lives_hours: tuple[float, ...]
    history_events: int
    log: RankerLog


@dataclass(frozen=True, eq=False)
class LoadedRanker:
    """`table` and `hashes`: the neighbours, and the hash of each row's item, ascending; None without a table. `log`:
    None for the prior."""

    ranker: Ranker
    log: RankerLog | None = None
    table: Neighbours | None = None
    hashes: NDArray[np.uint64] | None = None

    def rows(self, ids: list[str]) -> NDArray[np.int32]:
        """Rows of the table, [k]; −1 for an item that it lacks."""
        if self.hashes is None or not len(self.hashes):
            return np.full(len(ids), -1, np.int32)
        wanted = np.array([id_hash(id) for id in ids], np.uint64)
        at = np.searchsorted(self.hashes, wanted).clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[at] == wanted, at, -1).astype(np.int32)


def load_ranker(bundle: Bundle) -> LoadedRanker:
    """Raises BundleError when the features are not those of this version, or the table is not whole."""
    path = bundle.path
    try:
        file = msgspec.json.decode((path / RANKER).read_bytes(), type=RankerFile)
        ranker = Ranker.of(bundle.manifest.model_version, file.weights)
    except ValueError as error:  # msgspec's errors are among them
        raise BundleError(f"{path / RANKER}: {error}; train the ranker again with this version") from error
    computed_with = (file.half_lives_hours, file.history_events)
    if computed_with != (HALF_LIVES_HOURS, ranking_features.HISTORY_EVENTS):
        raise BundleError(
            f"{path / RANKER} was fitted to features of half-lives and events {computed_with}, this version computes "
            f"{(HALF_LIVES_HOURS, ranking_features.HISTORY_EVENTS)}; train the ranker again"
        )
    if not all(name in bundle.manifest.files for name in NEIGHBOURS):
        return LoadedRanker(ranker, file.log)
    hashes, starts, rows, values = (np.load(path / name, mmap_mode="r") for name in NEIGHBOURS)
    if len(starts) != len(hashes) + 1 or starts[-1] != len(rows) or values.shape != (len(rows), 3):
        raise BundleError(
            f"bundle {path}: the neighbour table has {len(hashes)} items, {len(starts)} starts, {len(rows)} rows and "
            f"values of shape {values.shape}, which do not fit together; train the ranker again"
        )
    return LoadedRanker(ranker, file.log, Neighbours(starts, rows, values), hashes)
