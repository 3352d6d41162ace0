"""The time as of which a request is answered: for evaluation, where a setting allows it."""

from runtime.http.errors import invalid
from runtime.http.timestamps import Timestamp, microseconds
from runtime.state import State

At = Timestamp | None


def as_of(state: State, at: At, field: str) -> int | None:
    """Microseconds since 1970, None for now. Raises ApiError 422 for what is no time, and where the setting does not
    allow it."""
    if at is None:
        return None
    if not state.settings.allow_at:
        raise invalid("answers as of another time are for evaluation: start the server with VOWS_ALLOW_AT=1", field)
    return microseconds(at, field)
