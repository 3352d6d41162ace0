"""Splits of a data set, where every event is in exactly one part, and parts joined again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Events


class Split(NamedTuple):
    """train, validation, test share users and items. Parameters are fitted on train, choices made on validation."""

    train: Dataset
    validation: Dataset
    test: Dataset


def by_time(dataset: Dataset, share: tuple[float, float, float] = (0.7, 0.1, 0.2)) -> Split:
    """A global time split: train before one point in time, validation up to a second one, test after. Shares of events.

    Events of the microsecond of a cut all go to the later part, so no part has a simultaneous event of the next.
    Raises ValueError where the shares do not sum to one or a part would be empty.
    """
    if min(share) <= 0 or abs(sum(share) - 1) > 1e-9:
        raise ValueError(f"shares {share} must be positive and sum to 1")
    return Split(*periods(dataset, share))


def periods(dataset: Dataset, share: Sequence[float]) -> list[Dataset]:
    """As `by_time`, with as many parts as there are shares. Raises ValueError as `by_time` does."""
    if min(share) <= 0 or abs(sum(share) - 1) > 1e-9:
        raise ValueError(f"shares {tuple(share)} must be positive and sum to 1")
    times = np.sort(dataset.events.time_us)
    cuts = [times[min(int(len(times) * part), len(times) - 1)] for part in np.cumsum(share)[:-1]]
    part = np.searchsorted(np.asarray(cuts), dataset.events.time_us, side="right")
    return _parts(dataset, part, len(share))


def leave_last_out(dataset: Dataset) -> Split:
    """Each user's last engaged event (not a skip) is test, the one before it validation, the rest train.

    Skips after a held-out event go with it. Users with fewer than three engaged events stay in train entirely. A model
    trained this way has seen later events of other users: the global time split has no such leak, this one is for
    comparison with the literature.
    """
    events = dataset.events
    starts = dataset.starts
    counted = np.concatenate([[0], np.cumsum(events.action != SKIP)])  # engaged events in the rows before
    total = (counted[starts[1:]] - counted[starts[:-1]])[events.user]
    place = counted[1:] - counted[starts[events.user]]  # the user's engaged events up to this one, itself included
    part = np.where(total < 3, 0, (place >= total - 1).astype(np.int64) + (place >= total))
    return Split(*_parts(dataset, part, 3))


def in_time_order(earlier: Dataset, later: Dataset) -> bool:
    """Whether every event of `earlier` is before every event of `later`, as after a global time split."""
    return bool(earlier.events.time_us.max(initial=0) < later.events.time_us.min(initial=np.iinfo(np.int64).max))


def log_of(*parts: Dataset) -> Events:
    """The events of several parts as one log, sorted by user and time."""
    return Events.of(
        **{name: np.concatenate([getattr(part.events, name) for part in parts]) for name in vars(parts[0].events)}
    )


def joined(*parts: Dataset) -> Dataset:
    """The parts as one data set."""
    return parts[0].with_events(log_of(*parts))


def joined_with_mask(history: Dataset, held_out: Dataset) -> tuple[Dataset, NDArray[np.bool_]]:
    """Both parts as one data set, and a mask bool [events] of the held-out events."""
    columns = {
        name: np.concatenate([getattr(part.events, name) for part in (history, held_out)])
        for name in vars(history.events)
    }
    mask = np.arange(len(columns["user"])) >= len(history.events)
    order = np.lexsort((columns["time_us"], columns["user"]))
    return history.with_events(Events(**{name: values[order] for name, values in columns.items()})), mask[order]


def _parts(dataset: Dataset, part: NDArray[np.integer], parts: int) -> list[Dataset]:
    sizes = np.bincount(part, minlength=parts)
    if (sizes == 0).any():
        raise ValueError(
            f"{dataset.name}: parts of {sizes.tolist()} events out of {len(part)}; train, validation and test each "
            "need some: use more data or other shares"
        )
    return [dataset.with_events(dataset.events.take(part == number)) for number in range(parts)]
