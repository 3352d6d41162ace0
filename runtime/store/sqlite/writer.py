"""The one thread that writes: it commits together whatever is waiting, and syncs once for all of it."""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from runtime.store.errors import StoreBusy, StoreClosed, StoreError
from runtime.store.sqlite.acknowledged import Acknowledgements
from runtime.store.sqlite.connection import translate
from runtime.store.sqlite.scrub import MORE, Scrubber, empty_log, request_scrub
from runtime.system.wakeup import Wakeup

T = TypeVar("T")

_STEP_S = 0.01  # of a scrub, while writes wait
_BLOCKED_S = 0.05  # between looks whether the reader that prevents a scrub has ended
_CLOSING_S = 1.0  # that a scrub has to end when the store is closed; the next start finishes it


@dataclass(slots=True, eq=False)
class _Write(Generic[T]):
    apply: Callable[[sqlite3.Connection], T]
    bytes: int
    scrub: bool
    alone: bool
    future: "Future[T]" = field(default_factory=Future)
    result: T | None = None
    error: BaseException | None = None


class Writer:
    """Applies writes in the order they came; owns the connection from start to `close`.

    max_writes, max_bytes: what may wait or be in progress (`StoreBusy` beyond); a single larger write is let in alone.
    scrub_wait_s: how long a deletion waits for a reader, such as a backup, that keeps its bytes from being erased.
    commit_writes, commit_bytes: what one transaction takes, so that the first waiter does not wait for a flood.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        scrubber: Scrubber,
        acknowledgements: Acknowledgements | None = None,
        *,
        scrub_wait_s: float = 5.0,
        max_writes: int = 1024,
        max_bytes: int = 8 << 20,
        commit_writes: int = 256,
        commit_bytes: int = 2 << 20,
    ) -> None:
        self.max_writes = max_writes
        self.max_bytes = max_bytes
        self._commit_writes = commit_writes
        self._commit_bytes = commit_bytes
        self._connection = connection
        self._scrubber = scrubber
        self._acknowledgements = acknowledgements
        self._scrub_wait_s = scrub_wait_s
        # Deletions that are committed and wait for a pass over the file: that which is under way, and the next.
        self._in_pass: list[_Write[object]] = []
        self._next_pass: list[_Write[object]] = []
        self._pass_begun: float | None = None  # None: none is under way
        self._blocked = False
        self._unblocked_at = 0.0
        self._left_over = scrubber.is_pending(connection)  # since before the start
        self._queue: deque[_Write[object]] = deque()
        self._held_writes = 0
        self._held_bytes = 0
        self._closing = False
        # A commit whose sync failed may lie in the log in full, and a restart would take it for done. Until another
        # commit has overwritten it, an answer could be contradicted: "no such user", and then the user is back. So the
        # next transaction always writes something, and the next deletion scrubs whether or not it finds anything.
        self._unsettled = False
        self._lock = threading.Lock()
        self._wakeup = Wakeup()
        self._sleeps = False  # and was not woken
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Writes that wait or are in progress."""
        return self._held_writes

    def submit(
        self, apply: Callable[[sqlite3.Connection], T], *, bytes: int, scrub: bool = False, alone: bool = False
    ) -> "Future[T]":
        """Queue `apply`; the future completes after the commit that holds its changes was synced.

        When it raises, its changes alone are undone and its future gets the error. `scrub`: the future also waits until
        the deleted bytes are erased from the files. `alone`: it may change many pages, and gets a transaction of its
        own. Within one that others share it would run inside a savepoint, and SQLite holds every page that changes
        after a savepoint in memory, as it was: 260 MB where 512 long items were replaced.

        Raises StoreBusy or StoreClosed.
        """
        write = _Write(apply, bytes, scrub, alone)
        with self._lock:
            if self._closing:
                raise StoreClosed("the store is shutting down; nothing was written, repeat the request after the start")
            if self._held_writes and (
                self._held_writes >= self.max_writes or self._held_bytes + bytes > self.max_bytes
            ):
                raise StoreBusy(
                    f"{self._held_writes} writes of {self._held_bytes} bytes are waiting for the disk (limits "
                    f"{self.max_writes} and {self.max_bytes}); nothing was written, try again later"
                )
            self._queue.append(write)  # type: ignore[arg-type]
            self._held_writes += 1
            self._held_bytes += bytes
            sleeps, self._sleeps = self._sleeps, False
        self._wakeup.wake(sleeps)
        return write.future

    def close(self) -> None:
        """Write what is queued, empty the write-ahead log into the database, close the connection."""
        with self._lock:
            self._closing = True
            sleeps, self._sleeps = self._sleeps, False
        self._wakeup.wake(sleeps)
        self._thread.join()
        self._wakeup.close()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            if batch:
                self._commit(batch)
                self._settle([write for write in batch if write not in self._next_pass])
            del batch  # or the last write would be held until the next one
            if self._scrub_waits():
                self._scrub_step()
        end = time.monotonic() + _CLOSING_S
        while self._scrub_waits() and time.monotonic() < end:
            self._scrub_step()
        self._end_pass(
            StoreClosed("the rows are deleted; the next start erases their bytes, as the store is shut down")
        )
        try:
            empty_log(self._connection)
            self._connection.close()
        except sqlite3.Error:  # loses nothing: the next start reads the log
            pass

    def _settle(self, writes: list[_Write[object]]) -> None:
        with self._lock:
            self._held_writes -= len(writes)
            self._held_bytes -= sum(write.bytes for write in writes)
        for write in writes:
            _settle(write)

    def _take(self) -> list[_Write[object]] | None:
        """The next transaction's writes, waiting for the first unless there is a scrub to go on with; None once closed
        and drained."""
        while True:
            with self._lock:
                if self._queue:
                    return self._next_batch()
                if self._closing:
                    return None
                scrubs = self._scrub_waits()
                if scrubs and not self._blocked:
                    return []
                self._sleeps = True
            if not scrubs:
                self._wakeup.wait()
                continue
            self._wakeup.wait_for(_BLOCKED_S)
            with self._lock:
                self._sleeps = False
                return self._next_batch()

    def _next_batch(self) -> list[_Write[object]]:
        batch: list[_Write[object]] = []
        bytes = 0
        while self._queue and len(batch) < self._commit_writes:
            bytes += self._queue[0].bytes
            if batch and (bytes > self._commit_bytes or self._queue[0].alone or batch[0].alone):
                break
            batch.append(self._queue.popleft())
        return batch

    def _commit(self, batch: list[_Write[object]]) -> None:
        live = [write for write in batch if write.future.set_running_or_notify_cancel()]
        if not live:
            return
        alone = len(live) == 1
        committing = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            before = self._connection.total_changes
            if self._unsettled:
                request_scrub(self._connection)
            for write in live:
                self._apply(write, alone=alone)
            committing = True
            changed = self._connection.total_changes > before
            if self._acknowledgements is not None and changed:
                self._acknowledgements.count(self._connection)
            self._connection.execute("COMMIT")
            if self._acknowledgements is not None and changed:
                self._acknowledgements.confirm()
            self._unsettled = False
        except BaseException as error:  # every waiter of this transaction gets it; the thread continues
            failure = translate(error, "committing") if isinstance(error, sqlite3.Error) else error
            for write in live:
                write.error = failure
            refused = alone and not committing and self._connection.in_transaction
            self._unsettled = self._unsettled or not refused
            self._roll_back()
            return
        self._next_pass += [write for write in live if write.scrub and write.error is None]

    def _scrub_waits(self) -> bool:
        return bool(self._pass_begun is not None or self._next_pass or self._left_over)

    def _scrub_step(self) -> None:
        """Go on with the pass that is under way, or begin one; when it is over, answer those who wait for it."""
        try:
            if self._pass_begun is None:
                self._in_pass, self._next_pass, self._left_over = self._next_pass, [], False
                self._pass_begun = time.monotonic()
                if not self._scrubber.is_pending(self._connection):
                    return self._end_pass(None)
                self._scrubber.begin(self._connection)
            problem = self._scrubber.step(self._connection, _STEP_S)
        except sqlite3.Error as error:
            return self._end_pass(_left(str(translate(error, "scrubbing"))))
        except OSError as error:
            return self._end_pass(_left(f"scrubbing failed: {error}"))
        if problem is None:
            return self._end_pass(None)
        self._blocked = problem != MORE
        if not self._blocked:
            self._unblocked_at = time.monotonic()
        elif time.monotonic() - max(self._pass_begun, self._unblocked_at) > self._scrub_wait_s:
            return self._end_pass(_left(problem))
        return None

    def _end_pass(self, error: StoreError | None) -> None:
        writes, self._in_pass, self._pass_begun, self._blocked = self._in_pass, [], None, False
        if isinstance(error, StoreClosed):
            writes, self._next_pass = writes + self._next_pass, []
        for write in writes:
            write.error = error
        self._settle(writes)

    def _apply(self, write: _Write[object], *, alone: bool) -> None:
        """alone: nobody shares the transaction, and what is undone where it fails is all of it."""
        if alone:
            try:
                write.result = write.apply(self._connection)
            except sqlite3.Error as error:
                raise translate(error, "writing") from error
            return
        self._connection.execute("SAVEPOINT one_write")
        try:
            write.result = write.apply(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:  # SQLite undid all of it (disk full, I/O error)
                raise
            self._connection.execute("ROLLBACK TO one_write")
            write.error = translate(error, "writing") if isinstance(error, sqlite3.Error) else error
        self._connection.execute("RELEASE one_write")

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:  # the next BEGIN fails with the reason, which those who wait receive
            pass


def _left(problem: str) -> StoreError:
    return StoreError(
        f"the rows are deleted, but copies may be left in the bytes of the files: {problem}; repeat the request"
    )


def _settle(write: _Write[object]) -> None:
    if write.future.cancelled():
        return
    if write.error is not None:
        write.future.set_exception(write.error)
    else:
        write.future.set_result(write.result)
