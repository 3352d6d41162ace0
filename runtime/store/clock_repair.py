"""What a repair of times that are ahead of the clock finds and changes, in whichever store."""

from typing import NamedTuple

ROWS_AT_ONCE = 500


class AheadEvent(NamedTuple):
    """An event whose time, or whose time of arrival, is ahead of the clock; and what both will be."""

    sequence: int
    event_id: str
    time_us: int
    received_us: int
    new_time_us: int
    new_received_us: int

    @classmethod
    def of(
        cls, sequence: int, event_id: str, time_us: int, received_us: int, *, now_us: int, skew_us: int
    ) -> "AheadEvent":
        """An event that is ahead gets the time of its arrival, or this moment where that is ahead, too."""
        arrived_us = min(received_us, now_us)
        new_time_us = arrived_us if time_us > now_us + skew_us else time_us
        return cls(sequence, event_id, time_us, received_us, new_time_us, arrived_us)


class Repaired(NamedTuple):
    """Rows that were changed."""

    events: int
    users: int
    items: int
    preferences: int
