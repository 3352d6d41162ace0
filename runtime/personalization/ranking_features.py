"""The hybrid ranker's features of a user, a candidate and a query context, written once for training and serving.

Every number is constant-time or follows from a bounded part of the history. Which are kept is decided by ablations on
public logs (docs/decisions/017).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization import popularity
from runtime.personalization.actions import TYPES

# Columns of the features. Bundles name them, so that a bundle of other features is refused, not misread.
NAMES = (
    "simple",  # cosine with the simple model's user vector; 0 without history or preferences
    "last",  # cosine with the item engaged with last
    "count_hour",  # log(1 + decayed count), one a half-life: tells many from some
    "count_day",
    "count_month",
    "count_year",
    "trace_hour",  # log(0.01 + decayed count): tells some from none
    "trace_day",
    "trace_month",
    "trace_year",
    "unmet",  # 1 where nobody has engaged with the item
    "own",  # log(1 + the user's engaged events with the item), among their newest HISTORY_EVENTS
    "own_saves",
    "own_shares",
    "own_skips",
    "own_recent",  # Σ 2^(−place / 4) over them, place counted in engaged events from the newest
    "together_last",  # neighbours of what was engaged with last: see neighbours.SUMS
    "together",
    "linear",
    "follows_last",
    "follows",
    "beside_last",  # log(1 + share / 0.03) among what came right before or after what was engaged with last
)
# Where a sequence model is served that the ranker was fitted beside: its cosine of the user's vector and the item's.
SEQUENCE = "sequence"
NAMES_WITH_SEQUENCE = (*NAMES, SEQUENCE)
SEQUENCE_COLUMN = len(NAMES)
_OWN, _OWN_SKIPS = NAMES.index("own"), NAMES.index("own_skips")
# What the user did with the candidate itself: 0 for one that they have not met.
OWN_NAMES = NAMES[_OWN : NAMES.index("own_recent") + 1]

# The user's newest events that are looked at.
HISTORY_EVENTS = 256

_SKIP, _VIEW, _SAVE, _SHARE = (TYPES.index(name) for name in ("skip", "view", "save", "share"))
_FEW = 0.01  # keeps the logarithm of no events finite; tuned on Deskdrop and ML-100K
_HALF_LIFE_PLACES = 4.0
_FEW_BESIDE = 0.03  # a share well below it counts as it is, one well above by its logarithm

Features = NDArray[np.float32]  # [n, len(NAMES)], or len(NAMES_WITH_SEQUENCE)


class History(NamedTuple):
    """A user's newest events, oldest first. rows: int64 [m], the items' rows among those the candidates' rows are from,
    −1 for an item that has none; action: int8 [m], positions in TYPES."""

    rows: NDArray[np.int64]
    action: NDArray[np.int8]

    @property
    def engaged(self) -> NDArray[np.int64]:
        """Rows of the engaged events, the newest first."""
        newest_first: NDArray[np.int64] = self.rows[self.action != _SKIP][::-1]
        return newest_first


def features(
    *,
    now_us: int,
    rows: NDArray[np.integer],
    counts: popularity.Counts,
    history: History,
    simple: NDArray[np.float32] | None,
    last: NDArray[np.float32] | None,
    near: NDArray[np.float32] | None,
    sequence: NDArray[np.float32] | None = None,
) -> Features:
    """float32 [n, len(NAMES)] of n candidates, or with `sequence` [n, len(NAMES_WITH_SEQUENCE)].

    rows: of the candidates, [n], −1 for one that is not in the catalogue. counts: theirs, [n, half-lives].
    simple, last, sequence: cosines [n], None without such a vector. near: [n, 6] of neighbours.neighbour_sums, None
    without a table.
    """
    made = np.zeros((len(rows), len(NAMES) + (sequence is not None)), np.float32)
    if simple is not None:
        made[:, 0] = simple
    if last is not None:
        made[:, 1] = last
    decayed = popularity.decayed(counts, now_us).astype(np.float32)  # whose logarithms take a third of the time
    np.log(decayed + np.float32(1), out=made[:, 2:6])
    np.log(decayed + np.float32(_FEW), out=made[:, 6:10])
    made[:, 10] = counts[:, -1] == -np.inf
    _add_own(made[:, 11:16], rows, history)
    if near is not None:
        made[:, 16:SEQUENCE_COLUMN] = near
        beside = made[:, SEQUENCE_COLUMN - 1]
        np.log1p(beside / np.float32(_FEW_BESIDE), out=beside)
    if sequence is not None:
        made[:, SEQUENCE_COLUMN] = sequence
    return made


def met(made: Features) -> NDArray[np.bool_]:
    """Whether the user did something with each candidate, among their newest HISTORY_EVENTS: [n]."""
    found: NDArray[np.bool_] = (made[:, _OWN] > 0) | (made[:, _OWN_SKIPS] > 0)
    return found


def _add_own(made: NDArray[np.float32], rows: NDArray[np.integer], history: History) -> None:
    """Fill [n, 5] with what the user did with each candidate."""
    if not len(history.rows) or not len(rows):
        return
    # Sorted once and searched, so that the cost follows from candidates and events, not from the catalogue
    order = np.argsort(rows)
    ordered = rows[order]
    at = np.minimum(np.searchsorted(ordered, history.rows), len(rows) - 1)
    met = np.flatnonzero((ordered[at] == history.rows) & (history.rows >= 0))
    if not len(met):
        return
    engaged = history.action != _SKIP
    place = (np.cumsum(engaged[::-1])[::-1] - 1)[met]  # 0 for the newest engaged event
    action, engaged = history.action[met], engaged[met]
    weights = np.empty((len(met), 5), np.float32)
    weights[:, 0] = engaged
    weights[:, 1] = action == _SAVE
    weights[:, 2] = action == _SHARE
    weights[:, 3] = ~engaged
    weights[:, 4] = engaged * np.exp2(-place / _HALF_LIFE_PLACES)
    # Only what was met is touched: of a whole catalogue that is little
    touched = order[at[met]]
    np.add.at(made, touched, weights)
    made[touched, :4] = np.log1p(made[touched, :4])
    if (ordered[1:] == ordered[:-1]).any():
        # A candidate given twice: one of the equals was found, and the others are like it
        made[order] = made[order[np.searchsorted(ordered, ordered)]]
