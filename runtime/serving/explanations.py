"""Which of a user's interactions made a ranking: the history read in steps that let other requests through."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.contributions import Largest, contributions
from runtime.personalization.user_vector import Sums
from runtime.store import PastInteraction, Store

# The interactions that are looked at, newest first, and how many are named a candidate.
HISTORY_INTERACTIONS = 4_096
NAMED = 3

# Contributions computed before other requests get their turn: about 5 ms on a slow core.
_STEP_VALUES = 1 << 16
_STEP_INTERACTIONS = 256


class Reason(NamedTuple):
    """`contribution`: the part of the candidate's score that comes from this interaction."""

    interaction: PastInteraction
    contribution: float


async def explain(
    store: Store, user_id: str, sums: Sums, candidates: NDArray[np.float32], *, decay_per_day: float
) -> list[list[Reason]]:
    """For each candidate of unit vectors [m, d] the interactions that contributed most to its score, largest first.

    `sums` are the user's. Deleted and hidden content is not named.
    """
    step = max(16, min(_STEP_INTERACTIONS, _STEP_VALUES // max(len(candidates), 1)))
    largest = Largest(len(candidates), NAMED)
    named: dict[int, PastInteraction] = {}
    before, read = None, 0
    while read < HISTORY_INTERACTIONS:
        page = await store.history(user_id, before=before, limit=step)
        if shown := [past for past in page if not past.hidden]:
            parts = contributions(
                [past.type for past in shown], np.array([past.time_us for past in shown]),
                np.stack([past.embedding for past in shown]), candidates, sums, decay_per_day=decay_per_day,
            )  # fmt: skip
            largest.add(parts, np.array([past.sequence for past in shown]))
            named |= {past.sequence: past for past in shown}
            # Not np.unique, here and elsewhere: without options it imports numpy.ma, 9 MB.
            named = {key: named[key] for key in set(largest.keys.ravel().tolist()) if key >= 0}
        if len(page) < step:
            break
        before, read = page[-1].sequence, read + len(page)
        await asyncio.sleep(0)
    return [
        _reasons(keys, values, named)
        for keys, values in zip(largest.keys.tolist(), largest.values.tolist(), strict=True)
    ]


def _reasons(keys: Sequence[int], values: Sequence[float], named: dict[int, PastInteraction]) -> list[Reason]:
    return [Reason(named[key], value) for key, value in zip(keys, values, strict=True) if key >= 0]
