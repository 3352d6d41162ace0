"""What a user would do with each candidate, by the sequence model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from runtime.personalization.actions import TYPES, InteractionType
from runtime.serving.candidates import Candidate, find
from runtime.serving.resources import Resources
from runtime.serving.user_vectors import sequence_user


class NextActions(NamedTuple):
    """probabilities: one entry a candidate, in order; None for an id that is not stored. events: how many of the user's
    newest events were read. source: what the answer is made of, history, preferences, or none. fallback: why the
    user's own rates answer in place of the sequence model."""

    model_version: str
    source: str
    events: int
    probabilities: list[dict[InteractionType, float] | None]
    unknown: list[str]
    fallback: str | None = None


RATES = "action-rates-v1"  # the public model_version of how often the user did each action


async def next_actions(
    resources: Resources, user_id: str, candidates: Sequence[Candidate], device: str | None
) -> NextActions:
    """The probability of each action, should the candidate be shown now.

    Raises NotInstalled, QueueFull or InvalidVector.
    """
    served = resources.sequence.require()
    if (foreign := served.known.fallback) is not None:
        return await _own_rates(resources, user_id, candidates, served.model.max_events, foreign)
    async with resources.sequence.turn():
        user = await sequence_user(resources, user_id, device)
        found = find(resources.catalog, candidates)
        rows = (await resources.sequence.actions(user.served, user.now, found)).tolist() if len(found.ids) else []
    probabilities: list[dict[InteractionType, float] | None] = [None] * len(candidates)
    for position, row in zip(found.known.tolist(), rows, strict=True):
        probabilities[position] = dict(zip(TYPES, row, strict=True))
    return NextActions(user.model_version, user.source, user.events, probabilities, found.unknown_ids)


async def _own_rates(
    resources: Resources, user_id: str, candidates: Sequence[Candidate], most: int, fallback: str
) -> NextActions:
    """The same for every candidate: how often the user did each action, every action counted once more, so that none is
    impossible (Laplace's rule)."""
    stored = await resources.store.newest(user_id, most)
    found = find(resources.catalog, candidates)
    counts = np.bincount(stored.action, minlength=len(TYPES)) + 1.0
    row = dict(zip(TYPES, (counts / counts.sum()).tolist(), strict=True))
    probabilities: list[dict[InteractionType, float] | None] = [None] * len(candidates)
    for position in found.known.tolist():
        probabilities[position] = row
    events = len(stored.action)
    return NextActions(RATES, "history" if events else "none", events, probabilities, found.unknown_ids, fallback)
