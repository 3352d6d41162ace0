"""The hybrid ranker: a user's side read once, and scores of candidates or of the whole catalogue."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.personalization import popularity, user_vector
from runtime.personalization.actions import TYPES
from runtime.personalization.neighbours import LAST_EVENTS, neighbour_sums
from runtime.personalization.ranking import cosine_scores
from runtime.personalization.ranking_features import HISTORY_EVENTS, NAMES, Features, History, features
from runtime.personalization.user_vector import Sums
from runtime.serving.candidates import Candidates
from runtime.serving.ranker import RankerServing
from runtime.serving.resources import Resources
from runtime.serving.user_vectors import preference_embedding
from runtime.store import LoggedInteraction

Vector = NDArray[np.float32]
Source = Literal["history", "preferences", "popular"]

_COSINES = [NAMES.index("simple"), NAMES.index("last")]
_ROUNDING = 1e-4  # of a sum of weighted features in float32, many times over
_LOG_PAGE = 1_000


@dataclass(frozen=True, eq=False, kw_only=True)
class HybridUser:
    """What ranking reads of a user at `now_us`.

    content_ids, action: of the newest events, oldest first. vector: the simple model's, float32 [384]; None without
    history or preferences. last: of the item engaged with last. source: what speaks for the user. sums: of the history.
    counts: everybody's, by content id, where they are not those of now.
    """

    now_us: int
    content_ids: list[str]
    action: NDArray[np.int8]
    vector: Vector | None
    last: Vector | None
    source: Source
    sums: Sums | None
    counts: Mapping[str, popularity.Counts] | None = None

    def history(self, catalog: Catalog) -> History:
        """By rows of the catalogue as it is now."""
        return History(catalog.rows_of(self.content_ids), self.action)


async def hybrid_user(resources: Resources, user_id: str, at_us: int | None = None) -> HybridUser:
    """The user now, or as of a time: then from events before it alone. Raises StoreError."""
    if at_us is not None and not _is_after_everything(resources, at_us):
        return await _from_log(resources, user_id, at_us)
    now_us = time.time_ns() // 1_000 if at_us is None else at_us
    user = await resources.store.get_user(user_id)
    if user is not None and user.stale:
        user = await resources.store.rebuild_user(user_id)
    sums = user.sums if user else None
    recent = await resources.store.recent(user_id, HISTORY_EVENTS)
    return await _user(resources, user_id, now_us, recent.content_ids, recent.action, sums)


async def hybrid_features(
    resources: Resources, user: HybridUser, found: Candidates, *, with_vectors: bool = True
) -> tuple[Features, Vector | None]:
    """Features [k, ·] of the known candidates and, `with_vectors`, their content vectors [k, 384]."""
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
    made = features(
        now_us=user.now_us, rows=rows, counts=counts, history=history, near=near,
        simple=None if user.vector is None else next(cosines), last=None if user.last is None else next(cosines),
    )  # fmt: skip
    return made, metadata


class HybridScorer:
    """The whole catalogue for one user; see `catalog_search.Scorer`. Scores are no cosines."""

    def __init__(self, resources: Resources, user: HybridUser) -> None:
        self._catalog = resources.catalog
        self._serving = resources.ranker
        self._ranker = resources.ranker.served.ranker
        self._user = user

    @property
    def has_neighbours(self) -> bool:
        """Whether a table of neighbours is served, which can speak for any item."""
        return self._serving.served.table is not None

    @property
    def cosine_weights(self) -> Vector:
        """Of the cosine with the user's vector and of that with the item engaged with last, [2]."""
        weights: Vector = self._ranker.weights[_COSINES]
        return weights

    def scan(self) -> "_HybridScan":
        """See `catalog_search.Scorer`."""
        return _HybridScan(self, self._catalog, self._user, float(np.abs(self._ranker.weights[_COSINES]).sum()))

    def exact(self, rows: NDArray[np.intp], vectors: Vector) -> Vector:
        """See `catalog_search.Scorer`."""
        cosines = [
            None if vector is None else cosine_scores(vector, vectors)
            for vector in (self._user.vector, self._user.last)
        ]
        ids = self._catalog.ids(rows) if self._user.counts is not None else []
        return self.scores(rows, _counts(self._catalog, self._user, rows, ids), *cosines)

    def scores(
        self, rows: NDArray[np.integer], counts: popularity.Counts, simple: Vector | None, last: Vector | None
    ) -> Vector:
        """The ranker's score of each row, float32 [n]. `simple` and `last`: cosines of the rows with the user's vector
        and with the item engaged with last, [n]; None where there is none."""
        history = self._user.history(self._catalog)
        made = features(
            now_us=self._user.now_us, rows=rows, counts=counts,
            history=history, near=_near(self._serving, history, rows), simple=simple, last=last,
        )  # fmt: skip
        return self._ranker.scores(made)


class _HybridScan:
    """See `vector_matrix.Scan`. weight: of the two cosines together, so that their errors bound the score's."""

    def __init__(self, scorer: HybridScorer, catalog: Catalog, user: HybridUser, weight: float) -> None:
        self._scorer = scorer
        self._catalog, self._user = catalog, user
        self._simple = None if user.vector is None else catalog.scan(user.vector)
        self._last = None if user.last is None else catalog.scan(user.last)
        self._weight = np.float32(weight)
        self._estimated = self.errors(np.zeros(1, np.intp)) is not None if catalog.rows else False
        self._unmet = scorer.scores(np.array([-1]), popularity.no_counts(1), None, None)[0]
        self.most_rescored = max((scan.most_rescored for scan in (self._simple, self._last) if scan), default=0)

    def scores(self, start: int, stop: int) -> Vector:
        cosines = [None if scan is None else scan.scores(start, stop) for scan in (self._simple, self._last)]
        rows = np.arange(start, stop)
        if self._user.counts is None and self._estimated and not self._scorer.has_neighbours:
            return self._by_what_is_known(rows, *cosines)
        if self._user.counts is None:
            counts = self._catalog.counts_between(start, stop)
        else:
            counts = _counts(self._catalog, self._user, rows, self._catalog.ids_or_none(rows))
        return self._scorer.scores(rows, counts, *cosines)

    def _by_what_is_known(self, rows: NDArray[np.intp], simple: Vector | None, last: Vector | None) -> Vector:
        """All features of the rows that somebody met or that are in the history; the score of any other is that of an
        unmet item plus its cosines' share. A fifth of the work where most items are unmet; off by rounding, which the
        errors have room for."""
        scores = np.full(len(rows), self._unmet, np.float32)
        for cosines, weight in zip((simple, last), self._scorer.cosine_weights, strict=True):
            if cosines is not None:
                scores += weight * cosines
        met = self._catalog.is_met(int(rows[0]), int(rows[-1]) + 1)
        history = self._user.history(self._catalog).rows - rows[0]
        met[history[(history >= 0) & (history < len(rows))]] = True
        known = np.flatnonzero(met)
        if len(known):
            some = rows[known]
            scores[known] = self._scorer.scores(
                some, self._catalog.counts(some), *(None if one is None else one[known] for one in (simple, last))
            )
        return scores

    def errors(self, rows: NDArray[np.intp]) -> Vector | None:
        scans = [scan for scan in (self._simple, self._last) if scan is not None]
        errors = [found for scan in scans if (found := scan.errors(rows)) is not None]
        if not errors:
            return None
        largest: Vector = np.max(errors, axis=0)
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
        return catalog.counts(rows)
    found = popularity.no_counts(len(rows))
    for place, id in enumerate(ids):
        if id is not None and rows[place] >= 0 and id in user.counts:
            found[place] = user.counts[id]
    return found


def _is_after_everything(resources: Resources, at_us: int) -> bool:
    newest_us = resources.popularity.newest_us
    return newest_us is not None and newest_us < at_us


async def _from_log(resources: Resources, user_id: str, at_us: int) -> HybridUser:
    """From the events before `at_us`, by a walk along the whole log: for evaluation, not for serving."""
    counts: dict[str, popularity.Counts] = {}
    own: list[LoggedInteraction] = []
    after: int | None = 0
    while after is not None:
        page, after = await resources.store.log(after=after, limit=_LOG_PAGE)
        for event in page:
            if event.time_us < at_us:
                if event.strength:
                    before = counts.get(event.content_id)
                    counts[event.content_id] = popularity.add(
                        popularity.decode(None) if before is None else before, event.time_us
                    )
                if event.user_id == user_id:
                    own.append(event)
        await asyncio.sleep(0)
    sums = None
    vectors = await resources.store.embeddings(list({event.content_id for event in own}))
    for event in own:
        if event.content_id in vectors:
            sums = user_vector.add(
                sums, event.strength, vectors[event.content_id], event.time_us,
                decay_per_day=resources.settings.decay_per_day,
            )  # fmt: skip
    newest = sorted(own, key=lambda event: event.time_us)[-HISTORY_EVENTS:]  # stable: ties as they came
    action = np.array([TYPES.index(event.type) for event in newest], np.int8)
    return await _user(resources, user_id, at_us, [event.content_id for event in newest], action, sums, counts)


async def _user(
    resources: Resources,
    user_id: str,
    now_us: int,
    content_ids: list[str],
    action: NDArray[np.int8],
    sums: Sums | None,
    counts: Mapping[str, popularity.Counts] | None = None,
) -> HybridUser:
    catalog = resources.catalog
    vector, source = user_vector.unit_vector(sums), "history"
    if vector is None:
        vector, source = await preference_embedding(resources, user_id), "preferences"
    last = None
    if len(engaged := np.flatnonzero(action != TYPES.index("skip"))):
        newest = catalog.lookup([content_ids[int(engaged[-1])]])
        if len(newest.rows):
            (last,) = await catalog.gather(newest.rows)
    return HybridUser(
        now_us=now_us, content_ids=content_ids, action=action, vector=vector, last=last,
        source="popular" if vector is None else "history" if source == "history" else "preferences",
        sums=sums if source == "history" else None, counts=counts,
    )  # fmt: skip
