import pytest

from runtime.serving.histories import pages
from runtime.store import Seen


def reader_of(stored):
    """Reads pages of so many events."""

    async def read(user_id, *, before, limit):
        newest = stored if before is None else before - 1
        return [Seen(n, f"item-{n}", "view", n) for n in range(newest, max(newest - limit, 0), -1)]

    return read


@pytest.mark.parametrize(("stored", "most", "expected"), [
    (0, 10, []), (1, 10, [1]), (4, 10, [4]), (5, 10, [4, 1]), (9, 8, [4, 4]), (9, 10, [4, 4, 1]), (30, 10, [4, 4, 4]),
])  # fmt: skip
async def test_pages_go_on_until_the_history_ends_or_enough_was_read(stored, most, expected):
    read = reader_of(stored)
    found = [page async for page in pages(read, "ann", most=most, page=4)]
    assert [len(page) for page in found] == expected
    assert [one.sequence for page in found for one in page] == list(range(stored, stored - sum(expected), -1))


async def test_what_was_done_before_a_time_is_read_however_much_came_after():
    read = reader_of(20)
    found = [one.sequence async for page in pages(read, "ann", most=4, page=4, at_us=7) for one in page]
    assert found == [6, 5, 4, 3, 2, 1]
