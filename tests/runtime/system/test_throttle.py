"""What many ask for at once is made a few times a second."""

import asyncio
import itertools

import pytest

from runtime.system import throttle
from runtime.system.throttle import Throttled


@pytest.fixture
def clock(monkeypatch):
    """A list whose only element is the time."""
    now = [100.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: now[0])
    return now


async def test_it_is_made_a_few_times_a_second_and_then_again(clock):
    numbers = itertools.count()

    async def make():
        await asyncio.sleep(0)
        return next(numbers)

    page = Throttled(per_second=3)
    first = await asyncio.gather(*(page.get(make) for _ in range(1000)))
    clock[0] += 1
    assert first == [0, 1, *[2] * 998]
    assert await page.get(make) == 3


async def test_a_failure_is_not_kept(clock):
    async def fail():
        raise OSError("away")

    async def make():
        return "made"

    page = Throttled(per_second=1)
    for _ in range(3):
        with pytest.raises(OSError, match="away"):
            await page.get(fail)
    assert await page.get(make) == "made"
