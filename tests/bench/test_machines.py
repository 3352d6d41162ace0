"""Several servers on one Postgres under kills: that the harness finds what it looks for, and a short run."""

import pytest

from bench.faults.operations import Operation, violations


def write(began, ended, *events, user="ann"):
    return Operation("write", user, began, ended, events=frozenset(events))


def read(began, ended, count, user="ann"):
    return Operation("read", user, began, ended, count=count)


@pytest.mark.parametrize(
    "history",
    [
        [write(0, 1, "a", "b"), read(2, 3, 2)],
        [write(0, 5, "a"), read(1, 2, 0), read(3, 4, 1)],
        [write(0, None, "a"), read(2, 3, 0), read(4, 5, 1)],  # not answered: may take effect at any later time
        [write(0, 1, "a"), write(2, 3, "a"), read(4, 5, 1)],
        [write(0, 1, "a", user="bob"), read(2, 3, 0)],
    ],
)
def test_a_history_that_some_order_explains_is_right(history):
    assert violations(history) == []


@pytest.mark.parametrize(
    "history",
    [
        [write(0, 1, "a"), read(2, 3, 0)],  # an acknowledged write is not seen
        [write(0, 5, "a"), read(1, 2, 1), read(3, 4, 0)],  # seen, and then no more
        [write(0, 1, "a"), read(2, 3, 2)],  # counted twice
        [read(0, 1, 1), write(2, 3, "a")],  # seen before it was sent
    ],
)
def test_a_history_that_no_order_explains_is_found(history):
    assert len(violations(history)) == 1


@pytest.mark.slow
def test_a_few_kills_lose_nothing(quick_case):
    series = quick_case("bench.suites.machines", "kills").series
    assert series["acknowledged"][0] > 10
    assert [series[name] for name in ("lost", "doubled", "problems")] == [[0], [0], [0]]
    assert series["from_memory"][0] == series["cuts"][0]
    assert series["refused"][0] > 0  # each with Retry-After: anything else fails the case
