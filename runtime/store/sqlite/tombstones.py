"""Statements on the marks of deleted events: see runtime/store/tombstones.py."""

import sqlite3
from collections.abc import Iterable

from runtime.store.records import Interaction
from runtime.store.sqlite import totals
from runtime.store.tombstones import EXPIRED_AT_ONCE, MOST_EVENTS_OF_USER, TombstoneLimits, event_mark, is_retry


class Marks:
    """What the thread that writes knows between transactions. `maybe`: there may be marks. Nobody else makes any while
    a server holds the data folder; after a transaction that failed there are at most fewer."""

    def __init__(self, limits: TombstoneLimits) -> None:
        self.limits = limits
        self.maybe = True


class Tombstones:
    """The marks as a transaction finds them. Expired ones are removed, a few at a time."""

    def __init__(self, connection: sqlite3.Connection, marks: Marks, now_us: int) -> None:
        self._connection = connection
        self._marks = marks
        self._limits = limits = marks.limits
        self._now_us = now_us
        self._key: bytes | None = None
        oldest_us = None
        if marks.maybe:
            (oldest_us,) = connection.execute("SELECT min(deleted_us) FROM tombstones").fetchone()
        self._any = marks.maybe = oldest_us is not None
        if oldest_us is not None and oldest_us < (since_us := limits.since_us(now_us)):
            self._remove(
                "SELECT mark FROM tombstones WHERE deleted_us < ? ORDER BY deleted_us LIMIT ?",
                since_us, EXPIRED_AT_ONCE,
            )  # fmt: skip

    def refuse(self, event: Interaction) -> bool:
        """Whether the event is a late retry of one that was deleted."""
        if not self._any:
            return False
        row = self._connection.execute(
            "SELECT time_us FROM tombstones WHERE mark = ? AND deleted_us >= ?",
            (event_mark(self.key, event.user_id, event.event_id), self._limits.since_us(self._now_us)),
        ).fetchone()
        return row is not None and is_retry(event, row[0])

    def add_event(self, user_id: str, event_id: str, time_us: int) -> None:
        """Remember an event that was taken back."""
        self._add(user_id, [(event_id, time_us)])

    def add_user(self, user_id: str, key: int) -> None:
        """Remember the newest events and exposures of a user who is about to be deleted."""
        for rows in (
            "SELECT event_id, time_us FROM interactions WHERE user = ? ORDER BY sequence DESC LIMIT ?",
            "SELECT ranking_id, time_us FROM exposures WHERE user = ? ORDER BY sequence DESC LIMIT ?",
        ):
            self._add(user_id, self._connection.execute(rows, (key, MOST_EVENTS_OF_USER)))

    @property
    def key(self) -> bytes:
        """Of the hashes, made when the database was."""
        if self._key is None:
            (self._key,) = self._connection.execute("SELECT key FROM tombstone_key").fetchone()
        return self._key

    def _add(self, user_id: str, events: Iterable[tuple[str, int]]) -> None:
        if not self._limits.seconds:
            return
        self._marks.maybe = True
        marks = [(event_mark(self.key, user_id, event_id), time_us, self._now_us) for event_id, time_us in events]
        # An event that was stored again, at another time, after its mark was made: the mark is of the later one
        again = self._connection.executemany("DELETE FROM tombstones WHERE mark = ?", [mark[:1] for mark in marks])
        self._connection.executemany("INSERT INTO tombstones VALUES (?, ?, ?)", marks)
        totals.change(self._connection, "tombstones", len(marks) - max(0, again.rowcount))
        (rows,) = self._connection.execute("SELECT rows FROM totals WHERE name = 'tombstones'").fetchone()
        if rows > self._limits.rows:
            self._remove("SELECT mark FROM tombstones ORDER BY deleted_us LIMIT ?", rows - self._limits.rows)

    def _remove(self, marks: str, *arguments: int) -> None:
        removed = self._connection.execute(f"DELETE FROM tombstones WHERE mark IN ({marks})", arguments).rowcount
        totals.change(self._connection, "tombstones", -removed)
