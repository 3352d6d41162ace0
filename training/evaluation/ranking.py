"""Ranks of the targets at many moments, a batch at a time so that memory stays at batch × items."""

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Histories
from training.evaluation import metrics
from training.evaluation.protocol import Contender, Moments, seen_items, unavailable

_BATCH = 512
_CELLS = 2_000_000  # scores of one batch


def rank_targets(
    contender: Contender,
    dataset: Dataset,
    moments: Moments,
    *,
    without_seen: bool,
    histories: Histories | None = None,
) -> NDArray[np.int64]:
    """Place of each target over the catalogue, int64 [n]; items that do not exist yet are no candidates.

    without_seen: what a user had met before is no candidate either; a target among it has rank `metrics.NEVER`.
    histories: shown to the contender in place of the moments' own (cut or shuffled); candidates stay the same.
    Raises ValueError for scores of the wrong shape or with NaN, naming the contender.
    """
    size = max(1, min(_BATCH, _CELLS // max(len(dataset.catalogue), 1)))
    places = np.empty(len(moments), np.int64)
    for start in range(0, len(moments), size):
        batch = moments.take(slice(start, start + size))
        shown = batch.histories if histories is None else histories.take(slice(start, start + size))
        scores = contender.item_scores(shown, batch.now_us, batch.device)
        expected = (len(batch), len(dataset.catalogue))
        if scores.shape != expected:
            raise ValueError(f"{contender.name}: scores have shape {scores.shape}, expected {expected}")
        excluded = unavailable(dataset, batch.now_us)
        if without_seen:
            excluded |= seen_items(batch.histories, len(dataset.catalogue))
        try:
            places[start : start + size] = metrics.ranks(scores, batch.item, excluded)
        except ValueError as error:
            raise ValueError(f"{contender.name}: {error}") from error
    return places


def repeats_happen(dataset: Dataset) -> bool:
    """Whether users of this set come back to items: more than one engaged event in a hundred is a repeat."""
    events = dataset.events
    engaged = events.action != SKIP
    pairs = events.user[engaged].astype(np.int64) * len(dataset.catalogue) + events.item[engaged]
    return len(np.unique(pairs)) < 0.99 * len(pairs)
