"""A log cut into overlapping windows, and windows gathered into padded batches.

Histories longer than `context` become windows that overlap by half. The first half of every window but a user's first
is context only: each event is scored once, with at least half a window before it (or everything there is).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.personalization.sequence_features import features, seconds
from training.data.events import SKIP, Dataset
from training.model import Batch
from training.recipes import FULL_SOFTMAX

# Of the contrastive loss: anchors per window, skipped items per anchor, events in which a later item is looked for
ANCHORS, SKIPS, LATER = 4, 4, 16
_SORTED_TOGETHER = 16  # batches whose windows are sorted by length, so that there is little padding


@dataclass
class ScoredBatch(Batch):
    """A batch with its targets.

    scored bool (B, T); expected f32 (B, T, 4), probabilities of actions to train on, None for the actions themselves;
    negatives int64 (K,) of the catalogue, None where the softmax is over all of it; contrastive
    anchors int64 (A,): window, position and an item engaged with later; skipped items int64 (A, K), −1 for none.
    """

    scored: Tensor
    expected: Tensor | None
    negatives: Tensor | None
    anchor_window: Tensor
    anchor_position: Tensor
    engaged: Tensor
    skipped: Tensor


class _BatchItems(NamedTuple):
    """Catalogue rows int64 (I,) of a batch, and its items (B, T) and negatives (K,) as indices into them."""

    catalogue: NDArray[np.int64]
    item: NDArray[np.int64]
    negatives: NDArray[np.int64] | None


class Windows:
    """The windows of a data set.

    scored: bool [events], the events that are predicted; the others are history only (default: all are predicted).
    negatives: items sampled per batch where a catalogue has more than FULL_SOFTMAX.
    expected: float32 [events, 4], see `ScoredBatch`.
    """

    def __init__(
        self,
        dataset: Dataset,
        context: int,
        scored: NDArray[np.bool_] | None = None,
        negatives: int = 2_048,
        expected: NDArray[np.float32] | None = None,
    ) -> None:
        events, starts = dataset.events, dataset.starts
        self._vectors = dataset.catalogue.vectors
        items = len(dataset.catalogue)
        self._catalogue_id = np.zeros(items, np.int16) if dataset.catalogue_id is None else dataset.catalogue_id
        # An item that nobody met in this log may not have been available. As a negative it would teach that texts like
        # its own are never wanted (docs/decisions/012-real-sets.md)
        met = np.bincount(events.item, minlength=items) > 0
        catalogues = range(int(self._catalogue_id.max(initial=0)) + 1)
        self._rows = [np.flatnonzero((self._catalogue_id == one) & met) for one in catalogues]
        self._place = np.zeros(items, np.int64)  # of an item within its catalogue
        for rows in self._rows:
            self._place[rows] = np.arange(len(rows))
        self._negatives, self._expected = negatives, expected
        none = np.zeros((len(dataset.users), self._vectors.shape[1]), np.float32)
        self._preference_embedding = none if dataset.preference_embedding is None else dataset.preference_embedding
        self._events = events
        first = np.zeros(len(events), np.bool_)
        first[starts[:-1][starts[:-1] < starts[1:]]] = True
        self._features = features(events.time_us, events.duration_ms, events.days_to_event, first)
        self._scored = np.ones(len(events), np.bool_) if scored is None else scored
        self.spans = np.array(self._cut(starts, context), np.int64).reshape(-1, 3)  # start, end, first scored row

    def __len__(self) -> int:
        return len(self.spans)

    def limited_to(self, most: int) -> "Windows":
        """These windows, reduced in place to at most `most` in even steps."""
        if len(self.spans) > most:
            self.spans = self.spans[np.linspace(0, len(self.spans) - 1, most).astype(np.int64)]
        return self

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

    def shuffled(self, batch: int, seed: tuple[int, ...]) -> list[NDArray[np.int64]]:
        """The windows of an epoch, shuffled by the seed, in batches of similar length and one catalogue each."""
        draw = np.random.default_rng(seed)
        batches: list[NDArray[np.int64]] = []
        for windows in self._by_catalogue():
            permuted = draw.permutation(windows)
            for chunk in np.split(permuted, range(batch * _SORTED_TOGETHER, len(permuted), batch * _SORTED_TOGETHER)):
                lengths = self.spans[chunk, 1] - self.spans[chunk, 0]
                ordered = chunk[np.argsort(lengths, kind="stable")]
                batches.extend(np.split(ordered, range(batch, len(ordered), batch)))
        return [batches[n] for n in draw.permutation(len(batches))]

    def in_order(self, batch: int) -> Iterator[ScoredBatch]:
        """Every window once, longest first, for validation."""
        for number, chosen in enumerate(self.batches_in_order(batch)):
            yield self.batch(chosen, (0, number))

    def batches_in_order(self, batch: int) -> Iterator[NDArray[np.int64]]:
        """Window numbers int64 [≤ batch]: every window once, the longest of a catalogue first."""
        for windows in self._by_catalogue():
            lengths = self.spans[windows, 1] - self.spans[windows, 0]
            ordered = windows[np.argsort(-lengths, kind="stable")]
            yield from np.split(ordered, range(batch, len(ordered), batch))

    def _by_catalogue(self) -> list[NDArray[np.int64]]:
        """The windows of each catalogue that has some: a batch has items of one catalogue."""
        catalogue = self._catalogue_id[self._events.item[self.spans[:, 0]]]
        return [windows for one in range(len(self._rows)) if len(windows := np.flatnonzero(catalogue == one))]

    def rows(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Event rows of these windows, int64 (B, T). Padding repeats the last event of a window: attention is causal
        and padding is not scored, so it changes nothing."""
        spans = self.spans[windows]
        size = int((spans[:, 1] - spans[:, 0]).max())
        rows: NDArray[np.int64] = np.minimum(spans[:, :1] + np.arange(size), spans[:, 1:2] - 1)
        return rows

    def batch(self, windows: NDArray[np.int64], seed: tuple[int, ...]) -> ScoredBatch:
        """These windows, padded on the right to the longest. The seed draws negatives and contrastive anchors."""
        spans, rows = self.spans[windows], self.rows(windows)
        inside = np.arange(rows.shape[1]) < spans[:, 1:2] - spans[:, :1]
        events = self._events
        draw = np.random.default_rng(seed)
        items = self._items(events.item[rows], draw)
        action = events.action[rows]
        scored = inside & (rows >= spans[:, 2:]) & self._scored[rows]
        origin = events.time_us[rows[:, :1]]
        anchors = _contrastive_anchors(items.item, action, inside, scored, draw)
        as_int: dict[str, NDArray[Any]] = {
            "catalogue": items.catalogue,
            "item": items.item,
            "action": action,
            "device": events.device[rows],
        }
        as_is = {
            "metadata": self._vectors[items.catalogue],
            "event_features": self._features.events[rows],
            "context_features": self._features.query_contexts[rows],
            "seconds": np.stack([seconds(t, int(o)) for t, o in zip(events.time_us[rows], origin[:, 0], strict=True)]),
            "scored": scored,
            "preference_embedding": self._preference_embedding[events.user[rows[:, 0]]],
        }
        return ScoredBatch(
            negatives=None if items.negatives is None else torch.from_numpy(items.negatives),
            expected=None if self._expected is None else torch.from_numpy(self._expected[rows]),
            **{name: torch.from_numpy(values.astype(np.int64)) for name, values in as_int.items()},
            **{name: torch.from_numpy(values) for name, values in as_is.items()},
            **{name: torch.from_numpy(values) for name, values in anchors.items()},
        )

    def _items(self, item: NDArray[np.int32], draw: np.random.Generator) -> _BatchItems:
        """A small catalogue is in every batch completely, of a large one its own items and sampled negatives."""
        rows = self._rows[self._catalogue_id[item[0, 0]]]
        if len(rows) <= FULL_SOFTMAX:
            return _BatchItems(rows, self._place[item], None)
        drawn = draw.choice(rows, self._negatives, replace=False)
        catalogue, index = np.unique(np.concatenate([item.ravel(), drawn]), return_inverse=True)
        return _BatchItems(catalogue, index[: item.size].reshape(item.shape), index[item.size :])


def _contrastive_anchors(
    item: NDArray[np.int64],
    action: NDArray[np.int8],
    inside: NDArray[np.bool_],
    scored: NDArray[np.bool_],
    draw: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Up to ANCHORS positions per window, each with an item engaged with among the next LATER events, and skips of the
    window. All arrays (B, T)."""
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
