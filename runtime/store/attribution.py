"""Which ranking an interaction answers: what every store goes by."""

import msgspec

EXPOSURES_LOOKED_AT = 32  # of a user, newest first
CLOCK_GRAIN_US = 1_000_000  # clocks of clients may count whole seconds


def shown_in_items(content_id: str) -> bytes:
    """What the items of an exposure contain where this content is among them, and nowhere else: quotes are escaped."""
    return b"[" + msgspec.json.encode(content_id) + b","
