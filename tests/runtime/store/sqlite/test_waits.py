"""Waiting for the writer's thread: each wait has its deadline, and a write whose waiter left is not begun."""

import asyncio
from concurrent.futures import Future

import pytest

from runtime.store.sqlite.waits import Waits


async def test_a_result_and_an_error_reach_their_waiters_from_another_thread():
    waits, good, bad = Waits(10), Future(), Future()
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, good.set_result, 7)
    loop.run_in_executor(None, bad.set_exception, KeyError("no"))
    value, error = await asyncio.gather(waits.until_done(good), waits.until_done(bad), return_exceptions=True)
    assert value == 7
    assert isinstance(error, KeyError)


async def test_every_wait_ends_at_its_own_deadline_and_its_write_is_not_begun():
    waits, first, second = Waits(0.2), Future(), Future()
    begun = asyncio.get_running_loop().time()

    async def ended(future):
        with pytest.raises(TimeoutError):
            await waits.until_done(future)
        return asyncio.get_running_loop().time() - begun

    one = asyncio.ensure_future(ended(first))
    await asyncio.sleep(0.1)
    other = asyncio.ensure_future(ended(second))
    assert await one < await other
    assert await other >= 0.29
    assert first.cancelled()
    assert second.cancelled()
    done = Future()
    done.set_result(1)
    assert await waits.until_done(done) == 1


async def test_a_write_whose_waiter_was_cancelled_is_not_begun():
    waits, future = Waits(10), Future()
    waiting = asyncio.ensure_future(waits.until_done(future))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert future.cancelled()


def test_one_object_serves_one_event_loop_after_another():
    waits = Waits(0.05)

    async def use():
        with pytest.raises(TimeoutError):
            await waits.until_done(Future())

    for _ in range(2):
        asyncio.run(use())
