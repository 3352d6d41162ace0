"""Which of a user's interactions made a ranking: the history read in steps that let other requests through."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.contributions import Largest, contributions
from runtime.personalization.user_vector import Sums
from runtime.serving.histories import PAGE, pages
from runtime.store import PastInteraction, Store

# The interactions that are looked at, newest first, and how many are named a candidate.
HISTORY_INTERACTIONS = 4_096
NAMED = 3

# Contributions computed before other requests get their turn: about 5 ms on a slow core.
_STEP_VALUES = 1 << 16


class Reason(NamedTuple):
    """`contribution`: the part of the candidate's score that comes from this interaction."""

    interaction: PastInteraction
    contribution: float


async def explain(
    store: Store,
    user_id: str,
    sums: Sums,
    candidates: NDArray[np.float32],
    *,
    decay_per_day: float,
    at_us: int | None = None,
) -> list[list[Reason]]:
    """For each candidate of unit vectors [m, d] the interactions that contributed most to its score, largest first.

    `sums` are the user's, as of `at_us` if it is given. Deleted and hidden content is not named.
    """
    step = max(16, min(PAGE, _STEP_VALUES // max(len(candidates), 1)))
    largest = Largest(len(candidates), NAMED)
    named: dict[int, PastInteraction] = {}
    async for page in pages(store.history, user_id, most=HISTORY_INTERACTIONS, page=step, at_us=at_us):
        if shown := [past for past in page if not past.hidden]:
            given = contributions(
                np.array([past.strength for past in shown]), np.array([past.time_us for past in shown]),
                np.stack([past.embedding for past in shown]), candidates, sums, decay_per_day=decay_per_day,
            )  # fmt: skip
            largest.add(given, np.array([past.sequence for past in shown]))
            named |= {past.sequence: past for past in shown}
            # Not np.unique, here and elsewhere: without options it imports numpy.ma, 9 MB.
            named = {key: named[key] for key in set(largest.keys.ravel().tolist()) if key >= 0}
    return [
        _reasons(keys, values, named)
        for keys, values in zip(largest.keys.tolist(), largest.values.tolist(), strict=True)
    ]


def _reasons(keys: Sequence[int], values: Sequence[float], named: dict[int, PastInteraction]) -> list[Reason]:
    return [Reason(named[key], value) for key, value in zip(keys, values, strict=True) if key >= 0]
