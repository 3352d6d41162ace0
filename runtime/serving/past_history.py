"""What a user had done before a time, read from their log: for evaluation by replaying it."""

import asyncio
import math

import numpy as np

from runtime.personalization.actions import TYPES
from runtime.serving.resources import Resources
from runtime.store import LoggedInteraction, UserHistory

_LOG_PAGE = 1_000


async def past_history(resources: Resources, user_id: str, at_us: int) -> UserHistory:
    """What the user did before a time with content that exists, by a walk along their log: for evaluation."""
    own: list[LoggedInteraction] = []
    after: int | None = 0
    while after is not None:
        page, after = await resources.store.log(after=after, limit=_LOG_PAGE, user_id=user_id)
        own += [event for event in page if event.time_us < at_us]
        await asyncio.sleep(0)
    there = await resources.store.embeddings(list({event.content_id for event in own}))
    own = sorted((event for event in own if event.content_id in there), key=lambda event: event.time_us)
    return UserHistory(
        content_ids=[event.content_id for event in own],
        action=np.array([TYPES.index(event.type) for event in own], np.int8),
        time_us=np.array([event.time_us for event in own], np.int64),
        duration_ms=np.array(
            [math.nan if event.duration_ms is None else event.duration_ms for event in own], np.float32
        ),
        device=[event.device for event in own],
        context=[event.context for event in own],
    )
