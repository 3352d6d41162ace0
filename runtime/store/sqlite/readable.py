"""Which rows of the log can be read: one that cannot is left out and reported, and the others are read.

What the API takes is always readable. Rows can be otherwise where another program, an older version or damage wrote
them.
"""

import logging
from datetime import UTC, datetime

import msgspec

from runtime.personalization.actions import TYPES

log = logging.getLogger("vows")

# The years 1 to 9999, the times that RFC 3339 can say.
FIRST_US = -62_135_596_800_000_000
LAST_US = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1_000_000 + 999_999

# How far ahead of the clock a time can be that was ever taken (VOWS_MAX_CLOCK_SKEW_S is at most a day). A later one was
# written while the clock was wrong: it counts as of now, so that it never outweighs what comes after it.
MOST_AHEAD_US = 86_400_000_000

# A condition on a row `l` of the log, for statements.
READABLE = f"l.type BETWEEN 0 AND {len(TYPES) - 1} AND l.time_us BETWEEN {FIRST_US} AND {LAST_US}"

_REPORTED = 100  # lines of the log, so that damage does not fill a disk; all are counted
_found = 0


def unreadable_rows() -> int:
    """Rows that were left out since the start, each as often as it was met."""
    return _found


def report(what: str, problem: str) -> None:
    """Count a row that is left out, and name it in the log."""
    global _found
    _found += 1
    if _found <= _REPORTED:
        log.error("%s is left out: %s; `vows-edge doctor --check-database` lists what is damaged", what, problem)


def is_utf8(text: str) -> bool:
    """Whether a text that `any_text` let through is what was written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def problem_of(code: object, time_us: object, received_us: object, context: object) -> str | None:
    """What is wrong with an event of the log; None if it can be read."""
    if not isinstance(code, int) or not 0 <= code < len(TYPES):
        return f"its type is {code!r}"
    for name, value in (("time", time_us), ("time of arrival", received_us)):
        if not isinstance(value, int) or not FIRST_US <= value <= LAST_US:
            return f"its {name} is {value!r} µs since 1970, outside the years 1 to 9999"
    if context is None:
        return None
    try:
        if isinstance(context, bytes) and isinstance(msgspec.json.decode(context), dict):
            return None
    except (ValueError, RecursionError):
        pass
    return "its context is not a JSON object"
