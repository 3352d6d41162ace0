"""Features of what a user does with an item that is shown to them, written once for training and serving.

They stand beside those of ranking (`ranking_features`). What a log says of its items is a small table in the bundle; a
user's side follows from their newest HISTORY_EVENTS, so the cost of an answer does not grow with the history.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization import ranking_features
from runtime.personalization.actions import TYPES
from runtime.personalization.sequence_features import DEVICES

PENALTIES = (3.0, 30.0)  # of the user's ridge regression

_PRIOR = 4.0  # pseudo-counts of the shares that counts are shrunk to
_RECENT_HALF_LIFE = 4.0  # events
_LONG_GAP_US = 30 * 86_400_000_000  # stands for no event before
_HOUR_US = 3_600_000_000
_NONE = len(TYPES)  # in place of an action


def _each(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{action}" for action in TYPES)


# Columns of the features beside those of ranking. Bundles name them, so that another version's are refused.
OWN_NAMES = (
    *_each("log_user"),  # log of the user's shares of actions, shrunk to everybody's
    *_each("log_recent"),  # of their last few events, shrunk to all of theirs
    *_each("log_item"),  # of everybody's on this item
    *(f"on_item_{name}" for name in (*TYPES, "none")),  # what the user did with the item last
    *(f"last_{name}" for name in (*TYPES, "none")),  # what they did last, with any item
    *(f"expected_{penalty:g}" for penalty in PENALTIES),  # see `_expected`
    "log_gap",  # log(1 + seconds since their last event)
    "hour_cos",
    "hour_sin",
    *(f"device_{name}" for name in DEVICES),
    "days_to_event",  # in hundreds, 0 unknown
    "days_unknown",
    "log_events",  # log(1 + their events, up to HISTORY_EVENTS)
)
NAMES = (*ranking_features.NAMES, *OWN_NAMES)

Features = NDArray[np.float32]  # [n, len(NAMES)]
Floats = NDArray[np.float64]


class ItemTable(NamedTuple):
    """What a log says of its items: made to be mapped.

    values: float16 [items, 1 + 4 + d]: the item's mean step of the action scale beyond everybody's, the logarithms of
    its shares of actions, and d factors of which the first is 1. shares: float32 [4], everybody's. mean: of the steps.
    basis: float32 [t, 384 + 1]: makes the factors 1 to t of an item that the table lacks from its content vector and 1.
    """

    values: NDArray[np.float16]
    shares: NDArray[np.float32]
    mean: float
    basis: NDArray[np.float32]

    def of(self, rows: NDArray[np.integer], vectors: NDArray[np.float32] | None) -> Floats:
        """float64 [n, 1 + 4 + d]; for a row of −1 what its vector [n, 384] says, a zero one saying nothing."""
        found = self.values[rows.clip(min=0)].astype(np.float64)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            found[missing] = 0.0
            found[missing, 1:5] = np.log(self.shares)
            found[missing, 5] = 1.0
            if vectors is not None and len(self.basis):
                described = np.abs(vectors[missing]).sum(axis=1) > 0
                made = vectors[missing].astype(np.float64) @ self.basis[:, :-1].T + self.basis[:, -1]
                found[missing, 6 : 6 + len(self.basis)] = made * described[:, np.newaxis]
        table: Floats = found
        return table


class ActionHistory(NamedTuple):
    """A user's newest events with items that exist, oldest first, at most HISTORY_EVENTS.

    rows: int64 [m], in the numbering of the candidates' rows, −1 for none. table_rows: int [m] of the item table, −1
    for an item that it lacks. action: int8 [m]. time_us: int64 [m].
    """

    rows: NDArray[np.int64]
    table_rows: NDArray[np.integer]
    action: NDArray[np.int8]
    time_us: NDArray[np.int64]


class Context(NamedTuple):
    """When and where the item is shown. device: a code. days_to_event: NaN unknown."""

    now_us: int
    device: int
    days_to_event: float


def features(
    ranking: ranking_features.Features,
    *,
    rows: NDArray[np.integer],
    table_rows: NDArray[np.integer],
    vectors: NDArray[np.float32] | None,
    history: ActionHistory,
    table: ItemTable,
    context: Context,
) -> Features:
    """float32 [n, len(NAMES)] of n candidates, whose ranking features are `ranking`.

    rows, table_rows: of the candidates, [n], as those of the history. vectors: theirs, [n, 384], for those that the
    table lacks; None where it has all.
    """
    user = _shrunk(_counts(history.action), table.shares)
    fading = np.exp2(-np.arange(len(history.action))[::-1] / _RECENT_HALF_LIFE)
    recent = _shrunk(_counts(history.action, fading), user)
    items = table.of(table_rows, vectors)
    had = len(history.action) > 0
    gap_us = max(0, context.now_us - int(history.time_us[-1])) if had else _LONG_GAP_US
    angle = context.now_us % (24 * _HOUR_US) / (24 * _HOUR_US) * 2 * np.pi
    known = not np.isnan(context.days_to_event)
    after = [  # of the user and the context: the same for all candidates
        np.log1p(gap_us / 1e6), np.cos(angle), np.sin(angle), *np.eye(len(DEVICES))[context.device],
        context.days_to_event / 100 if known else 0.0, not known, np.log1p(len(history.action)),
    ]  # fmt: skip
    n = len(rows)
    last = int(history.action[-1]) if had else _NONE
    columns: list[NDArray[np.floating]] = [
        ranking,
        _repeated(np.concatenate([np.log(user), np.log(recent)]), n),
        items[:, 1:5],
        np.eye(_NONE + 1)[_last_on(rows, history)],
        _repeated(np.eye(_NONE + 1)[last], n),
        _expected(items, history, table),
        _repeated(np.array(after, np.float64), n),
    ]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def _expected(items: Floats, history: ActionHistory, table: ItemTable) -> Floats:
    """How far along the scale from skip to share the user goes with each candidate beyond everybody's mean: the item's
    own mean, and a ridge regression of the user's residuals on the items' factors. [n, penalties]."""
    factors = items[:, 5:]
    known = history.table_rows >= 0
    of_history = table.of(history.table_rows[known], None)
    x = of_history[:, 5:]
    pull = (history.action[known] - table.mean - of_history[:, 0]) @ x
    gram = x.T @ x
    solved = [np.linalg.solve(gram + penalty * np.eye(len(gram)), pull) for penalty in PENALTIES]
    return np.stack([factors @ weights + items[:, 0] for weights in solved], axis=1)


def _last_on(rows: NDArray[np.integer], history: ActionHistory) -> NDArray[np.int64]:
    """What the user did last with each candidate, a code; _NONE where nothing."""
    order = np.argsort(history.rows, kind="stable")
    ordered = history.rows[order]
    at = np.searchsorted(ordered, rows, side="right") - 1  # the last of equals
    met = (at >= 0) & (rows >= 0)
    met[met] = ordered[at[met]] == rows[met]
    found = np.full(len(rows), _NONE)
    found[met] = history.action[order[at[met]]]
    return found


def _counts(action: NDArray[np.int8], weights: Floats | None = None) -> Floats:
    counts: Floats = np.bincount(action, weights, minlength=len(TYPES)).astype(np.float64)
    return counts


def _shrunk(counts: Floats, shares: NDArray[np.floating]) -> Floats:
    smoothed = counts + _PRIOR * shares
    result: Floats = smoothed / smoothed.sum()
    return result


def _repeated(values: Floats, n: int) -> Floats:
    return np.broadcast_to(values, (n, len(values)))
