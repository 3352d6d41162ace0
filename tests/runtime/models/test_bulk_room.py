"""The line of batches, without texts, threads or a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.models.bulk_room import BulkRoom


async def test_who_finds_no_room_waits_in_line_and_small_ones_do_not_pass():
    room = BulkRoom(10)
    first, large, small = room.take(6), room.take(8), room.take(1)
    assert (first.done(), large.done(), small.done(), room.lined_up) == (True, False, False, 9)
    room.give_back(6)
    assert (large.done(), small.done(), room.held, room.lined_up) == (True, True, 9, 0)


async def test_who_leaves_makes_way():
    room = BulkRoom(10)
    room.take(6)
    large, small = room.take(8), room.take(4)
    large.cancel()
    room.give_back(2)
    assert (small.done(), room.held) == (True, 8)
    room.give_back(8)
    assert (room.held, room.lined_up) == (0, 0)


async def test_more_than_there_is_room_for_is_a_bug():
    with pytest.raises(ValueError, match="this is a bug: 11 tokens never fit in room for 10"):
        BulkRoom(10).take(11)


@given(st.lists(st.tuples(st.integers(1, 10), st.booleans()), max_size=40))
async def test_never_more_than_the_room_is_held_and_everybody_gets_in_by_turn(wishes):
    room, order = BulkRoom(10), []
    places = [(room.take(tokens), tokens, leaves) for tokens, leaves in wishes]
    for place, tokens, leaves in places:
        if leaves and place.cancel():
            continue
        while not place.done():
            holder, held = order.pop(0)
            assert holder.done()
            room.give_back(held)
        order.append((place, tokens))
        assert 0 <= room.held <= 10
    for _, held in order:
        room.give_back(held)
    assert (room.held, room.lined_up) == (0, 0)
