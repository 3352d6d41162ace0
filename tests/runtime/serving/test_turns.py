import asyncio

import pytest

from runtime.serving.turns import Turns


def test_one_at_a_time_for_an_id_and_together_for_others():
    async def run():
        turns, inside, most = Turns(), {}, {}

        async def change(ids):
            async with turns.of(ids):
                for id in ids:
                    inside[id] = inside.get(id, 0) + 1
                    most[id] = max(most.get(id, 0), inside[id])
                await asyncio.sleep(0)
                for id in ids:
                    inside[id] -= 1

        some = [["a"], ["b", "a"], ["a", "b", "a"], ["c"], ["b", "c"], ["c", "a"]] * 5
        async with asyncio.timeout(10):
            await asyncio.gather(*(change(list(dict.fromkeys(ids))) for ids in some))
        return most, len(turns)

    assert asyncio.run(run()) == ({"a": 1, "b": 1, "c": 1}, 0)


def test_who_fails_or_gives_up_passes_the_turn_on():
    async def run():
        turns = Turns()

        async def hold():
            async with turns.of(["a"]):
                await asyncio.sleep(60)

        holder = asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        waiter = asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        waiter.cancel()
        holder.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        with pytest.raises(KeyError):
            async with turns.of(["a", "b"]):
                raise KeyError
        return len(turns)

    assert asyncio.run(run()) == 0
