"""The one thread that runs the sequence model, and who may use it when."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from runtime.models.scheduler import QueueFull
from runtime.models.worker_pool import DeadlineExceeded
from runtime.serving.turns import TIMEOUT_S, acquire

MAX_WAITING = 64  # runs, and requests, that wait for the thread; beyond it: 503

T = TypeVar("T")


class SequenceThread:
    """Runs calls one after the other. Event-loop thread only."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._waiting = 0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sequence")
        self._turn = asyncio.Lock()
        self._in_line = 0

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """What the call returns. Raises QueueFull or DeadlineExceeded."""
        if self._waiting >= MAX_WAITING:
            raise QueueFull(f"{self._waiting} requests wait for the sequence model, the limit; try again")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._executor, call, *arguments)
        except TimeoutError:
            raise DeadlineExceeded(f"the sequence model did not answer for {self._timeout_s:g} s; try again") from None
        finally:
            self._waiting -= 1

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold it while vectors of a history or of candidates are read and the model runs on them: one thread runs it
        anyway, and so the memory of one request's vectors is all that many need. Raises QueueFull or
        DeadlineExceeded."""
        if self._in_line >= MAX_WAITING:
            raise QueueFull(f"{self._in_line} requests wait for the sequence model, the limit; try again")
        self._in_line += 1
        try:
            await acquire(self._turn, "using the sequence model", self._timeout_s)
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._in_line -= 1

    @property
    def turns(self) -> asyncio.Lock:
        """What `turn` holds, for who may wait for it however many do."""
        return self._turn

    def close(self) -> None:
        """Finish what runs and what waits, end the thread."""
        self._executor.shutdown()
