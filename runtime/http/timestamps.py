"""Times as clients write them: RFC 3339, other forms of ISO 8601, and seconds or milliseconds since 1970."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from runtime.http.errors import invalid

Timestamp = (
    Annotated[
        str,
        Meta(
            max_length=64,
            extra_json_schema={
                "anyOf": [
                    {"format": "date-time", "description": "RFC 3339, such as 2026-01-31T12:00:00+02:00."},
                    {"description": "Another form of ISO 8601, or digits: see the numbers."},
                ]
            },
        ),
    ]
    | Annotated[int, Meta(description="Seconds, milliseconds or microseconds since 1970.")]
    | Annotated[float, Meta(description="Seconds since 1970, or milliseconds.")]
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{0,20})?")
# Numbers of so many digits are 5,000 years or more in the smaller unit: nobody means that.
_MILLISECONDS_FROM, _MICROSECONDS_FROM, _NANOSECONDS_FROM = 10**11, 10**14, 10**17
_LARGEST = 10**21
_OFFSET = re.compile(r"(?<=\d)\s*(?:UTC|GMT)$|\s+(?=[+-]\d{2}(?::?\d{2})?$)|\s+(?=[zZ]$)")
_SECOND_60 = re.compile(r"(?<=:59:)60(?=[Zz.+-]|$)")

_FORMS = "2026-01-31T10:00:00Z, 2026-01-31T12:00:00+02:00, or seconds or milliseconds since 1970"
_YEAR_1_US, _YEAR_9999_US = -62_135_596_800_000_000, 253_402_300_799_999_999


def microseconds(value: str | int | float, field: str) -> int:
    """Microseconds since 1970, exactly as they were written. Raises ApiError 422, naming the forms that are read."""
    text = value.strip() if isinstance(value, str) else repr(value)
    if isinstance(value, str) and not _NUMBER.fullmatch(text):
        time_us = _of_text(text, field)
    else:
        number = Decimal(text)
        time_us = int(number * _unit_us(abs(number))) if abs(number) < _LARGEST else _YEAR_9999_US + 1
    if not _YEAR_1_US <= time_us <= _YEAR_9999_US:
        raise invalid(f"{_shown(value)} is outside the years 1 to 9999", field)
    return time_us


def _of_text(text: str, field: str) -> int:
    try:
        time = datetime.fromisoformat(_normalised(text))
    except ValueError:
        raise invalid(f"{_shown(text)} is not a time that can be read; these are: {_FORMS}", field) from None
    if time.tzinfo is None:
        raise invalid(f"{_shown(text)} does not say in which time zone: end it with Z for UTC, or with +02:00", field)
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _normalised(text: str) -> str:
    """`2026-01-31 10:00:00 UTC` and `… +0200` as RFC 3339; a leap second is the one before it."""
    if match := _OFFSET.search(text):
        text = text[: match.start()] + ("Z" if match.group().strip() else "") + text[match.end() :]
    text = text[:-1] + "Z" if text[-1:] == "z" else text
    return _SECOND_60.sub("59", text)


def _unit_us(size: Decimal) -> Decimal:
    if size < _MILLISECONDS_FROM:
        return Decimal(1_000_000)
    if size < _MICROSECONDS_FROM:
        return Decimal(1_000)
    return Decimal(1) if size < _NANOSECONDS_FROM else Decimal("0.001")


def _shown(value: object) -> str:
    return repr(value)[:80]
