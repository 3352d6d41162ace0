"""Statements on the marks of what was deleted: see runtime/store/tombstones.py."""

import sqlite3
from collections.abc import Sequence

from runtime.store.records import Interaction
from runtime.store.sqlite import totals
from runtime.store.tombstones import (
    EXPIRED_AT_ONCE,
    MOST_EVENTS_OF_USER,
    TombstoneLimits,
    event_mark,
    user_mark,
)


class Tombstones:
    """The marks as a transaction finds them. Expired ones are removed, a few at a time."""

    def __init__(self, connection: sqlite3.Connection, limits: TombstoneLimits, now_us: int) -> None:
        self._connection = connection
        self._limits = limits
        self._now_us = now_us
        self._key: bytes | None = None
        (oldest_us,) = connection.execute("SELECT min(deleted_us) FROM tombstones").fetchone()
        self._any = oldest_us is not None
        if self._any and oldest_us < (since_us := limits.since_us(now_us)):
            self._remove(
                "SELECT mark FROM tombstones WHERE deleted_us < ? ORDER BY deleted_us LIMIT ?",
                since_us, EXPIRED_AT_ONCE,
            )  # fmt: skip

    def refuse(self, event: Interaction) -> bool:
        """Whether the event was taken back, or was its user's, who was deleted after it."""
        if not self._any:
            return False
        if self._deleted_us(event_mark(self.key, event.user_id, event.event_id)) is not None:
            return True
        deleted_us = self._deleted_us(user_mark(self.key, event.user_id)) if event.timed else None
        return deleted_us is not None and event.time_us <= deleted_us

    def add_event(self, user_id: str, event_id: str) -> None:
        """Remember an event that was taken back."""
        self._add([event_mark(self.key, user_id, event_id)])

    def add_user(self, user_id: str, key: int | None) -> None:
        """Remember a user who is about to be deleted, and the newest events that `key` has."""
        events = [] if key is None else self._connection.execute(
            "SELECT event_id FROM interactions WHERE user = ? ORDER BY sequence DESC LIMIT ?",
            (key, MOST_EVENTS_OF_USER),
        ).fetchall()  # fmt: skip
        self._add([*(event_mark(self.key, user_id, id) for (id,) in events), user_mark(self.key, user_id)])

    @property
    def key(self) -> bytes:
        """Of the hashes, made when the database was."""
        if self._key is None:
            (self._key,) = self._connection.execute("SELECT key FROM tombstone_key").fetchone()
        return self._key

    def _add(self, marks: Sequence[bytes]) -> None:
        if not self._limits.seconds:
            return
        before = self._connection.total_changes
        self._connection.executemany(
            "INSERT OR IGNORE INTO tombstones VALUES (?, ?)", [(mark, self._now_us) for mark in marks]
        )
        totals.change(self._connection, "tombstones", self._connection.total_changes - before)
        self._connection.executemany(
            "UPDATE tombstones SET deleted_us = max(deleted_us, ?) WHERE mark = ?",
            [(self._now_us, mark) for mark in marks],
        )
        (rows,) = self._connection.execute("SELECT rows FROM totals WHERE name = 'tombstones'").fetchone()
        if rows > self._limits.rows:
            self._remove("SELECT mark FROM tombstones ORDER BY deleted_us LIMIT ?", rows - self._limits.rows)

    def _remove(self, marks: str, *arguments: int) -> None:
        removed = self._connection.execute(f"DELETE FROM tombstones WHERE mark IN ({marks})", arguments).rowcount
        totals.change(self._connection, "tombstones", -removed)

    def _deleted_us(self, mark: bytes) -> int | None:
        row = self._connection.execute("SELECT deleted_us FROM tombstones WHERE mark = ?", (mark,)).fetchone()
        return None if row is None else row[0]
