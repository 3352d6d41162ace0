"""Waiting in an event loop for what the writer's thread does, with a deadline."""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Waits:
    """All waits of one loop for a write. They share one timer: asyncio.timeout and wrap_future would each make objects
    for every write, and take longer than what they wait for."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines: dict[asyncio.Future[None], float] = {}  # in the order of time
        self._timer: asyncio.TimerHandle | None = None

    async def until_done(self, future: "Future[T]") -> T:
        """Its result. Raises what it raised, or TimeoutError after `timeout_s`. A write whose waiter has gone is not
        begun."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._deadlines, self._timer = loop, {}, None
        waiter: asyncio.Future[None] = loop.create_future()
        self._deadlines[waiter] = loop.time() + self.timeout_s
        if self._timer is None:
            self._timer = loop.call_later(self.timeout_s, self._expire)

        def done(_: "Future[T]") -> None:
            with suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(_release, waiter)

        future.add_done_callback(done)
        try:
            await waiter
        except BaseException:
            future.cancel()
            raise
        finally:
            self._deadlines.pop(waiter, None)
        return future.result()

    def _expire(self) -> None:
        assert self._loop is not None
        self._timer, now = None, self._loop.time()
        for waiter, deadline in self._deadlines.items():
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._expire)
                return
            if not waiter.done():
                waiter.set_exception(TimeoutError())


def _release(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
