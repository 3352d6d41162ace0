"""Splits of a data set: every event lands in exactly one part, and no part precedes what is fitted on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset


class Split(NamedTuple):
    """train, validation, test share users and items. Parameters are fitted on train, choices made on validation."""

    train: Dataset
    validation: Dataset
    test: Dataset


def by_time(dataset: Dataset, share: tuple[float, float, float] = (0.7, 0.1, 0.2)) -> Split:
    """A global cut: what happened before one moment, between two, and after. `share` is of events.

    Events of the microsecond of a cut all go to the later part, so no part knows a simultaneous event of the next.
    Raises ValueError where the shares do not sum to one or a part would be empty.
    """
    if min(share) <= 0 or abs(sum(share) - 1) > 1e-9:
        raise ValueError(f"shares {share} must be positive and sum to 1")
    return Split(*periods(dataset, share))


def periods(dataset: Dataset, share: Sequence[float]) -> list[Dataset]:
    """As `by_time`, with as many parts as there are shares."""
    if min(share) <= 0 or abs(sum(share) - 1) > 1e-9:
        raise ValueError(f"shares {tuple(share)} must be positive and sum to 1")
    times = np.sort(dataset.events.time_us)
    cuts = [times[min(int(len(times) * part), len(times) - 1)] for part in np.cumsum(share)[:-1]]
    part = np.searchsorted(np.asarray(cuts), dataset.events.time_us, side="right")
    return _parts(dataset, part, len(share))


def leave_last_out(dataset: Dataset) -> Split:
    """Each user's last engaged event (not a skip) is the test, the one before it validation, the rest train.

    Skips after a held-out event go with it. Users with fewer than three engaged events stay in train as a whole. A
    model so trained has seen other users' later events: the global cut is the honest figure, this one compares with
    the literature.
    """
    events = dataset.events
    starts = dataset.starts
    counted = np.concatenate([[0], np.cumsum(events.action != SKIP)])  # engaged events in the rows before
    total = (counted[starts[1:]] - counted[starts[:-1]])[events.user]
    place = counted[1:] - counted[starts[events.user]]  # the user's engaged events up to this one, itself included
    part = np.where(total < 3, 0, (place >= total - 1).astype(np.int64) + (place >= total))
    return Split(*_parts(dataset, part, 3))


def _parts(dataset: Dataset, part: NDArray[np.integer], parts: int) -> list[Dataset]:
    sizes = np.bincount(part, minlength=parts)
    if (sizes == 0).any():
        raise ValueError(
            f"{dataset.name}: parts of {sizes.tolist()} events out of {len(part)}; train, validation and test each "
            "need some: use more data or other shares"
        )
    return [dataset.with_events(dataset.events.take(part == number)) for number in range(parts)]
