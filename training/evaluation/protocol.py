"""What a contender is, and the moments at which all of them are asked the same question."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Events, Histories

Scores = NDArray[np.float32]


class Contender(Protocol):
    """Anything that can be evaluated. `fit` may look at nothing but its arguments and chooses on validation."""

    name: str

    def fit(self, train: Dataset, validation: Dataset) -> None:
        """Learn; tune on validation. Parameters may be fitted again on both once the choices are made."""

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """float32 [b, items]: how likely each item is the next engaged with at now_us [b] on device [b]."""


@runtime_checkable
class PredictsActions(Protocol):
    """A contender that also says what a user will do with an item shown."""

    name: str

    def fit(self, train: Dataset, validation: Dataset) -> None: ...

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        """float32 [b, 4] in the order of ACTIONS, rows summing to one: item i is shown to history i. For k candidates
        of one user, repeat the history."""


@runtime_checkable
class HasUserVectors(Protocol):
    """A contender with one vector per user, which the linear probe asks for."""

    def user_vectors(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]
    ) -> NDArray[np.float32]:
        """float32 [b, d]."""


@runtime_checkable
class BuildsOn(Protocol):
    """A contender made of others."""

    without: str | None  # the contender that it would be without the model: the margin against it is always reported

    def build_on(self, fitted: Mapping[str, Contender]) -> None:
        """Called before `fit` with what was fitted on the same split so far, by name."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Events to be foretold, each from everything its user did before it.

    rows int64 [n] of `log`; user, item int32 [n]; action int8 [n]; now_us int64 [n]; device int8 [n];
    histories: what came before; seen_before bool [n]: the item was in the history.
    """

    rows: NDArray[np.int64]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    action: NDArray[np.int8]
    now_us: NDArray[np.int64]
    device: NDArray[np.int8]
    histories: Histories
    seen_before: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Any) -> "Moments":
        return Moments(
            self.rows[index], self.user[index], self.item[index], self.action[index], self.now_us[index],
            self.device[index], self.histories.take(index), self.seen_before[index],
        )  # fmt: skip


class Asked(NamedTuple):
    """The questions of one split: `next_items` at engaged events, `actions` at all events."""

    next_items: Moments
    actions: Moments


def in_time_order(earlier: Dataset, later: Dataset) -> bool:
    """Whether a global cut lies between the two: if not, the later part is the last events of each user."""
    return bool(earlier.events.time_us.max(initial=0) < later.events.time_us.min(initial=np.iinfo(np.int64).max))


def log_of(*parts: Dataset) -> Events:
    """The parts of a split as one log again, sorted by user and time."""
    columns = {
        name: np.concatenate([getattr(part.events, name) for part in parts])
        for name in ("user", "item", "action", "time_us", "duration_ms", "device", "session", "days_to_wedding")
    }
    return Events.of(**columns)


def moments(
    log: Events, held_out: Dataset, *, per_user: int, at_most: int, engaged_only: bool, ties_foretell: bool = False
) -> Moments:
    """The events of `held_out` as moments with their histories in `log`.

    At most `per_user` of a user, evenly spread over those there are, and then at most `at_most` in all, whole users
    left out evenly: every contender meets the same ones. A history ends before the first event of the same user and
    microsecond: simultaneous events do not foretell each other. `ties_foretell` takes the source's order for true
    there, as leave-last-out in the literature does.
    """
    events = held_out.events
    wanted = np.flatnonzero(events.action != SKIP) if engaged_only else np.arange(len(events))
    wanted = _spread(events.user, wanted, per_user)
    chosen = np.unique(events.user[wanted])
    if len(wanted) > at_most:
        share = at_most / len(wanted)
        chosen = chosen[np.floor((np.arange(len(chosen)) + 1) * share) > np.floor(np.arange(len(chosen)) * share)]
        wanted = wanted[np.isin(events.user[wanted], chosen)]
    user, now_us = events.user[wanted], events.time_us[wanted]
    starts = np.searchsorted(log.user, user)
    ends = starts.copy()
    for row, (one, now) in enumerate(zip(user, now_us, strict=True)):
        start, end = np.searchsorted(log.user, [one, one + 1])
        ends[row] = start + np.searchsorted(log.time_us[start:end], now)
    if ties_foretell:  # a user's held-out events are then the last ones of the log
        users = int(max(log.user.max(initial=-1), events.user.max(initial=-1))) + 1
        from_end = events.starts(users)[1:][user] - wanted
        ends = log.starts(users)[1:][user] - from_end
    histories = Histories(log, starts.astype(np.int64), ends.astype(np.int64), user, log)
    seen = np.array(
        [item in log.item[a:b] for item, a, b in zip(events.item[wanted], starts, ends, strict=True)], np.bool_
    )
    return Moments(
        wanted, user, events.item[wanted], events.action[wanted], now_us, events.device[wanted], histories, seen
    )


def _spread(user: NDArray[np.int32], wanted: NDArray[np.int64], per_user: int) -> NDArray[np.int64]:
    """At most `per_user` of the rows of each user, evenly spaced and the last one among them."""
    if not len(wanted):
        return wanted
    users = user[wanted]
    first = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    count = np.diff(np.r_[first, len(users)])
    place = np.arange(len(users)) - np.repeat(first, count)
    n = np.repeat(count, count)
    step = np.minimum(per_user / n, 1.0)
    kept = np.floor((place + 1) * step + 1e-9) > np.floor(place * step + 1e-9)
    return wanted[kept]


def unavailable(dataset: Dataset, now_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Items that did not exist yet, bool [b, items]; all False where the source does not know when items came."""
    return dataset.catalogue.created_us[None, :] > now_us[:, None]


def seen_items(histories: Histories, items: int) -> NDArray[np.bool_]:
    """Items in each history, bool [b, items]."""
    seen = np.zeros((len(histories), items), np.bool_)
    for row, (start, end) in enumerate(zip(histories.starts, histories.ends, strict=True)):
        seen[row, histories.events.item[start:end]] = True
    return seen


def last_events(histories: Histories, k: int) -> Histories:
    """The histories cut to their last k events: what someone who came k events ago would have."""
    starts = np.maximum(histories.starts, histories.ends - k)
    return Histories(histories.events, starts, histories.ends, histories.users, histories.log)


def shuffled(histories: Histories, seed: int, last: int = 512) -> Histories:
    """The same histories with their events in random order: who, what and when stay, but not what came when.

    Times keep their places and everything else is permuted within each history (its last `last` events).
    """
    rng = np.random.default_rng(seed)
    starts = np.maximum(histories.starts, histories.ends - last)
    lengths = histories.ends - starts
    rows = np.repeat(starts, lengths) + _within(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    permuted = rows[np.lexsort((rng.random(len(rows)), owner))]
    kept, moved = histories.events.take(rows), histories.events.take(permuted)
    events = Events(
        kept.user, moved.item, moved.action, kept.time_us, moved.duration_ms, moved.device, moved.session,
        kept.days_to_wedding,
    )  # fmt: skip
    ends = np.cumsum(lengths)
    return Histories(events, ends - lengths, ends, histories.users, histories.log)


def flat(histories: Histories, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The last `last` events of every history in one go: (history, row of `histories.events`, events before the end).

    int64 [m] each; the latest event has 0 events before the end.
    """
    starts = np.maximum(histories.starts, histories.ends - last)
    lengths = histories.ends - starts
    owner = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.repeat(starts, lengths) + _within(lengths)
    return owner, rows, np.repeat(histories.ends, lengths) - 1 - rows


def _within(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … n − 1 for each n of `lengths`, in a row."""
    ends = np.cumsum(lengths)
    return np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
