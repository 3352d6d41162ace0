"""What a user would do with each candidate, by the site's own model of the next action or by the sequence model."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.models.ranker import LoadedNextAction, LoadedRanker
from runtime.personalization.action_features import ActionHistory, Context, features
from runtime.personalization.actions import TYPES, InteractionType
from runtime.personalization.next_action import own_rates
from runtime.personalization.ranking_features import HISTORY_EVENTS
from runtime.personalization.sequence_features import days_to_event, device_code
from runtime.serving.candidates import Candidate, Candidates, find
from runtime.serving.hybrid import hybrid_features
from runtime.serving.hybrid_user import hybrid_user
from runtime.serving.past_history import past_history
from runtime.serving.resources import Resources
from runtime.serving.sequence import NotInstalled
from runtime.serving.user_vectors import SequenceUser, preference_embedding, read_sequence_user
from runtime.store import UserHistory

Probabilities = NDArray[np.float32]  # [k, 4] in the order of TYPES

RATES = "action-rates-v1"  # the public model_version of how often the user did each action


class NextActions(NamedTuple):
    """probabilities: one entry a candidate, in order; None for an id that is not stored. events: how many of the user's
    newest events were read. source: what the answer is made of, history, preferences, or none. fallback: why the
    user's own rates answer in place of a model."""

    model_version: str
    source: str
    events: int
    probabilities: list[dict[InteractionType, float] | None]
    unknown: list[str]
    fallback: str | None = None


async def next_actions(
    resources: Resources,
    user_id: str,
    candidates: Sequence[Candidate],
    device: str | None,
    at_us: int | None = None,
) -> NextActions:
    """The probability of each action, should the candidate be shown now, or at another time: then from events before
    it alone.

    By the model of the next action in the ranker's bundle, together with the sequence model that it was fitted with
    where that one is served; without such a bundle by the sequence model; and without either by the user's own rates.
    Raises DeadlineExceeded, QueueFull, InvalidVector or StoreError.
    """
    ranker = resources.ranker.served
    own, lacking = ranker.next_action, _lacking(resources)
    if own is None and lacking is not None:
        return await _by_own_rates(resources, user_id, candidates, at_us, lacking)
    async with resources.sequence.turn():  # so that what one request holds is held once
        past = None if at_us is None else (await past_history(resources, user_id, at_us), at_us)
        sequence = None
        if lacking is None and (own is None or ranker.stacks_on(resources.sequence.require().model)):
            preferred = await preference_embedding(resources, user_id)
            sequence = await read_sequence_user(resources, user_id, device, preferred, past=past)
        if own is None:
            assert sequence is not None
            found = find(resources.catalog, candidates)
            rows = await _by_sequence(resources, sequence, found, await found.metadata(resources.catalog))
            return _answer(sequence.model_version, sequence.source, sequence.events, found, rows)
        return await _by_own_model(resources, ranker, own, user_id, candidates, device, past, sequence)


async def _by_own_model(
    resources: Resources,
    ranker: LoadedRanker,
    own: LoadedNextAction,
    user_id: str,
    candidates: Sequence[Candidate],
    device: str | None,
    past: tuple[UserHistory, int] | None,
    sequence: SequenceUser | None,
) -> NextActions:
    catalog = resources.catalog
    stored = await resources.store.newest(user_id, HISTORY_EVENTS) if past is None else past[0]
    stored = stored.last(HISTORY_EVENTS)
    user = await hybrid_user(resources, user_id, None if past is None else past[1])
    # Rows hold until something is awaited, so everything that goes by rows comes first
    found = find(catalog, candidates)
    rows, table_rows = found.rows, ranker.rows(found.ids)
    table_rows[rows < 0] = -1
    history = ActionHistory(
        catalog.rows_of(stored.content_ids), ranker.rows(stored.content_ids), stored.action, stored.time_us
    )
    ranking, _, metadata = await hybrid_features(resources, user, found)
    assert metadata is not None
    made = features(
        ranking, rows=rows, table_rows=table_rows, vectors=metadata, history=history, table=own.table,
        context=_context(stored, user.now_us, device, own.days_to_event_key),
    )  # fmt: skip
    by_sequence = None if sequence is None else await _by_sequence(resources, sequence, found, metadata)
    name = ranker.ranker.version if sequence is None else f"{ranker.ranker.version}+{sequence.model_version}"
    source = "history" if len(stored.action) else "preferences" if user.source == "preferences" else "none"
    return _answer(name, source, len(stored.action), found, own.model.probabilities(made, by_sequence))


async def _by_sequence(
    resources: Resources, user: SequenceUser, found: Candidates, metadata: NDArray[np.float32]
) -> Probabilities:
    if not len(found.ids):
        return np.zeros((0, len(TYPES)), np.float32)
    assert user.now is not None
    return await resources.sequence.actions(user.served, user.now, found.ids, metadata)


async def _by_own_rates(
    resources: Resources, user_id: str, candidates: Sequence[Candidate], at_us: int | None, fallback: str
) -> NextActions:
    """The same for every candidate."""
    if at_us is None:
        stored = await resources.store.newest(user_id, HISTORY_EVENTS)
    else:
        stored = (await past_history(resources, user_id, at_us)).last(HISTORY_EVENTS)
    found = find(resources.catalog, candidates)
    rows = np.tile(own_rates(stored.action), (len(found.ids), 1))
    events = len(stored.action)
    return _answer(RATES, "history" if events else "none", events, found, rows, fallback)


def _lacking(resources: Resources) -> str | None:
    """Why there is no sequence model to answer; None where there is one."""
    try:
        return resources.sequence.require().known.fallback
    except NotInstalled as error:
        return str(error)


def _context(stored: UserHistory, now_us: int, device: str | None, key: str) -> Context:
    """On a device, or else the user's last one."""
    if not len(stored.action):
        return Context(now_us, device_code(device), math.nan)
    return Context(
        now_us,
        device_code(stored.device[-1] if device is None else device),
        float(np.float32(days_to_event(stored.context[-1], key))),
    )


def _answer(
    name: str,
    source: str,
    events: int,
    found: Candidates,
    rows: NDArray[np.floating],
    fallback: str | None = None,
) -> NextActions:
    probabilities: list[dict[InteractionType, float] | None] = [None] * len(found.all_ids)
    for position, row in zip(found.known.tolist(), rows.tolist(), strict=True):
        probabilities[position] = dict(zip(TYPES, row, strict=True))
    return NextActions(name, source, events, probabilities, found.unknown_ids, fallback)
