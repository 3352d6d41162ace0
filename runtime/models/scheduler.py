"""Which text runs next: a policy without threads, I/O or a clock."""

import heapq
import itertools
from dataclasses import dataclass, field

TOKEN_BYTES = 16  # of a waiting text, by token: its ids, and what a job is beside them

# Until the first run is measured: about that of one core.
_SECONDS_PER_TOKEN = 1e-4
_ASSUMED_TOKENS = 4096
_MEASURED_RUNS = 64  # the mean of about so many runs
_SUSPENDED = 8  # times the usual pace: a run that took longer was suspended with the machine, and counts as this long


class QueueFull(Exception):
    """The work does not fit in the queue. The message says how much waits, the limit, and what to do; `retry_after_s`
    estimates when there is room."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(slots=True, eq=False)
class Job:
    """One text of `tokens` tokens that arrived at `arrival` (seconds, any origin) and is useless after `deadline`."""

    tokens: int
    bulk: bool
    arrival: float
    deadline: float
    state: str = field(default="new", init=False)  # new → waiting → running → done, or waiting → dropped


class Scheduler:
    """Orders jobs and bounds them in tokens, waiting and running.

    A job's rank is arrival · AGEING + tokens (+ BULK_PENALTY): among jobs that arrive together interactive goes before
    bulk and short before long, and since a later arrival starts with a higher rank, nothing waits for ever. All ranks
    age alike, so the order of two waiting jobs never changes and a heap holds it.

    Not thread-safe; the caller holds a lock.
    """

    AGEING_TOKENS_PER_SECOND = 1000.0
    BULK_PENALTY_TOKENS = 5000.0

    def __init__(self, *, running_tokens: int, waiting_tokens: int, workers: int = 1) -> None:
        self.running_limit = running_tokens
        self.waiting_limit = waiting_tokens
        self.bulk_limit = waiting_tokens // 2
        self.running = 0  # tokens
        self.waiting = 0  # tokens
        self._waiting_bulk = 0
        self._heap: list[tuple[float, int, Job]] = []
        self._sequence = itertools.count()
        self._dropped = 0
        self._workers = workers
        # Tokens and seconds; older runs count less and less. Before the first ones, so that a few short texts, whose
        # time is hardly that of their tokens, say little.
        self._measured = float(_ASSUMED_TOKENS), _ASSUMED_TOKENS * _SECONDS_PER_TOKEN

    def seconds_for(self, tokens: int) -> float:
        """How long the workers take for so many tokens, by the times of the last runs."""
        measured, seconds = self._measured
        return tokens * seconds / measured / self._workers

    def add(self, jobs: list[Job]) -> None:
        """Accept all of `jobs` or none. Bulk work has half of the limit, however much else waits; other work has what
        bulk work leaves of the whole.

        Raises QueueFull when they do not fit and ValueError for a job that could never run.
        """
        tokens = sum(job.tokens for job in jobs)
        bulk = sum(job.tokens for job in jobs if job.bulk)
        largest = max((job.tokens for job in jobs), default=0)
        if largest > self.running_limit:
            raise ValueError(f"a job of {largest} tokens can never run under a limit of {self.running_limit}")
        over = self.waiting + tokens - self.waiting_limit if bulk < tokens else 0
        if (excess := max(over, self._waiting_bulk + bulk - self.bulk_limit)) > 0:
            raise QueueFull(
                f"{self.waiting} tokens are waiting and {tokens} more do not fit (limit {self.waiting_limit}, half of "
                "it for batches); try again later",
                retry_after_s=self.seconds_for(excess),
            )
        for job in jobs:
            rank = job.arrival * self.AGEING_TOKENS_PER_SECOND + job.tokens
            if job.bulk:
                rank += self.BULK_PENALTY_TOKENS
            heapq.heappush(self._heap, (rank, next(self._sequence), job))
            job.state = "waiting"
            self._count(job, +1)

    def next(self, now: float) -> tuple[Job | None, list[Job]]:
        """The job to run now, if there is one and it fits, and the jobs found past their deadline (now dropped)."""
        expired: list[Job] = []
        while self._heap:
            job = self._heap[0][2]
            if job.state == "dropped":
                heapq.heappop(self._heap)
                self._dropped -= 1
            elif job.deadline <= now:
                heapq.heappop(self._heap)
                self._count(job, -1)
                job.state = "dropped"
                expired.append(job)
            elif self.running + job.tokens > self.running_limit:
                break  # the best job waits for room; passing it over would let short ones starve it
            else:
                heapq.heappop(self._heap)
                self._count(job, -1)
                job.state = "running"
                self.running += job.tokens
                return job, expired
        return None, expired

    def finish(self, job: Job, seconds: float | None = None) -> None:
        """A running job ended: well, after so many seconds, or badly (None)."""
        if job.state != "running":
            raise RuntimeError(f"this is a bug: finish() of a job that is {job.state}")
        job.state = "done"
        self.running -= job.tokens
        if seconds is not None:
            seconds = min(seconds, _SUSPENDED * self.seconds_for(job.tokens) * self._workers)
            kept = 1 - 1 / _MEASURED_RUNS
            self._measured = self._measured[0] * kept + job.tokens, self._measured[1] * kept + seconds

    def drop(self, job: Job) -> bool:
        """Drop a waiting job (its client left). True if it was waiting; a running or ended job is left alone."""
        if job.state != "waiting":
            return False
        job.state = "dropped"
        self._count(job, -1)
        self._dropped += 1
        if self._dropped > 64 and self._dropped * 2 > len(self._heap):  # keeps the heap bounded by what waits
            self._heap = [entry for entry in self._heap if entry[2].state == "waiting"]
            heapq.heapify(self._heap)
            self._dropped = 0
        return True

    def _count(self, job: Job, sign: int) -> None:
        self.waiting += sign * job.tokens
        if job.bulk:
            self._waiting_bulk += sign * job.tokens
