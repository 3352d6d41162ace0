"""The best of the whole catalogue for a vector: one scan at a time, in steps that let other requests through."""

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.personalization.diversity import mmr
from runtime.personalization.ranking import cosine_scores, ranked, top_k

# Rows scored before other requests get their turn: about a millisecond on a slow core.
STEP_ROWS = 8_192

# MMR chooses among this many of the best: a page that is all alike has its alternatives there.
_POOL_PER_RESULT = 4
_SMALLEST_POOL = 100

# Where the catalogue holds int8, what may be among the best is scored again from exact vectors: so many at the most,
# at some 10 µs each. Measured, they are enough for results as exact as from float32 (docs/decisions/008).
MOST_RESCORED = 1_024

# What one scan holds: a score; its copies while the best are found, a mask and row numbers; and the pool's vectors.
# At most 0.9 MiB for 20,000 items, measured by `python -m bench.memory_parts catalogue`; by its arrays:
SCORE_BYTES = 4
ROW_BYTES = 44
POOL_BYTES = 4 << 20


class Hit(NamedTuple):
    """`score`: cosine, the same to the last bit as /rank gives."""

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

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._turn = asyncio.Lock()

    async def best(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        labels: Collection[str] = (),
        excluded: Sequence[str] = (),
        diversity: float = 0.0,
    ) -> Found:
        """The k items closest to a unit vector [d] that carry all `labels` and are not `excluded`, best first.

        With `diversity` above 0 they are chosen, and ordered, by maximal marginal relevance.
        """
        async with self._turn:
            scores = await self._scores(query)
            return await self._select(query, scores, k, labels=labels, excluded=excluded, diversity=diversity)

    async def _scores(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of every row, float32 [rows]; rows without an item have some number."""
        scores = np.empty(self._catalog.rows, np.float32)
        for start in range(0, len(scores), STEP_ROWS):
            if start:
                await asyncio.sleep(0)
            stop = min(start + STEP_ROWS, len(scores))
            scores[start:stop] = self._catalog.scores(query, start, stop)
        return scores

    async def _select(
        self,
        query: NDArray[np.float32],
        scores: NDArray[np.float32],
        k: int,
        *,
        labels: Collection[str],
        excluded: Sequence[str],
        diversity: float,
    ) -> Found:
        """By the catalogue as it is now: what was deleted during the scan is out, what was replaced is scored again.
        What came during the scan waits for the next one."""
        wanted = self._catalog.matching(labels)
        wanted[self._catalog.lookup(excluded).rows] = False
        rows = np.flatnonzero(wanted[: len(scores)])
        pool = max(_SMALLEST_POOL, _POOL_PER_RESULT * k) if diversity else k
        best = rows[_may_be_best(scores[rows], self._catalog.errors(rows), pool)]
        ids = self._catalog.ids(best)  # now: while vectors are read, a row may pass to another item
        vectors = await self._catalog.gather(best)
        exact = cosine_scores(query, vectors)
        if len(best) > pool:
            first = top_k(exact, pool)
            ids, vectors, exact = [ids[n] for n in first.tolist()], vectors[first], exact[first]
        order = mmr(exact, vectors, k, diversity=diversity) if diversity else ranked(exact)
        hits = [Hit(ids[n], score) for n, score in zip(order.tolist(), exact[order].tolist(), strict=True)]
        return Found(hits, len(rows))


def _may_be_best(scores: NDArray[np.float32], errors: NDArray[np.float32] | None, k: int) -> NDArray[np.intp]:
    """Positions among which the k best by exact score are: where nothing is in error these; else also every one that
    could be better than the k-th, rising, or the MOST_RESCORED with the best scores where there are more."""
    if errors is None or len(scores) <= k:
        return top_k(scores, k)
    at_least = scores - errors
    kth = np.partition(at_least, len(scores) - k)[len(scores) - k]
    possible = np.flatnonzero(scores + errors >= kth)
    if len(possible) > MOST_RESCORED:
        possible = np.sort(possible[top_k(scores[possible], max(MOST_RESCORED, k))])
    return possible
