"""Query contexts: the held-out events that every model predicts, each with its user, time, device and history."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Events, Histories
from training.data.split import Split, in_time_order, log_of

COLD_STARTS = (0, 1, 3, 5, 10)  # lengths that histories are cut to


@dataclass(frozen=True, eq=False)
class Queries:
    """n held-out events to predict, each from what its user did before it.

    rows         int64 [n], rows of the held-out part
    user, item   int32 [n]; the item is the target
    action       int8 [n], the target of action prediction
    now_us       int64 [n]
    device       int8 [n]
    histories    the events before each
    seen_before  bool [n]: the item occurs in the history
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

    def take(self, index: Any) -> "Queries":
        """The queries at an index array, a mask or a slice."""
        return Queries(
            self.rows[index], self.user[index], self.item[index], self.action[index], self.now_us[index],
            self.device[index], self.histories.take(index), self.seen_before[index],
        )  # fmt: skip


@dataclass(frozen=True)
class QueryBudget:
    """How many queries every model answers: at most `ranking` and `actions` in total, and so many per user."""

    ranking: int = 4_000
    ranking_per_user: int = 10
    actions: int = 8_000
    actions_per_user: int = 40


@dataclass(frozen=True, eq=False)
class EvaluationQueries:
    """The queries of one split: `ranking` at engaged events, `actions` at all events.

    warm     bool [ranking]: the target item had an engaged event before the test part
    long     bool [ranking]: the history has at least the longest of COLD_STARTS
    repeats  users of this data set engage with the same item more than once
    """

    dataset: Dataset
    ranking: Queries
    actions: Queries
    warm: NDArray[np.bool_]
    long: NDArray[np.bool_]
    repeats: bool

    @classmethod
    def of(cls, split: Split, budget: QueryBudget) -> "EvaluationQueries":
        """The queries of the test part, with everything before each as its history."""
        log = log_of(*split)
        in_source_order = not in_time_order(split.validation, split.test)
        ranking = sample_queries(
            log, split.test, per_user=budget.ranking_per_user, at_most=budget.ranking, engaged_only=True,
            source_order_breaks_ties=in_source_order,
        )  # fmt: skip
        actions = sample_queries(
            log, split.test, per_user=budget.actions_per_user, at_most=budget.actions, engaged_only=False,
            source_order_breaks_ties=in_source_order,
        )  # fmt: skip
        known = np.zeros(len(split.train.catalogue), np.bool_)
        for part in (split.train, split.validation):
            known[part.events.item[part.events.action != SKIP]] = True
        length = ranking.histories.ends - ranking.histories.starts
        return cls(
            split.train, ranking, actions, known[ranking.item], length >= COLD_STARTS[-1], repeats_happen(split.train)
        )


def sample_queries(
    log: Events,
    held_out: Dataset,
    *,
    per_user: int,
    at_most: int,
    engaged_only: bool,
    source_order_breaks_ties: bool = False,
) -> Queries:
    """The events of `held_out` as queries with their histories in `log`.

    At most `per_user` of a user, evenly spaced, and then at most `at_most` in total, dropping whole users evenly. The
    choice is deterministic: every model gets the same queries. A history ends before the first event of the same user
    and microsecond, so simultaneous events do not predict each other. With `source_order_breaks_ties` the order of the
    source counts there, as is usual for leave-last-out.
    """
    events = held_out.events
    wanted = np.flatnonzero(events.action != SKIP) if engaged_only else np.arange(len(events))
    wanted = _evenly_spaced(events.user, wanted, per_user)
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
    if source_order_breaks_ties:  # a user's held-out events are then the last ones of the log
        users = int(max(log.user.max(initial=-1), events.user.max(initial=-1))) + 1
        from_end = events.starts(users)[1:][user] - wanted
        ends = log.starts(users)[1:][user] - from_end
    histories = Histories(log, starts.astype(np.int64), ends.astype(np.int64), user, log)
    seen = np.array(
        [item in log.item[a:b] for item, a, b in zip(events.item[wanted], starts, ends, strict=True)], np.bool_
    )
    return Queries(
        wanted, user, events.item[wanted], events.action[wanted], now_us, events.device[wanted], histories, seen
    )


def _evenly_spaced(user: NDArray[np.int32], wanted: NDArray[np.int64], per_user: int) -> NDArray[np.int64]:
    """At most `per_user` of the rows of each user, evenly spaced, the last one included."""
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


def repeats_happen(dataset: Dataset) -> bool:
    """Whether more than one engaged event in a hundred repeats an earlier pair of user and item."""
    events = dataset.events
    engaged = events.action != SKIP
    pairs = events.user[engaged].astype(np.int64) * len(dataset.catalogue) + events.item[engaged]
    return len(np.unique(pairs)) < 0.99 * len(pairs)


def unavailable(dataset: Dataset, now_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Items that did not exist yet, bool [b, items]; all False where the source has no creation times."""
    return dataset.catalogue.created_us[None, :] > now_us[:, None]


def seen_items(histories: Histories, items: int) -> NDArray[np.bool_]:
    """Items that occur in each history, bool [b, items]."""
    seen = np.zeros((len(histories), items), np.bool_)
    for row, (start, end) in enumerate(zip(histories.starts, histories.ends, strict=True)):
        seen[row, histories.events.item[start:end]] = True
    return seen


def last_events(histories: Histories, k: int) -> Histories:
    """The histories cut to their last k events, as if the user had arrived k events ago."""
    starts = np.maximum(histories.starts, histories.ends - k)
    return Histories(histories.events, starts, histories.ends, histories.users, histories.log)


def shuffled(histories: Histories, seed: int, last: int = 512) -> Histories:
    """The same histories with their events in random order.

    Times keep their places; item, action, duration, device and session are permuted together within each history (its
    last `last` events). What a model loses on these is what it gains from order.
    """
    rng = np.random.default_rng(seed)
    starts = np.maximum(histories.starts, histories.ends - last)
    lengths = histories.ends - starts
    rows = np.repeat(starts, lengths) + _counting(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    permuted = rows[np.lexsort((rng.random(len(rows)), owner))]
    kept, moved = histories.events.take(rows), histories.events.take(permuted)
    names = ("item", "action", "duration_ms", "device", "session")
    events = replace(kept, **{name: getattr(moved, name) for name in names})
    ends = np.cumsum(lengths)
    return Histories(events, ends - lengths, ends, histories.users, histories.log)


def flat(histories: Histories, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The last `last` events of every history as flat arrays: (history, row of `histories.events`, age).

    int64 [m] each; age counts events from the latest, which has 0.
    """
    starts = np.maximum(histories.starts, histories.ends - last)
    lengths = histories.ends - starts
    owner = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.repeat(starts, lengths) + _counting(lengths)
    return owner, rows, np.repeat(histories.ends, lengths) - 1 - rows


def _counting(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … n − 1 for each n of `lengths`, concatenated."""
    ends = np.cumsum(lengths)
    return np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
