"""What a user would do with each candidate, by the sequence model."""

from collections.abc import Sequence
from typing import NamedTuple

from runtime.personalization.actions import TYPES, InteractionType
from runtime.serving.candidates import Candidate, find
from runtime.serving.resources import Resources
from runtime.serving.user_vectors import sequence_user


class NextActions(NamedTuple):
    """probabilities: one entry a candidate, in order; None for an id that is not stored. events: how many of the user's
    newest events were read. source: what the answer is made of, history, preferences, or none."""

    model_version: str
    source: str
    events: int
    probabilities: list[dict[InteractionType, float] | None]
    unknown: list[str]


async def next_actions(
    resources: Resources, user_id: str, candidates: Sequence[Candidate], device: str | None
) -> NextActions:
    """The probability of each action, should the candidate be shown now.

    Raises NotInstalled, QueueFull or InvalidVector.
    """
    async with resources.sequence.turn():
        user = await sequence_user(resources, user_id, device)
        found = find(resources.catalog, candidates)
        rows = (await resources.sequence.actions(user.served, user.now, found)).tolist() if len(found.ids) else []
    probabilities: list[dict[InteractionType, float] | None] = [None] * len(candidates)
    for position, row in zip(found.known.tolist(), rows, strict=True):
        probabilities[position] = dict(zip(TYPES, row, strict=True))
    return NextActions(user.model_version, user.source, user.events, probabilities, found.unknown_ids)
