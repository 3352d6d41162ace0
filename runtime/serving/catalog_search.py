"""The best of the whole catalogue: one scan at a time, in steps that let other requests through."""

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.catalog.vector_matrix import Estimates, Scan
from runtime.personalization.diversity import mmr
from runtime.personalization.ranking import cosine_scores, ranked, top_k
from runtime.serving.turns import TIMEOUT_S, Turn

# Rows scored before other requests get their turn: about a millisecond on a slow core.
STEP_ROWS = 8_192

# Of rows in which fewer than one in so many are wanted, these alone are estimated.
FEW = 3
MOST_STEPS_AT_ONCE = 32  # of those rows

# MMR chooses among this many of the best: a page that is all alike has its alternatives there.
POOL_PER_RESULT = 4
SMALLEST_POOL = 100

# For each of the best, so many of the rows near the query are scored, or more.
NEAR_PER_RESULT = 256

# Likewise, of estimates: so many rows are estimated by both bits, and so many are scored exactly. With the numbers that
# are enough for ten results the thousand best lacked 180 (docs/decisions/028).
ESTIMATED_PER_RESULT, EXACT_PER_RESULT = 10, 6
_MOST_EXACT = 2_560  # their vectors are most of POOL_BYTES

# What one scan holds: which rows pass the filters, while two masks are combined, and the rows of one label; and scores
# of a step and the pool's vectors.
ROW_BYTES = 3 + 8
POOL_BYTES = 4 << 20


class Scorer(Protocol):
    """What the catalogue is searched with, if not the cosine with a vector. Higher scores are better."""

    def scan(self) -> Scan:
        """Prepare the scores of rows."""
        ...

    def exact(self, rows: NDArray[np.intp], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of these rows, which have these exact content vectors [k, d]: float32 [k]."""
        ...


class Among(NamedTuple):
    """Which items are searched: those that carry all `labels` and at least one of each group of `any_of`, and are not
    `excluded`. `offset`: how many of the best are left out, because an earlier page had them."""

    labels: Collection[str] = ()
    any_of: Sequence[Collection[str]] = ()
    excluded: Sequence[str] = ()
    offset: int = 0


class Hit(NamedTuple):
    """`score`: the same to the last bit as /rank gives."""

    id: str
    score: float


class Found(NamedTuple):
    """`matched`: items that passed the filters, of which `hits` are the best."""

    hits: list[Hit]
    matched: int


class Search:
    """Searches a catalogue. Event-loop thread only.

    Scans take turns: they would share one core anyway, and so the memory of one is all they need.
    """

    def __init__(self, catalog: Catalog, timeout_s: float = TIMEOUT_S) -> None:
        self._catalog = catalog
        self._turn = Turn("searching", timeout_s)

    async def best(
        self,
        query: NDArray[np.float32] | Scorer,
        k: int,
        *,
        labels: Collection[str] = (),
        any_of: Sequence[Collection[str]] = (),
        excluded: Sequence[str] = (),
        offset: int = 0,
        diversity: float = 0.0,
    ) -> Found:
        """The k items closest to a unit vector [d], or best by a scorer, best first; filters as of `Among`.

        With `diversity` above 0 they are chosen, and ordered, by maximal marginal relevance.
        """
        k += offset
        among = Among(labels, any_of, excluded)
        async with self._turn.hold():
            wanted = self._wanted(among)
            changes = self._catalog.changes
            pool = max(SMALLEST_POOL, POOL_PER_RESULT * k) if diversity else k
            scan = self._catalog.scan(query) if isinstance(query, np.ndarray) else query.scan()
            scanned = wanted
            if isinstance(query, np.ndarray):
                scanned = self._catalog.near(query, wanted, NEAR_PER_RESULT * pool)
            rows = await _may_be_best(scan, scanned, pool)
            if scan.estimates is not None and len(rows) > pool:
                rows = await self._by_closer_scores(scan.estimates, rows, pool)
            if self._catalog.changes != changes:
                # What was deleted during the scan is out, what was replaced is scored again; what came waits for the
                # next scan.
                wanted = self._wanted(among)[: len(wanted)]
                rows = rows[wanted[rows]]
            changes, versions = self._catalog.changes, self._catalog.versions(rows)
            vectors = await self._catalog.gather(rows)
            if self._catalog.changes != changes:  # while they were read from the disk: so are items that came into rows
                there = self._wanted(among)[rows]
                new = self._catalog.versions(rows) != versions
                vectors[new] = self._catalog.read(rows[new])
                rows, vectors = rows[there], vectors[there]
        # From here on nothing is awaited, so rows hold.
        scores = cosine_scores(query, vectors) if isinstance(query, np.ndarray) else query.exact(rows, vectors)
        if len(rows) > pool:
            first = top_k(scores, pool)
            rows, scores = rows[first], scores[first]
            vectors = vectors[first] if diversity else vectors[:0]  # nobody needs a copy of them otherwise
        relevance = scores if isinstance(query, np.ndarray) else from_0_to_1(scores)
        order = mmr(relevance, vectors, k, diversity=diversity) if diversity else ranked(scores)
        order = order[offset:]
        hits = [Hit(*one) for one in zip(self._catalog.ids(rows[order]), scores[order].tolist(), strict=True)]
        return Found(hits, int(np.count_nonzero(wanted)))

    async def _by_closer_scores(self, estimates: Estimates, rows: NDArray[np.intp], k: int) -> NDArray[np.intp]:
        """Of rows among which the k best are, rising, fewer."""
        finer = await self._catalog.finer(rows)
        if finer is None:
            return rows
        best = _Best(k, max(estimates.most_exact, min(EXACT_PER_RESULT * k, _MOST_EXACT)))
        best.add(rows, *estimates.closer(rows, finer))
        return best.kept()

    def _wanted(self, among: Among) -> NDArray[np.bool_]:
        """Which rows hold an item that is searched, bool [rows]."""
        wanted = self._catalog.matching(among.labels, among.any_of)
        wanted[self._catalog.lookup(among.excluded).rows] = False
        return wanted


async def _may_be_best(scan: Scan, wanted: NDArray[np.bool_], k: int) -> NDArray[np.intp]:
    """Rows among which the k best of those `wanted` are, rising."""
    step, estimates = STEP_ROWS, scan.estimates
    best = _Best(k, scan.most_rescored if estimates is None else max(scan.most_rescored, ESTIMATED_PER_RESULT * k))
    count = int(np.count_nonzero(wanted))
    few = estimates is not None and FEW * count < len(wanted)
    if few:
        step *= min(len(wanted) // max(count, 1), MOST_STEPS_AT_ONCE)
    for start in range(0, len(wanted), step):
        if start:
            await asyncio.sleep(0)
        among = wanted[start : start + step]
        if among.any():
            least = best.least if estimates is None else best.likely
            if few and estimates is not None:
                rows, scores = _few_above(least, estimates, np.flatnonzero(among) + start)
            else:
                rows, scores = _scores_above(least, scan, start, among)
            best.add(rows, scores, scan.errors(rows))
    return best.kept()


def _few_above(
    least: np.float32, estimates: Estimates, rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Of these rows those that score above `least`, next to none left out, and their scores."""
    if least > -np.inf and (possible := estimates.possible(rows, least)) is not None:
        rows = rows[possible]
    scores = estimates.scores_of(rows)
    above = np.flatnonzero(scores > least)
    return rows[above], scores[above]


def _scores_above(
    least: np.float32, scan: Scan, start: int, among: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Rows from `start` on that are `among` those wanted, without most that do not score above `least`; and scores."""
    estimates = scan.estimates
    if estimates is not None and least > -np.inf:
        possible = estimates.possible(slice(start, start + len(among)), least)
        if possible is not None:
            rows = np.flatnonzero(among & possible) + start
            return rows, estimates.scores_of(rows)
    scores = scan.scores(start, start + len(among))
    if least > -np.inf:  # then nearly all are out by one comparison
        within = np.flatnonzero(scores > least)
        within = within[among[within]]
    else:
        within = np.flatnonzero(among)
    return within + start, scores[within]


def from_0_to_1(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """What can be weighed against a cosine: 0 for the least of these scores, 1 for the best."""
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    relevance: NDArray[np.float32] = (scores - low) / (high - low if high > low else np.float32(1))
    return relevance


class _Best:
    """Of rows that come in rising order those that can be among the k best by exact score, rising: where nothing is in
    error the k best; else also every one that could be better than the k-th, or the `most_rescored` with the best
    scores where there are more. `least`: what scores no better than this need not be added."""

    def __init__(self, k: int, most_rescored: int) -> None:
        self.rows = np.empty(0, np.intp)
        self.least = np.float32(-np.inf)
        self._k = k
        self._most = max(most_rescored, k)
        self._scores = np.empty(0, np.float32)
        self._errors: NDArray[np.float32] | None = None
        self._kth = np.float32(-np.inf)  # the k-th best score is at least this
        self._largest_error = np.float32(0)

    @property
    def likely(self) -> np.float32:
        """As `least`, of estimates: what scores no better is not among the best if its error is none of the largest."""
        return max(self.least, self._kth - self._largest_error)

    def add(self, rows: NDArray[np.intp], scores: NDArray[np.float32], errors: NDArray[np.float32] | None) -> None:
        at_most = scores if errors is None else scores + errors
        if errors is not None:
            self._largest_error = max(self._largest_error, errors.max(initial=0))
        possible = np.flatnonzero((at_most >= self._kth) & (scores > self.least))
        if not len(possible):
            return
        self.rows = np.concatenate([self.rows, rows[possible]])
        self._scores = np.concatenate([self._scores, scores[possible]])
        if errors is not None:
            before = np.empty(0, np.float32) if self._errors is None else self._errors
            self._errors = np.concatenate([before, errors[possible]])
        if len(self.rows) > (self._k if errors is None else 2 * self._most):
            self._keep()

    def kept(self) -> NDArray[np.intp]:
        """Those that can be among the best of all that were added, rising."""
        if len(self.rows) > self._k:
            self._keep()
        return self.rows

    def _keep(self) -> None:
        if self._errors is None:
            kept = _first(self._scores, self._k)
            self._kth = self._scores[kept].min()
        else:
            at_least = self._scores - self._errors
            self._kth = np.partition(at_least, len(at_least) - self._k)[len(at_least) - self._k]
            kept = np.flatnonzero(self._scores + self._errors >= self._kth)
            if len(kept) > self._most:
                kept = kept[_first(self._scores[kept], self._most)]
                self.least = self._scores[kept].min()
            self._errors = self._errors[kept]
        self.rows, self._scores = self.rows[kept], self._scores[kept]


def _first(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Positions of the k best scores, of equals the earlier ones, rising: `top_k` without its order."""
    kth_best = np.partition(scores, len(scores) - k)[len(scores) - k]
    kept = scores > kth_best
    tied = np.flatnonzero(scores == kth_best)
    kept[tied[: k - np.count_nonzero(kept)]] = True
    return np.flatnonzero(kept)
