"""Ranking features as the server had them: a log replayed up to each query, through the server's own functions."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization import popularity, user_vector
from runtime.personalization.actions import DECAY_PER_DAY, STRENGTHS, TYPES
from runtime.personalization.neighbours import Neighbours, neighbour_sums
from runtime.personalization.ranking import cosine_scores
from runtime.personalization.ranking_features import HISTORY_EVENTS, Features, History, features
from training.data.events import SKIP, Dataset, Events, Histories

_STRENGTH = np.array([STRENGTHS[name] for name in TYPES])


class Query(NamedTuple):
    """Query `position` of a batch: its user's `history` and everybody's `counts` float64 [items, half-lives] as of
    `now_us`; the counts change with the next query. vector, last: float32 [384], None without."""

    position: int
    now_us: int
    history: History
    vector: NDArray[np.float32] | None
    last: NDArray[np.float32] | None
    counts: popularity.Counts

    def features(
        self,
        rows: NDArray[np.integer],
        vectors: NDArray[np.float32],
        table: Neighbours | None,
        table_rows: NDArray[np.int32] | None = None,
        sequence: NDArray[np.float32] | None = None,
    ) -> Features:
        """Of the catalogue's `rows` [n]; vectors: of the whole catalogue, float32 [items, 384]. table_rows: int32
        [items], each item's row of a table that was made of another catalogue, −1 for none. sequence: cosines of the
        rows by the sequence model, float32 [n]."""
        some = vectors if len(rows) == len(vectors) else vectors[rows]
        engaged = self.history.engaged
        own = engaged if table_rows is None else table_rows[engaged]
        others = rows if table_rows is None else table_rows[rows]
        return features(
            now_us=self.now_us,
            rows=rows,
            counts=self.counts if len(rows) == len(vectors) else self.counts[rows],
            history=self.history,
            simple=None if self.vector is None else cosine_scores(self.vector, some),
            last=None if self.last is None else cosine_scores(self.last, some),
            near=None if table is None else neighbour_sums(table, own, others),
            sequence=sequence,
        )


class Replay:
    """Of one log over the items of a data set."""

    def __init__(self, dataset: Dataset, log: Events) -> None:
        engaged = np.flatnonzero(log.action != SKIP)
        order = engaged[np.argsort(log.time_us[engaged], kind="stable")]
        self.log = log
        self._times, self._items = log.time_us[order], log.item[order]
        self._vectors = dataset.catalogue.vectors
        self._described: NDArray[np.bool_] = np.asarray(self._vectors.any(axis=1))
        self._preferences = dataset.preference_embedding

    def queries(self, histories: Histories, now_us: NDArray[np.int64]) -> Iterator[Query]:
        """One a history, in the order of time."""
        counts = popularity.no_counts(len(self._vectors))
        done = 0
        for position in np.argsort(now_us, kind="stable").tolist():
            now = int(now_us[position])
            until = int(np.searchsorted(self._times, now))  # strictly before the query
            popularity.add_all(counts, self._items[done:until], self._times[done:until])
            done = max(done, until)
            own = histories.events.take(slice(int(histories.starts[position]), int(histories.ends[position])))
            recent = History(own.item[-HISTORY_EVENTS:].astype(np.int64), own.action[-HISTORY_EVENTS:])
            engaged = recent.engaged
            last = self._vectors[engaged[0]] if len(engaged) and self._described[engaged[0]] else None
            vector = self._user_vector(own, int(histories.users[position]))
            yield Query(position, now, recent, vector, last, counts)

    def _user_vector(self, own: Events, user: int) -> NDArray[np.float32] | None:
        described = self._described[own.item]
        items, rows = np.unique(own.item[described], return_inverse=True)
        sums = user_vector.from_log(
            _STRENGTH[own.action[described]],
            own.time_us[described],
            rows,
            [self._vectors[items]],
            decay_per_day=DECAY_PER_DAY,
        )
        if (vector := user_vector.unit_vector(sums)) is not None:
            return vector
        preferred = None if self._preferences is None else self._preferences[user]
        return preferred if preferred is not None and preferred.any() else None
