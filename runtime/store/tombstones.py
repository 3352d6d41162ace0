"""What is remembered, for a while, of what was deleted, so that a late retry does not bring it back.

A mark is a keyed hash of 16 bytes, beside the time of the deletion: of an event's id and its user's, where it was taken
back; of a user's id, which refuses what happened before the deletion; and of their newest events, which refuses retries
without a time of their own. The key is drawn when the database is made and stays in it. A mark says nothing about a
user to whom does not know their id already, and means nothing when its time is over; later writes remove it.
"""

from hashlib import blake2b
from typing import NamedTuple

KEY_BYTES = 32
MOST_EVENTS_OF_USER = 1_000  # the newest: retries come within hours, not after a thousand more events
EXPIRED_AT_ONCE = 256  # that one write removes


class TombstoneLimits(NamedTuple):
    """How long marks are kept, and how many; the oldest go first. None with 0 seconds."""

    seconds: float = 604_800.0
    rows: int = 100_000

    def since_us(self, now_us: int) -> int:
        """Marks from before this are over."""
        return now_us - round(self.seconds * 1e6)


FOR_A_WEEK = TombstoneLimits()


def event_mark(key: bytes, user_id: str, event_id: str) -> bytes:
    """Of a user's event."""
    return _mark(key, f"{len(user_id)} {user_id}{event_id}", b"event")


def user_mark(key: bytes, user_id: str) -> bytes:
    """Of a user."""
    return _mark(key, user_id, b"user")


def _mark(key: bytes, id: str, kind: bytes) -> bytes:
    return blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16, key=key, person=kind).digest()
