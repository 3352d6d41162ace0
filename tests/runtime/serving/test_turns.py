import asyncio
import threading

import pytest

from runtime.models.worker_pool import DeadlineExceeded
from runtime.serving.histories import reading
from runtime.serving.sequence_thread import SequenceThread
from runtime.serving.turns import Turn, Turns
from runtime.store import UserState


async def test_one_at_a_time_for_an_id_and_together_for_others():
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
    assert (most, len(turns)) == ({"a": 1, "b": 1, "c": 1}, 0)


async def test_who_fails_or_gives_up_passes_the_turn_on():
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
    assert len(turns) == 0


@pytest.mark.parametrize("kind", ["turn", "turns of one", "turns of several"])
async def test_a_wait_ends_with_its_deadline_and_leaves_nothing_behind(kind):
    turn, turns = Turn("busy", timeout_s=0.05), Turns(timeout_s=0.05)
    hold = {
        "turn": turn.hold,
        "turns of one": lambda: turns.of(["a"]),
        "turns of several": lambda: turns.of(["b", "a", "c"]),
    }[kind]
    async with hold():
        for _ in range(3):
            with pytest.raises(DeadlineExceeded, match="s for its turn"):
                async with hold():
                    pass
    async with asyncio.timeout(10), hold():
        pass
    assert len(turns) == 0


async def test_who_has_a_short_history_does_not_wait_for_long_ones():
    class WithTurn:
        history_turn = Turn("reading long histories", timeout_s=0.05)

    def user(events):
        return UserState(interaction_count=events, last_sequence=events, last_updated_us=1, sums=None, stale=False)

    async with reading(WithTurn, user(20_000)):
        for short in (None, user(0), user(1), user(256)):
            async with reading(WithTurn, short):
                pass
        with pytest.raises(DeadlineExceeded):
            async with reading(WithTurn, user(257)):
                pass


async def test_a_run_of_the_sequence_model_that_takes_too_long_is_given_up():
    thread, going_on = SequenceThread(timeout_s=0.05), threading.Event()
    with pytest.raises(DeadlineExceeded, match="did not answer"):
        await thread.run(going_on.wait)
    async with thread.turn():
        with pytest.raises(DeadlineExceeded, match="waited"):
            async with thread.turn():
                pass
    going_on.set()
    assert await thread.run(lambda: 3) == 3
    thread.close()
