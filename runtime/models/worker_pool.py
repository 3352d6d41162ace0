"""Worker threads that embed what the scheduler gives them, and the asyncio side that waits for the vectors."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.models.scheduler import Job, Scheduler
from runtime.system.wakeup import Wakeup

Ids = NDArray[np.int32]
Vector = NDArray[np.float32]


class DeadlineExceeded(Exception):
    """The text waited longer than its deadline allows and was not run. `retry_after_s` estimates how long what waits
    before it still takes."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Embedded(NamedTuple):
    """A vector and where its time went, in seconds."""

    vector: Vector
    queue_s: float
    infer_s: float


@dataclass(slots=True, eq=False)
class _Task(Job):
    ids: Ids
    future: "asyncio.Future[Embedded]"


class WorkerPool:
    """`workers` threads, each running one text at a time. A run that fails answers its own waiter and nobody else."""

    def __init__(self, embed: Callable[[Ids], Vector], *, workers: int, max_tokens: int, queue_tokens: int) -> None:
        self.workers = workers
        self._embed = embed
        self._scheduler = Scheduler(running_tokens=workers * max_tokens, waiting_tokens=queue_tokens, workers=workers)
        self._lock = threading.Lock()
        self._wakeup = Wakeup()
        self._idle = 0  # workers that sleep and were not woken
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"embed-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Tokens of texts that are queued and do not run yet."""
        return self._scheduler.waiting

    @property
    def bulk_tokens(self) -> int:
        """Most tokens of bulk work that may wait."""
        return self._scheduler.bulk_limit

    def seconds_for(self, tokens: int) -> float:
        """How long the workers take for so many tokens, by the times of the last runs."""
        return self._scheduler.seconds_for(tokens)

    def submit(self, texts: list[Ids], *, bulk: bool, timeout_s: float) -> "list[asyncio.Future[Embedded]]":
        """Queue token ids; one future a text. All are accepted or none.

        Ending a future takes its text out of the queue. The futures raise DeadlineExceeded, or whatever the
        model raised. Raises QueueFull. Call it from the event loop's thread.
        """
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        tasks = [_Task(ids.size, bulk, now, now + timeout_s, ids, loop.create_future()) for ids in texts]
        with self._lock:
            if self._closed:
                raise DeadlineExceeded("the server is shutting down")
            self._scheduler.add(list(tasks))
            woken = min(len(tasks), self._idle)
            self._idle -= woken
        for task in tasks:
            task.future.add_done_callback(partial(self._drop_if_waiting, task))
        self._wakeup.wake(woken)
        return [task.future for task in tasks]

    def close(self) -> None:
        """Finish what runs, drop what waits, end the threads."""
        with self._lock:
            self._closed = True
            woken, self._idle = self._idle, 0
        self._wakeup.wake(woken)
        for thread in self._threads:
            thread.join()
        self._wakeup.close()

    def _drop_if_waiting(self, task: Job, _: "asyncio.Future[Embedded]") -> None:
        if task.state == "waiting":  # its client left
            with self._lock:
                self._scheduler.drop(task)

    def _work(self) -> None:
        answer: Callable[[], None] | None = None  # of the job before: given last, as its waiter runs from then on
        while True:
            with self._lock:
                job, expired = (None, []) if self._closed else self._scheduler.next(time.monotonic())
                late_s = self._scheduler.seconds_for(self._scheduler.waiting) if expired else 0.0
                closed = self._closed
                sleeps = not closed and job is None and not expired
                self._idle += sleeps
            if answer is not None:
                answer()
                answer = None
            if closed:
                return
            if sleeps:
                self._wakeup.wait()
                continue
            for late in expired:
                assert isinstance(late, _Task)
                _answer(
                    late.future,
                    error=DeadlineExceeded("the request waited longer than its deadline; try again", late_s),
                )
            if job is not None:
                assert isinstance(job, _Task)
                answer = self._run(job)

    def _run(self, job: "_Task") -> Callable[[], None]:
        """Run a text, and return what answers its waiter."""
        started, took_s = time.monotonic(), None
        try:
            vector = self._embed(job.ids)
        except Exception as failure:  # a failing run is an answer to its waiter; the thread lives on
            answer = partial(_answer, job.future, error=failure)
        else:
            took_s = time.monotonic() - started
            answer = partial(_answer, job.future, Embedded(vector, started - job.arrival, took_s))
        with self._lock:
            self._scheduler.finish(job, took_s)
        return answer


def _answer(
    future: "asyncio.Future[Embedded]", result: Embedded | None = None, error: BaseException | None = None
) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif result is not None:
            future.set_result(result)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:  # the loop has closed: nobody waits any more
        return
