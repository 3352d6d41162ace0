"""Times in the forms that programs write, exact to the microsecond."""

import pytest

from runtime.http.errors import ApiError
from runtime.http.timestamps import microseconds

TEN = 1_769_853_600_000_000  # 2026-01-31T10:00:00Z


@pytest.mark.parametrize(
    "given",
    [
        "2026-01-31T10:00:00Z", "2026-01-31t10:00:00z", "2026-01-31T10:00:00+00:00", "2026-01-31T12:00:00+02:00",
        "2026-01-31T12:00:00+0200", "2026-01-31T12:00:00+02", "2026-01-31 12:00:00 +0200", "2026-01-31T04:30:00-05:30",
        "2026-01-31 10:00:00 UTC", "2026-01-31 10:00:00UTC", "2026-01-31 10:00:00 Z", "2026-01-31 10:00:00+00",
        "2026-01-31T10:00Z", "20260131T100000Z", "2026-W05-6T10:00:00Z", " 2026-01-31T10:00:00Z\n",
        "2026-01-31T10:00:00.000000000Z", 1_769_853_600, 1_769_853_600_000, 1_769_853_600_000_000,
        1_769_853_600_000_000_000, 1_769_853_600.0, 1_769_853_600_000.0, "1769853600", "1769853600000", "1769853600.0",
    ],
)  # fmt: skip
def test_one_time_in_many_forms(given):
    assert microseconds(given, "$.timestamp") == TEN


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-01-31T10:00:00.123456789Z", TEN + 123_456),
        (1_769_853_600_123, TEN + 123_000),
        (1_769_853_600.123456, TEN + 123_456),
        ("1769853600.1", TEN + 100_000),
        (1_769_853_600_123.5, TEN + 123_500),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000_000),
        (0, 0),
        (-1, -1_000_000),
        ("1969-12-31T23:59:59.999999Z", -1),
    ],
)
def test_fractions_and_edges(given, expected):
    assert microseconds(given, "$.timestamp") == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("yesterday", "these are: 2026-01-31T10:00:00Z"),
        ("", "these are:"),
        ("2026-02-30T10:00:00Z", "these are:"),
        ("31/01/2026 10:00", "these are:"),
        ("2026-01-31T10:00:00", "time zone"),
        ("2026-01-31", "time zone"),
        ("0001-01-01T00:00:00+14:00", "years 1 to 9999"),
        ("9999-12-31T23:59:59-10:00", "years 1 to 9999"),
        (1e300, "years 1 to 9999"),
        (-(10**40), "years 1 to 9999"),
        (10**21 - 1, "years 1 to 9999"),
    ],
)
def test_what_is_not_clear_says_what_is(given, said):
    with pytest.raises(ApiError) as refusal:
        microseconds(given, "$.timestamp")
    assert said in refusal.value.error.message
    assert refusal.value.error.field == "$.timestamp"
