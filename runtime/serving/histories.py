"""A user's interactions, newest first, read in pages that let other requests through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Protocol, TypeVar

from runtime.store import PastInteraction, Seen

PAGE = 256

T = TypeVar("T", Seen, PastInteraction)


class Read(Protocol[T]):
    """`Store.seen` or `Store.history`."""

    def __call__(self, user_id: str, *, before: int | None, limit: int) -> Awaitable[list[T]]: ...


async def pages(read: Read[T], user_id: str, *, most: int, page: int = PAGE) -> AsyncIterator[list[T]]:
    """Pages of at most `page` interactions, until the history ends or `most` were read (rounded up to a page)."""
    before, count = None, 0
    while count < most:
        found = await read(user_id, before=before, limit=page)
        if found:
            yield found
        if len(found) < page:
            return
        before, count = found[-1].sequence, count + len(found)
        await asyncio.sleep(0)
