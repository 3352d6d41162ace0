"""The table of what may still be taken, and when it is refused."""

import pytest

from runtime.system.memory_budget import MemoryBudget, MemoryBudgetError

MiB = 1 << 20
PARTS = {"small": MiB, "large": 5 * MiB, "nothing": 0}


def test_largest_first_and_what_takes_nothing_is_left_out():
    lines = MemoryBudget(PARTS, 10 * MiB, reserve=2 * MiB).lines().splitlines()
    assert [line.split() for line in lines[:2]] == [["5.0", "MiB", "large"], ["1.0", "MiB", "small"]]
    assert lines[2].split("  ")[-2:] == ["  6.0 MiB"[2:], "in all; available: 10.0 MiB, of it left alone: 2.0 MiB"]
    assert len(lines) == 3


@pytest.mark.parametrize(("available", "fits"), [(8 * MiB, True), (8 * MiB - 1, False), (None, True)])
def test_the_reserve_counts_and_unknown_memory_does_not_refuse(available, fits):
    budget = MemoryBudget(PARTS, available, reserve=2 * MiB)
    assert budget.fits is fits
    if fits:
        budget.check("")
    else:
        with pytest.raises(MemoryBudgetError, match=r"6\.0 MiB more than it holds now(?s:.*)Buy some$"):
            budget.check("Buy some")


def test_less_than_the_reserve_is_no_negative_memory():
    with pytest.raises(MemoryBudgetError, match=r"only 0\.0 MiB are available"):
        MemoryBudget(PARTS, MiB, reserve=2 * MiB).check("")
