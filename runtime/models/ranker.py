"""A `ranker` bundle: the weights of the hybrid ranker, the log they were fitted to, and where there is one its table of
neighbours and the model of the next action, mapped."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import ACTIONS, NEIGHBOURS, RANKER, Bundle, BundleError
from runtime.models.sequence_model import SequenceModel
from runtime.personalization import ranking_features
from runtime.personalization.action_features import ItemTable
from runtime.personalization.actions import TYPES
from runtime.personalization.hybrid import Ranker
from runtime.personalization.item_identity import id_hash
from runtime.personalization.neighbours import BESIDE, Neighbours
from runtime.personalization.next_action import ALONE_NAMES, STACKED_NAMES, NextAction, Regression
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.personalization.ranking_features import NAMES_WITH_SEQUENCE


class RankerLog(msgspec.Struct, frozen=True, kw_only=True):
    """The log that a ranker was fitted to; `first` and `last` are RFC 3339."""

    name: str
    events: int
    users: int
    items: int
    first: str
    last: str


class RegressionFile(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of the four actions, in the order of TYPES, by feature."""

    intercept: list[float]
    weights: dict[str, list[float]]


class NextActionFile(msgspec.Struct, frozen=True, kw_only=True):
    """See `NextAction` and `ItemTable`. days_to_event_key: see `sequence_features.days_to_event`."""

    alone: RegressionFile
    stacked: RegressionFile | None = None
    sequence: str | None = None
    shares: list[float]
    mean: float
    days_to_event_key: str


class SequenceFile(msgspec.Struct, frozen=True, kw_only=True):
    """The sequence model that a ranker was fitted beside. run: the last of its `SequenceModel.lineage`. weights: of the
    ranking features with its score among them; None where they ranked no better than those without."""

    model_version: str
    run: str
    weights: dict[str, float] | None = None


class RankerFile(msgspec.Struct, frozen=True, kw_only=True):
    """`ranker.json`. half_lives_hours and history_events: what the features were computed with. next_action: None in
    bundles made before there was such a model. sequence: None without a sequence model, and in bundles made before it
    was recorded here."""

    weights: dict[str, float]
    half_lives_hours: tuple[float, ...]
    history_events: int
    log: RankerLog
    next_action: NextActionFile | None = None
    sequence: SequenceFile | None = None


class LoadedNextAction(NamedTuple):
    """The rows of `table` are those of the neighbours."""

    model: NextAction
    table: ItemTable
    days_to_event_key: str


class FittedBeside(NamedTuple):
    """A sequence model, see `SequenceFile`. `run`: None in bundles made before it was recorded. `ranker`: with the
    second set of weights; None without."""

    model_version: str
    run: str | None
    ranker: Ranker | None

    @property
    def named_weights(self) -> dict[str, float]:
        """Of the second set, those that are not 0."""
        return {} if self.ranker is None else self.ranker.named_weights

    def is_it(self, model: SequenceModel) -> bool:
        """Whether `model` comes from the training run that this ranker was fitted beside, or was fine-tuned from it.
        By its name where one of the two does not say."""
        if self.run is None or not model.lineage:
            return model.model_version == self.model_version
        return self.run in model.lineage


@dataclass(frozen=True, eq=False)
class LoadedRanker:
    """`table` and `hashes`: the neighbours, and the hash of each row's item, ascending; None without a table. `log`
    and `bundle`: None for the prior. `next_action`: None where the bundle has none. `sequence`: the sequence model that
    it was fitted beside, None without one."""

    ranker: Ranker
    log: RankerLog | None = None
    table: Neighbours | None = None
    hashes: NDArray[np.uint64] | None = None
    next_action: LoadedNextAction | None = None
    sequence: FittedBeside | None = None
    bundle: Bundle | None = None

    def stacks_on(self, model: SequenceModel) -> bool:
        """Whether the model of the next action has weights for what this sequence model expects."""
        stacked = self.next_action is not None and self.next_action.model.stacked is not None
        return stacked and self.sequence is not None and self.sequence.is_it(model)

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
        sequence = _sequence(file)
    except ValueError as error:  # msgspec's errors are among them
        raise BundleError(f"{path / RANKER}: {error}; train the ranker again with this version") from error
    computed_with = (file.half_lives_hours, file.history_events)
    if computed_with != (HALF_LIVES_HOURS, ranking_features.HISTORY_EVENTS):
        raise BundleError(
            f"{path / RANKER} was fitted to features of half-lives and events {computed_with}, this version computes "
            f"{(HALF_LIVES_HOURS, ranking_features.HISTORY_EVENTS)}; train the ranker again"
        )
    if not all(name in bundle.manifest.files for name in NEIGHBOURS):
        return LoadedRanker(ranker, file.log, sequence=sequence, bundle=bundle)
    hashes, starts, rows, values = (np.load(path / name, mmap_mode="r") for name in NEIGHBOURS)
    if len(starts) != len(hashes) + 1 or starts[-1] != len(rows) or not _fits(values, rows):
        raise BundleError(
            f"bundle {path}: the neighbour table has {len(hashes)} items, {len(starts)} starts, {len(rows)} rows and "
            f"values of shape {values.shape}, which do not fit together; train the ranker again"
        )
    next_action = None if file.next_action is None else _next_action(bundle, file.next_action, len(hashes))
    return LoadedRanker(ranker, file.log, Neighbours(starts, rows, values), hashes, next_action, sequence, bundle)


def _fits(values: NDArray[np.float16], rows: NDArray[np.int32]) -> bool:
    """See `Neighbours`."""
    return values.ndim == 2 and len(values) == len(rows) and values.shape[1] in (BESIDE, BESIDE + 1)


def _sequence(file: RankerFile) -> FittedBeside | None:
    """Raises ValueError for a weight of no feature."""
    if (found := file.sequence) is None:
        name = None if file.next_action is None else file.next_action.sequence
        return None if name is None else FittedBeside(name, None, None)
    ranker = None if found.weights is None else Ranker.of(found.model_version, found.weights, NAMES_WITH_SEQUENCE)
    return FittedBeside(found.model_version, found.run, ranker)


def _next_action(bundle: Bundle, file: NextActionFile, items: int) -> LoadedNextAction:
    try:
        values, basis = (np.load(bundle.path / name, mmap_mode="r") for name in ACTIONS)
        model = NextAction(
            _regression(file.alone, ALONE_NAMES),
            None if file.stacked is None else _regression(file.stacked, STACKED_NAMES),
            file.sequence,
        )
        if len(values) != items or len(file.shares) != len(TYPES) or values.shape[1] < 6 + len(basis):
            raise ValueError(f"{len(values)} items of {items}, {len(file.shares)} shares, {len(basis)} text factors")
    except (OSError, ValueError) as error:
        raise BundleError(
            f"bundle {bundle.path}: the model of the next action cannot be used: {error}; train the ranker again with "
            "this version"
        ) from error
    table = ItemTable(values, np.array(file.shares, np.float32), file.mean, basis)
    return LoadedNextAction(model, table, file.days_to_event_key)


def _regression(file: RegressionFile, names: tuple[str, ...]) -> Regression:
    return Regression.of(file.weights, file.intercept, names)
