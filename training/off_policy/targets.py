"""Rankings that can be judged from a log of another one: each scores what was shown as the server would have then."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import MANIFEST, Bundle
from runtime.models.installed import DEFAULT, SEQUENCE
from runtime.models.ranker import LoadedRanker, load_ranker
from runtime.personalization import popularity
from runtime.personalization.cold_start import POPULAR_ITEMS, popular_vector
from runtime.personalization.hybrid import Ranker, prior
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.ranking import cosine_scores
from training.checkpoint import Checkpoint
from training.data.events import Dataset
from training.data.exposures import Exposures
from training.errors import TrainingError
from training.evaluation.protocol import Recommender
from training.evaluation.sequence import GivenCheckpoint
from training.evaluation.sequence_bundle import GivenBundle
from training.ranker.impressions import histories_before
from training.ranker.replay import Query, Replay
from training.ranker.sequence_scores import SequenceCosines, has_enough

SIMPLE, HYBRID = "simple", "hybrid"

_HALF_LIFE = popularity.HALF_LIVES_HOURS.index(720.0)  # of what is popular: the server's default
_AT_ONCE = 64  # exposures of which all items are scored

Scores = NDArray[np.float32]


class Target(Protocol):
    """A ranking to judge."""

    name: str

    def scores(self, dataset: Dataset, exposures: Exposures, rows: NDArray[np.int64]) -> list[Scores]:
        """Of the entries of each of the exposures `rows`, from what was known before it: higher is better."""


class ByFeatures:
    """What is linear in the ranking features: simple, and the hybrid ranker with or without a table of neighbours."""

    def __init__(self, name: str, ranker: Ranker, table: Neighbours | None = None) -> None:
        self.name = name
        self._ranker = ranker
        self._table = table

    def table_rows(self, dataset: Dataset) -> NDArray[np.int32] | None:
        """Each item's row of the table; None where they are the catalogue's."""
        return None

    def scores(self, dataset: Dataset, exposures: Exposures, rows: NDArray[np.int64]) -> list[Scores]:
        vectors, table_rows = dataset.catalogue.vectors, self.table_rows(dataset)
        found: list[Scores] = [np.zeros(0, np.float32)] * len(rows)
        queries = Replay(dataset, dataset.events).queries(
            histories_before(dataset.events, exposures, rows), exposures.time_us[rows]
        )
        for query in queries:
            items = exposures.item[exposures.entries(int(rows[query.position]))]
            found[query.position] = self._scored(query, items, vectors, table_rows)
        return found

    def _scored(
        self,
        query: Query,
        items: NDArray[np.int32],
        vectors: NDArray[np.float32],
        table_rows: NDArray[np.int32] | None,
    ) -> Scores:
        ranker = self._ranker.for_events(len(query.history.rows))
        return ranker.scores(query.features(items, vectors, self._table, table_rows))


class Simple(ByFeatures):
    """The simple model: for a user without a history, the cosine with the average of what is popular."""

    def __init__(self) -> None:
        super().__init__(SIMPLE, Ranker.of(SIMPLE, {"simple": 1.0}))

    def _scored(
        self,
        query: Query,
        items: NDArray[np.int32],
        vectors: NDArray[np.float32],
        table_rows: NDArray[np.int32] | None,
    ) -> Scores:
        vector = query.vector if query.vector is not None else _popular(query, vectors)
        return np.zeros(len(items), np.float32) if vector is None else cosine_scores(vector, vectors[items])


class TrainedRanker(ByFeatures):
    """A ranker bundle. With its second set of weights where the sequence model that they were fitted beside is the one
    that is installed in `models`, and for users with enough events for it: as it is served."""

    def __init__(self, folder: Path, models: Path) -> None:
        loaded = load_ranker(Bundle.load(folder, kind="ranker"))
        super().__init__(loaded.ranker.version, loaded.ranker, loaded.table)
        self._loaded = loaded
        self._sequence = _installed_beside(loaded, models)
        if self._sequence is not None:
            assert loaded.sequence is not None
            assert loaded.sequence.ranker is not None
            self.name = f"{loaded.ranker.version}+{self._sequence.name}"
            self._second = loaded.sequence.ranker

    def table_rows(self, dataset: Dataset) -> NDArray[np.int32] | None:
        return self._loaded.rows(dataset.catalogue.ids)

    def scores(self, dataset: Dataset, exposures: Exposures, rows: NDArray[np.int64]) -> list[Scores]:
        if self._sequence is not None:
            self._sequence.learn(dataset)
            histories = histories_before(dataset.events, exposures, rows)
            last = dataset.events.device[(histories.ends - 1).clip(min=0)]
            device = np.where(histories.ends > histories.starts, last, 0).astype(np.int8)
            self._cosines = SequenceCosines(self._sequence, histories, exposures.time_us[rows], device)
            self._enough = has_enough(self._sequence, histories)
        return super().scores(dataset, exposures, rows)

    def _scored(
        self,
        query: Query,
        items: NDArray[np.int32],
        vectors: NDArray[np.float32],
        table_rows: NDArray[np.int32] | None,
    ) -> Scores:
        if self._sequence is None or not self._enough[query.position]:
            return super()._scored(query, items, vectors, table_rows)
        by_sequence = self._cosines.of(query.position)[items]
        second = self._second.for_events(len(query.history.rows))
        return second.scores(query.features(items, vectors, self._table, table_rows, by_sequence))


class ByRecommender:
    """A recommender of the evaluation, such as a checkpoint of the sequence model."""

    def __init__(self, name: str, recommender: Recommender) -> None:
        self.name = name
        self._recommender = recommender

    def scores(self, dataset: Dataset, exposures: Exposures, rows: NDArray[np.int64]) -> list[Scores]:
        self._recommender.fit(dataset, dataset)
        found: list[Scores] = []
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            given = histories_before(dataset.events, exposures, some)
            device = np.zeros(len(some), np.int8)
            scored = self._recommender.item_scores(given, exposures.time_us[some], device)
            found += [
                one[exposures.item[exposures.entries(row)]] for one, row in zip(scored, some.tolist(), strict=True)
            ]
        return found


def target(name: str, models: Path = DEFAULT) -> Target:
    """simple, hybrid (as it serves untrained), or the folder of a ranker bundle or a checkpoint. models: where the
    sequence model is installed. Raises TrainingError, or BundleError for a bundle of another kind."""
    if name == SIMPLE:
        return Simple()
    if name == HYBRID:
        return ByFeatures(HYBRID, prior())
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        return TrainedRanker(folder, models)
    if folder.is_dir():
        return ByRecommender(folder.name, GivenCheckpoint(Checkpoint.load(folder), name=folder.name))
    raise TrainingError(
        f"no ranking is called {name!r}: give {SIMPLE}, {HYBRID}, or the folder of a ranker bundle or a checkpoint"
    )


def _installed_beside(loaded: LoadedRanker, models: Path) -> GivenBundle | None:
    """The sequence model that is installed, if the ranker's second set of weights was fitted beside it."""
    if loaded.sequence is None or loaded.sequence.ranker is None or not (models / SEQUENCE / MANIFEST).exists():
        return None
    found = GivenBundle(models / SEQUENCE)
    return found if loaded.sequence.is_it(found.model) else None


def _popular(query: Query, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
    counts = query.counts[:, _HALF_LIFE]
    met = np.flatnonzero(counts > -np.inf)
    best = met[np.argsort(-counts[met], kind="stable")[:POPULAR_ITEMS]]
    return popular_vector(vectors[best] if len(best) else vectors.mean(axis=0, keepdims=True))
