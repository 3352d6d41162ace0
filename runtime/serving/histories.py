"""A user's interactions, newest first, read in pages that let other requests through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol, TypeVar

from runtime.serving.resources import Resources
from runtime.store import PastInteraction, Seen, UserState

PAGE = 256

T = TypeVar("T", Seen, PastInteraction)


class Read(Protocol[T]):
    """`Store.seen` or `Store.history`."""

    def __call__(self, user_id: str, *, before: int | None, limit: int) -> Awaitable[list[T]]: ...


def reading(resources: Resources, user: UserState | None) -> AbstractAsyncContextManager[None]:
    """Hold it while a user's history is read: it waits for others' long ones, unless this one is a page and needs no
    more memory than any request. Raises DeadlineExceeded."""
    if user is None or user.interaction_count <= PAGE:
        return nullcontext()
    return resources.history_turn.hold()


async def pages(
    read: Read[T], user_id: str, *, most: int, page: int = PAGE, at_us: int | None = None
) -> AsyncIterator[list[T]]:
    """Pages of at most `page` interactions, until the history ends or `most` were read (rounded up to a page). at_us:
    of those before this time alone."""
    before, count = None, 0
    while count < most:
        found = await read(user_id, before=before, limit=page)
        if past := found if at_us is None else [one for one in found if one.time_us < at_us]:
            yield past
        if len(found) < page:
            return
        before, count = found[-1].sequence, count + len(past)
        await asyncio.sleep(0)
