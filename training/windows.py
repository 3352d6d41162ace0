"""A log cut into overlapping windows, and windows gathered into batches.

Histories longer than `context` become windows that overlap by half. The first half of every window but a user's first
is context only: each event is scored once, with at least half a window before it (or all there is).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.personalization.sequence_features import features, seconds
from training.data.events import SKIP, Dataset
from training.model import Batch
from training.recipes import FULL_SOFTMAX

ANCHORS, SKIPS, LATER = 4, 4, 16  # of the contrastive loss: a window; skips each; how far ahead "later" reaches
_SORTED_TOGETHER = 16  # batches whose windows are sorted by length, so that little is padding


@dataclass
class ScoredBatch(Batch):
    """scored: bool (B, T). negatives: int64 (K,) of the catalogue, None where all of it is. Contrastive picks int64
    (A,): window, position, item engaged with later; skipped (A, K)."""

    scored: Tensor
    negatives: Tensor | None
    anchor_window: Tensor
    anchor_position: Tensor
    engaged: Tensor
    skipped: Tensor


class Windows:
    """The windows of a dataset. scored: bool [events], those that are predicted; the others are history. negatives:
    items drawn for a batch of a market of more than FULL_SOFTMAX."""

    def __init__(
        self, dataset: Dataset, context: int, scored: NDArray[np.bool_] | None = None, negatives: int = 2_048
    ) -> None:
        events, starts = dataset.events, dataset.starts
        self._vectors = dataset.catalogue.vectors
        items = len(dataset.catalogue)
        self._market = np.zeros(items, np.int16) if dataset.market is None else dataset.market
        # An item that nobody met in this log may not have been there to be met. As a negative it would teach that texts
        # like its own are never wanted (docs/decisions/012-real-sets.md)
        met = np.bincount(events.item, minlength=items) > 0
        markets = range(int(self._market.max(initial=0)) + 1)
        self._rows = [np.flatnonzero((self._market == market) & met) for market in markets]
        self._place = np.zeros(items, np.int64)  # of an item in its market
        for rows in self._rows:
            self._place[rows] = np.arange(len(rows))
        self._negatives = negatives
        nothing = np.zeros((len(dataset.users), self._vectors.shape[1]), np.float32)
        self._stated = nothing if dataset.stated is None else dataset.stated
        self._events = events
        first = np.zeros(len(events), np.bool_)
        first[starts[:-1][starts[:-1] < starts[1:]]] = True
        self._features = features(events.time_us, events.duration_ms, events.days_to_wedding, first)
        self._scored = np.ones(len(events), np.bool_) if scored is None else scored
        self.spans = np.array(self._cut(starts, context), np.int64).reshape(-1, 3)  # start, end, first scored

    def __len__(self) -> int:
        return len(self.spans)

    def some(self, most: int) -> "Windows":
        """These windows, or `most` of them in even steps."""
        if len(self.spans) > most:
            self.spans = self.spans[np.linspace(0, len(self.spans) - 1, most).astype(np.int64)]
        return self

    @property
    def scored_events(self) -> int:
        return int(sum(self._scored[scored:end].sum() for _, end, scored in self.spans))

    def _cut(self, starts: NDArray[np.int64], context: int) -> list[tuple[int, int, int]]:
        spans = []
        for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            scored = start = begin
            while scored < end:
                stop = min(start + context, end)
                if self._scored[scored:stop].any():
                    spans.append((start, stop, scored))
                scored = stop
                start = max(begin, stop - context // 2)
        return spans

    def order(self, batch: int, seed: tuple[int, ...]) -> list[NDArray[np.int64]]:
        """The windows of an epoch, shuffled by the seed, in batches of about the same length."""
        draw = np.random.default_rng(seed)
        batches: list[NDArray[np.int64]] = []
        for market in self._by_market():
            shuffled = draw.permutation(market)
            for chunk in np.split(shuffled, range(batch * _SORTED_TOGETHER, len(shuffled), batch * _SORTED_TOGETHER)):
                lengths = self.spans[chunk, 1] - self.spans[chunk, 0]
                ordered = chunk[np.argsort(lengths, kind="stable")]
                batches.extend(np.split(ordered, range(batch, len(ordered), batch)))
        return [batches[n] for n in draw.permutation(len(batches))]

    def in_order(self, batch: int) -> Iterator["ScoredBatch"]:
        """Every window once, longest first, for validation."""
        for number, chosen in enumerate(self.batches_in_order(batch)):
            yield self.batch(chosen, (0, number))

    def batches_in_order(self, batch: int) -> Iterator[NDArray[np.int64]]:
        """Every window once, the longest of a market first."""
        for market in self._by_market():
            lengths = self.spans[market, 1] - self.spans[market, 0]
            ordered = market[np.argsort(-lengths, kind="stable")]
            yield from np.split(ordered, range(batch, len(ordered), batch))

    def _by_market(self) -> list[NDArray[np.int64]]:
        """The windows of each market that has some: a batch is of one catalogue."""
        market = self._market[self._events.item[self.spans[:, 0]]]
        return [windows for one in range(len(self._rows)) if len(windows := np.flatnonzero(market == one))]

    def rows(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the events of these windows, (B, T). Padding repeats a window's last event: nothing before it sees
        it, and nothing of it is scored."""
        spans = self.spans[windows]
        size = int((spans[:, 1] - spans[:, 0]).max())
        rows: NDArray[np.int64] = np.minimum(spans[:, :1] + np.arange(size), spans[:, 1:2] - 1)
        return rows

    def batch(self, windows: NDArray[np.int64], seed: tuple[int, ...]) -> ScoredBatch:
        """These windows, padded on the right to the longest. The seed draws the contrastive picks."""
        spans, rows = self.spans[windows], self.rows(windows)
        inside = np.arange(rows.shape[1]) < spans[:, 1:2] - spans[:, :1]
        events = self._events
        draw = np.random.default_rng(seed)
        catalogue, item, negatives = self._speaks_of(events.item[rows], draw)
        action = events.action[rows]
        scored = inside & (rows >= spans[:, 2:]) & self._scored[rows]
        origin = events.time_us[rows[:, :1]]
        picks = _contrastive_picks(item, action, inside, scored, draw)
        as_int: dict[str, NDArray[Any]] = {
            "catalogue": catalogue,
            "item": item,
            "action": action,
            "device": events.device[rows],
        }
        as_is = {
            "metadata": self._vectors[catalogue],
            "events": self._features.events[rows],
            "moments": self._features.moments[rows],
            "seconds": np.stack([seconds(t, int(o)) for t, o in zip(events.time_us[rows], origin[:, 0], strict=True)]),
            "scored": scored,
            "stated": self._stated[events.user[rows[:, 0]]],
        }
        return ScoredBatch(
            negatives=None if negatives is None else torch.from_numpy(negatives),
            **{name: torch.from_numpy(values.astype(np.int64)) for name, values in as_int.items()},
            **{name: torch.from_numpy(values) for name, values in as_is.items()},
            **{name: torch.from_numpy(values) for name, values in picks.items()},
        )

    def _speaks_of(
        self, item: NDArray[np.int32], draw: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]:
        """Catalogue rows of a batch, items and negatives as indices into them. Small markets are there whole."""
        market = self._rows[self._market[item[0, 0]]]
        if len(market) <= FULL_SOFTMAX:
            return market, self._place[item], None
        drawn = draw.choice(market, self._negatives, replace=False)
        catalogue, index = np.unique(np.concatenate([item.ravel(), drawn]), return_inverse=True)
        return catalogue, index[: item.size].reshape(item.shape), index[item.size :]


def _contrastive_picks(
    item: NDArray[np.int64],
    action: NDArray[np.int8],
    inside: NDArray[np.bool_],
    scored: NDArray[np.bool_],
    draw: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Up to ANCHORS states a window, each with an item engaged with among the LATER next, and skips of the window."""
    window, position, engaged, skipped = [], [], [], []
    for row in range(len(item)):
        wanted = np.flatnonzero(inside[row] & (action[row] != SKIP))
        states = np.flatnonzero(scored[row])
        skips = item[row, inside[row] & (action[row] == SKIP)]
        for state in draw.choice(states, min(ANCHORS, len(states)), replace=False) if len(states) else ():
            later = wanted[(wanted >= state) & (wanted < state + LATER)]
            if not len(later):
                continue
            window.append(row)
            position.append(state)
            engaged.append(item[row, draw.choice(later)])
            hard = np.full(SKIPS, -1, np.int64)
            if len(skips):
                hard[: min(SKIPS, len(skips))] = draw.choice(skips, min(SKIPS, len(skips)), replace=False)
            skipped.append(hard)
    return {
        "anchor_window": np.array(window, np.int64),
        "anchor_position": np.array(position, np.int64),
        "engaged": np.array(engaged, np.int64),
        "skipped": np.array(skipped, np.int64).reshape(-1, SKIPS),
    }
