"""What is remembered, for a while, of events and exposures that were deleted, so that a late retry does not bring them
back.

A mark is a hash of 16 bytes of an event's or ranking's id and its user's, keyed with a random key of the database.
Beside it are the event's time, since the same id at another time is no retry, and when it was deleted. Whoever does not
know both ids learns nothing from a mark. It means nothing when its time is over, and later writes remove it.
"""

from hashlib import blake2b
from typing import NamedTuple

from runtime.store.experiment_records import Exposure
from runtime.store.records import Interaction

KEY_BYTES = 32
MOST_EVENTS_OF_USER = 10_000  # the newest of a user who is deleted: retries come within hours
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
    ids = f"{len(user_id)} {user_id}{event_id}".encode("utf-8", "surrogatepass")
    return blake2b(ids, digest_size=16, key=key).digest()


def as_event(shown: Exposure) -> Interaction:
    """An exposure as its mark has it: marked like an event, by the ids of its user and ranking."""
    return Interaction(
        event_id=shown.ranking_id, user_id=shown.user_id, content_id="", type="view", time_us=shown.time_us
    )


def is_retry(event: Interaction, deleted_time_us: int) -> bool:
    """Whether an event is the deleted one of its mark, as far as its time says."""
    return not event.timed or event.time_us == deleted_time_us
