import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.catalog.catalog import Catalog, CatalogFull
from runtime.personalization.ranking import cosine_scores


def vector(n):
    return np.array([n, n + 1], np.float32)


def catalog(items):
    return Catalog(dimensions=2, max_bytes=8 * items)


ids = st.sampled_from("abcdef")


@given(st.lists(st.one_of(st.tuples(st.just("put"), ids), st.tuples(st.just("delete"), ids)), max_size=60))
def test_holds_what_a_dict_of_four_items_holds(operations):
    held, model = catalog(4), {}
    for number, (operation, id) in enumerate(operations):
        if operation == "delete":
            assert held.delete(id) == (model.pop(id, None) is not None)
        elif id not in model and len(model) == 4:
            with pytest.raises(CatalogFull, match="4 of 4"):
                held.put(id, vector(number))
        else:
            held.put(id, vector(number))
            model[id] = number
        assert len(held) == len(model)
        found = held.lookup("fabcdefa")
        assert found.ids == [id for id in "fabcdefa" if id in model]
        assert found.unknown == [id for id in "fabcdefa" if id not in model]
        gathered = asyncio.run(held.gather(found.rows))
        assert gathered.shape == (len(found.ids), 2)
        assert gathered[:, 0].tolist() == [model[id] for id in found.ids]
        every = [vector(number) for number in model.values()] or [np.zeros(2)]
        np.testing.assert_allclose(held.mean(), np.mean(every, axis=0))


def test_a_vector_of_other_dimensions_changes_nothing():
    held = catalog(1)
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(2,\)"):
        held.put("a", np.ones(3, np.float32))
    assert "a" not in held


def test_room_is_held_while_an_item_is_made_durable():
    held = catalog(2)
    held.put("a", vector(0))
    with held.room_for(["a", "b", "b"]):
        with (
            pytest.raises(CatalogFull, match="1 more items do not fit: 1 of 2 are held and 1 are on their way"),
            held.room_for(["c"]),
        ):
            pass
        with held.room_for(["a"]):  # replacing needs no room
            pass
        held.put("b", vector(1))
    held.delete("b")
    with held.room_for(["c"]):
        held.put("c", vector(2))


def test_what_is_stored_and_not_ranked_keeps_its_room():
    held = catalog(3)
    held.keep_room("hidden")
    held.keep_room("another bundle's")
    held.put("a", vector(0))
    with (
        pytest.raises(CatalogFull, match="1 of 3 are held and 0 are on their way, 2 are stored and not"),
        held.room_for(["b"]),
    ):
        pass
    with held.room_for(["hidden", "another bundle's"]):
        held.put("hidden", vector(1))
        held.put("another bundle's", vector(2))
    assert (len(held), held.waiting) == (3, 0)
    held.keep_room("a")
    assert ("a" in held, held.holds("a"), len(held), held.waiting) == (False, True, 2, 1)
    assert held.delete("a")
    assert not held.holds("a")
    with held.room_for(["b"]):
        held.put("b", vector(3))


def test_no_room_is_kept_beyond_the_capacity_and_none_given_while_some_lack_it():
    held = catalog(2)
    for id in "abcd":
        held.keep_room(id)
    held.without_room = 2
    assert held.waiting == 2
    for _ in range(2):
        with pytest.raises(CatalogFull), held.room_for(["new"]):
            pass
        held.found_room()
    held.delete("a")
    with held.room_for(["new"]):
        held.put("new", vector(0))


def test_memory_is_taken_as_rows_are_written():
    held = Catalog(dimensions=384, max_bytes=100 << 20)
    assert held.used_bytes == 0
    held.put("a", np.ones(384, np.float32))
    held.put("a", np.zeros(384, np.float32))
    assert held.used_bytes == 1536
    assert held.capacity == (100 << 20) // 1536


@pytest.mark.parametrize("format", ["float32", "int8", "disk"])
def test_cosines_are_those_of_the_gathered_vectors_to_the_last_bit(format, tmp_path):
    rows = np.random.default_rng(1).standard_normal((300, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    held = Catalog(384, 300 * 1_536, format, tmp_path)
    for n, row in enumerate(rows):
        held.put(f"item {n}", row)
    some = np.random.default_rng(2).integers(0, 300, 217)
    first, second = asyncio.run(held.cosines(some, [rows[0], rows[1]]))
    np.testing.assert_array_equal(first, cosine_scores(rows[0], rows[some]))
    np.testing.assert_array_equal(second, cosine_scores(rows[1], rows[some]))
    assert asyncio.run(held.cosines(some[:0], [rows[0]]))[0].shape == (0,)
    assert asyncio.run(held.cosines(some, [])) == []
