"""Threads that sleep until another one has work for them, at the cost of one change of thread."""

import contextlib
import os
import select


class Wakeup:
    """Like a semaphore: each `wake` ends one `wait`, that is under way or comes later.

    A pipe, because writing to one gives the interpreter's lock away meanwhile. A thread that is woken through a lock or
    a condition finds it taken by the one that woke it and sleeps again at once, on a single core three changes of
    thread instead of one.

    Work has to be left where the woken thread finds it before `wake` is called.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def wake(self, times: int = 1) -> None:
        """End so many waits. A pipe that is full has 65,536 wakes in it, and needs no more."""
        if times:
            with contextlib.suppress(BlockingIOError):
                os.write(self._write, bytes(times))

    def wait(self) -> None:
        """Sleep until woken."""
        os.read(self._read, 1)

    def wait_for(self, seconds: float) -> None:
        """As `wait`, and so long at most."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if poll.poll(seconds * 1e3):
            os.read(self._read, 1)

    def close(self) -> None:
        """Nobody may wait any more. It may be called again."""
        ends, self._read, self._write = (self._read, self._write), -1, -1
        for end in ends:
            if end >= 0:
                os.close(end)
