"""The hybrid ranker: scores of candidates or of the whole catalogue for a user."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.catalog.vector_matrix import MOST_RESCORED
from runtime.models.scheduler import QueueFull
from runtime.models.worker_pool import DeadlineExceeded
from runtime.personalization import popularity
from runtime.personalization.hybrid import Ranker
from runtime.personalization.neighbours import LAST_EVENTS, neighbour_sums
from runtime.personalization.ranking import cosine_scores
from runtime.personalization.ranking_features import NAMES, SEQUENCE_COLUMN, Features, History, features
from runtime.serving.candidates import Candidates
from runtime.serving.hybrid_user import HybridUser
from runtime.serving.ranker import RankerServing
from runtime.serving.resources import Resources
from runtime.serving.sequence_items import compute

Vector = NDArray[np.float32]

_COSINES = [NAMES.index("simple"), NAMES.index("last")]
_ROUNDING = 1e-4  # of a sum of weighted features in float32, many times over
_ITEM_VECTOR_ROWS = 1_024  # of the sequence model, scored at a time: half a MiB
_MOST_COMPUTED = 256  # item vectors, by one search in the event loop's thread: two milliseconds


class ItemVectorsLacking(Exception):
    """The sequence model was switched while a search read its item vectors, or more content came than it may compute
    vectors of itself: the first set of weights can rank."""


class Cosines(NamedTuple):
    """Of rows with the user's vector, with the item engaged with last and by the sequence model, float32 [n] each; None
    where there is no such vector."""

    simple: Vector | None
    last: Vector | None
    sequence: Vector | None

    def take(self, places: NDArray[np.intp]) -> "Cosines":
        """Of some of the rows."""
        return Cosines(*(None if one is None else one[places] for one in self))


class HybridFeatures(NamedTuple):
    """`features` [k, ·] are those that `ranker` reads: the user's, or the first set where the sequence model could not
    score the candidates. vectors: their content vectors, float32 [k, 384], where they were wanted."""

    features: Features
    ranker: Ranker
    vectors: Vector | None


async def hybrid_features(
    resources: Resources, user: HybridUser, found: Candidates, *, with_vectors: bool = True
) -> HybridFeatures:
    """Features of the known candidates for a user."""
    catalog = resources.catalog
    # Rows hold until something is awaited, so everything that goes by rows comes first
    rows = found.rows
    counts = _counts(catalog, user, rows, found.ids)
    history = user.history(catalog)
    near = _near(resources.ranker, history, rows)
    vectors = [vector for vector in (user.vector, user.last) if vector is not None]
    metadata = await found.metadata(catalog) if with_vectors else None
    if metadata is None:
        cosines = iter(await found.cosines(catalog, vectors))
    else:
        cosines = (cosine_scores(vector, metadata) for vector in vectors)
    sequence, ranker = None, user.ranker
    if (by := user.sequence) is not None:
        try:
            sequence = await resources.sequence.scores(by.served, by.vector, found)
        except (QueueFull, DeadlineExceeded):
            ranker = user.by_first_set(resources.ranker.served.ranker).ranker
    made = features(
        now_us=user.now_us, rows=rows, counts=counts, history=history, near=near, sequence=sequence,
        simple=None if user.vector is None else next(cosines), last=None if user.last is None else next(cosines),
    )  # fmt: skip
    return HybridFeatures(made, ranker, metadata)


class HybridScorer:
    """The whole catalogue for one user; see `catalog_search.Scorer`. Scores are no cosines."""

    def __init__(self, resources: Resources, user: HybridUser) -> None:
        self._catalog = resources.catalog
        self._serving = resources.ranker
        self._ranker = user.ranker
        self._user = user
        self._computed = 0  # item vectors

    @property
    def has_neighbours(self) -> bool:
        """Whether a table of neighbours is served, which can speak for any item."""
        return self._serving.served.table is not None

    @property
    def cosine_weights(self) -> Vector:
        """Of the cosine with the user's vector, of that with the item engaged with last and, where it is a feature, of
        that by the sequence model: [2] or [3]."""
        with_sequence = [] if self._user.sequence is None else [SEQUENCE_COLUMN]
        weights: Vector = self._ranker.weights[[*_COSINES, *with_sequence]]
        return weights

    def by_sequence(self, rows: NDArray[np.intp], vectors: Vector | None = None) -> Vector | None:
        """Cosines by the sequence model of these rows, float32 [n], 0 for one that holds no item; None where it is no
        feature. vectors: the content vectors of the rows, [n, 384]; of the few that have to be computed they are read
        otherwise. Raises ItemVectorsLacking where they are not few."""
        if (user := self._user.sequence) is None:
            return None
        found = np.zeros(len(rows), np.float32)
        for start in range(0, len(rows), _ITEM_VECTOR_ROWS):
            some = rows[start : start + _ITEM_VECTOR_ROWS]
            items, missing = user.served.items.read(some, self._catalog.versions(some))
            cosines = cosine_scores(user.vector, items)
            cosines[missing] = 0
            lacking = np.flatnonzero(missing & self._catalog.has(some))
            if len(lacking):
                self._computed += len(lacking)
                if self._computed > _MOST_COMPUTED:
                    raise ItemVectorsLacking
                content = self._catalog.read(some[lacking]) if vectors is None else vectors[start + lacking]
                ids = self._catalog.ids(some[lacking])
                cosines[lacking] = cosine_scores(user.vector, compute(user.served.model, ids, content))
            found[start : start + len(some)] = cosines
        return found

    def scan(self) -> "_HybridScan":
        """See `catalog_search.Scorer`."""
        return _HybridScan(self, self._catalog, self._user, float(self._ranker.largest_weights[_COSINES].sum()))

    def exact(self, rows: NDArray[np.intp], vectors: Vector) -> Vector:
        """See `catalog_search.Scorer`."""
        simple, last = (
            None if vector is None else cosine_scores(vector, vectors)
            for vector in (self._user.vector, self._user.last)
        )
        ids = self._catalog.ids(rows) if self._user.counts is not None else []
        cosines = Cosines(simple, last, self.by_sequence(rows, vectors))
        return self.scores(rows, _counts(self._catalog, self._user, rows, ids), cosines)

    def scores(self, rows: NDArray[np.integer], counts: popularity.Counts, cosines: Cosines) -> Vector:
        """The ranker's score of each row, float32 [n]."""
        history = self._user.history(self._catalog)
        made = features(
            now_us=self._user.now_us, rows=rows, counts=counts,
            history=history, near=_near(self._serving, history, rows), **cosines._asdict(),
        )  # fmt: skip
        return self._ranker.scores(made)


class _HybridScan:
    """See `vector_matrix.Scan` and `Estimates`. weight: of the two cosines together, so that their errors bound the
    score's.

    `known` [rows]: whether somebody met an item, or it is in the history. The score of any other is that of an unmet
    item plus its cosines' share: a fifth of the work where most items are unmet; off by rounding, which the errors have
    room for. None where there are no cosines, or something else speaks for items: then all features are computed.
    """

    def __init__(self, scorer: HybridScorer, catalog: Catalog, user: HybridUser, weight: float) -> None:
        self._scorer = scorer
        self._catalog, self._user = catalog, user
        self._scans = [None if vector is None else catalog.scan(vector) for vector in (user.vector, user.last)]
        self._weight = np.float32(weight)
        nothing = Cosines(None, None, None if user.sequence is None else np.zeros(1, np.float32))
        self._unmet = scorer.scores(np.array([-1]), popularity.no_counts(1), nothing)[0]
        self._estimates = [None if scan is None else scan.estimates for scan in self._scans]
        estimates = [one for one in self._estimates if one is not None]
        self.most_rescored = max([MOST_RESCORED, *(scan.most_rescored for scan in self._scans if scan)])
        self.most_exact = max((one.most_exact for one in estimates), default=0)
        self.estimates = self if estimates else None
        self._known: NDArray[np.bool_] | None = None
        if any(self._scans) and user.counts is None and not scorer.has_neighbours:
            self._known = catalog.counts.met(catalog.rows)
            history = user.history(catalog).rows
            self._known[history[history >= 0]] = True

    def scores(self, start: int, stop: int) -> Vector:
        """See `vector_matrix.Scan`."""
        simple, last = (None if scan is None else scan.scores(start, stop) for scan in self._scans)
        rows = np.arange(start, stop)
        cosines = Cosines(simple, last, self._scorer.by_sequence(rows))
        if self._known is None and self._user.counts is None:
            return self._scorer.scores(rows, self._catalog.counts.between(start, stop), cosines)
        return self._scores(rows, cosines)

    def scores_of(self, rows: NDArray[np.intp]) -> Vector:
        """See `vector_matrix.Estimates`."""
        simple, last = (None if one is None else one.scores_of(rows) for one in self._estimates)
        return self._scores(rows, Cosines(simple, last, self._scorer.by_sequence(rows)))

    def at_most(self, start: int, stop: int) -> Vector | None:
        """See `vector_matrix.Estimates`."""
        if self._known is None or self._user.sequence is not None or self._scorer.cosine_weights.min() < 0:
            return None
        simple, last = (None if one is None else one.at_most(start, stop) for one in self._estimates)
        scores = self._as_unmet(Cosines(simple, last, None), stop - start)
        scores[self._known[start:stop]] = np.inf
        return scores

    def possible(self, rows: NDArray[np.intp] | slice, least: np.float32) -> NDArray[np.bool_] | None:
        """See `vector_matrix.Estimates`."""
        at_most = self.at_most(rows.start, rows.stop) if isinstance(rows, slice) else None
        return None if at_most is None else at_most > least

    def closer(self, rows: NDArray[np.intp], finer: NDArray[np.uint8]) -> tuple[Vector, Vector]:
        """See `vector_matrix.Estimates`."""
        found = [None if one is None else one.closer(rows, finer) for one in self._estimates]
        simple, last = (None if one is None else one[0] for one in found)
        scores = self._scores(rows, Cosines(simple, last, self._scorer.by_sequence(rows)))
        return scores, self._error([one[1] for one in found if one is not None])

    def errors(self, rows: NDArray[np.intp]) -> Vector | None:
        """See `vector_matrix.Scan`."""
        found = [scan.errors(rows) for scan in self._scans if scan is not None]
        errors = [one for one in found if one is not None]
        if not errors:  # exact cosines, then
            return None if self._known is None else np.full(len(rows), _ROUNDING, np.float32)
        return self._error(errors)

    def _scores(self, rows: NDArray[np.intp], cosines: Cosines) -> Vector:
        if self._known is None:
            ids = self._catalog.ids_or_none(rows) if self._user.counts is not None else []
            return self._scorer.scores(rows, _counts(self._catalog, self._user, rows, ids), cosines)
        scores = self._as_unmet(cosines, len(rows))
        known = np.flatnonzero(self._known[rows])
        if len(known):
            some = rows[known]
            scores[known] = self._scorer.scores(some, self._catalog.counts.of(some), cosines.take(known))
        return scores

    def _as_unmet(self, cosines: Cosines, rows: int) -> Vector:
        scores = np.full(rows, self._unmet, np.float32)
        # Without the sequence model there is no weight for its cosine
        for one, weight in zip(cosines, self._scorer.cosine_weights, strict=False):
            if one is not None:
                scores += weight * one
        return scores

    def _error(self, cosines: Sequence[Vector]) -> Vector:
        largest: Vector = np.max(cosines, axis=0)
        return largest * self._weight + np.float32(_ROUNDING)


def _near(serving: RankerServing, history: History, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
    table = serving.served.table
    if table is None:
        return None
    return neighbour_sums(table, serving.table_rows(history.engaged[:LAST_EVENTS]), serving.table_rows(rows))


def _counts(
    catalog: Catalog, user: HybridUser, rows: NDArray[np.integer], ids: Sequence[str | None]
) -> popularity.Counts:
    """Of candidates; of one that brought its own vector none."""
    if user.counts is None:
        return catalog.counts.of(rows)
    found = popularity.no_counts(len(rows))
    for place, id in enumerate(ids):
        if id is not None and rows[place] >= 0 and id in user.counts:
            found[place] = user.counts[id]
    return found
