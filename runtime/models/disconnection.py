"""Clients that leave while their texts are in the queue: nobody waits for the answer any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

CHECK_CLIENT_EVERY_S = 0.05

# Whether the client has left; called while its texts are in the queue.
Disconnected = Callable[[], Awaitable[bool]]


class ClientDisconnected(Exception):
    """Nobody waits for the answer any more; its texts were taken out of the queue."""


async def never_disconnected() -> bool:
    """For work whose answer is wanted even if its client has left."""
    return False


async def watched(future: "asyncio.Future[T]", disconnected: Disconnected) -> T:
    """What a future gives, taken out of the queue when its client leaves. Raises ClientDisconnected, or what it raises.

    The future itself is awaited: asyncio.wait would take a turn of the event loop more, and most end before the first
    look at the client.
    """
    looking: list[asyncio.Task[None]] = []
    timer = asyncio.get_running_loop().call_later(
        CHECK_CLIENT_EVERY_S, lambda: looking.append(asyncio.ensure_future(_end_when_left(future, disconnected)))
    )
    try:
        return await future
    finally:
        timer.cancel()
        for task in looking:
            task.cancel()


async def _end_when_left(future: "asyncio.Future[T]", disconnected: Disconnected) -> None:
    while not future.done():
        if await disconnected() and not future.done():
            future.set_exception(ClientDisconnected())
        await asyncio.sleep(CHECK_CLIENT_EVERY_S)
