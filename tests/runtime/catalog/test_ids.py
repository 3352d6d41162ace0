"""Ids by hash against a dictionary, and what a table of hashes must survive: many deletions, odd characters."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.catalog.ids import MAX_ID_BYTES, IdHashes, Ids, MemoryIds

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
ids = st.one_of(st.sampled_from(["a", "a\0", "a\0\0", "aa", "é", "e\u0301", "x" * MAX_ID_BYTES]), texts)


class SameHash(str):
    """An id whose hash another one has as well."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 7 + (len(self) > 3)


def stored(make: Callable[[int], Ids], operations: list[tuple[bool, str]]) -> None:
    """Add and remove ids, and find after each step what a dictionary finds."""
    table, dictionary, free, rows = make(16), dict[str, int](), [], 0
    for is_added, id in operations:
        if not is_added and id in dictionary:
            table.remove(id, dictionary[id])
            free.append(dictionary.pop(id))
        elif is_added and id not in dictionary and (free or rows < 16):
            if free:
                row = free.pop()
            else:
                row, rows = rows, rows + 1
            table.add(id, row)
            dictionary[id] = row
        everything = [id for _, id in operations] + [type(id)("absent")]
        for some in (everything, everything * 20):  # few are looked for in another way
            assert table.rows(some).tolist() == [dictionary.get(one, -1) for one in some]
        assert [table.row(one) for one in everything] == [dictionary.get(one, -1) for one in everything]
        assert len(table) == len(dictionary)
        assert table.ids(np.arange(rows)) == sorted(dictionary, key=lambda one: dictionary[one])


@pytest.mark.parametrize("make", [MemoryIds, IdHashes])
@given(st.lists(st.tuples(st.booleans(), ids), max_size=60))
def test_finds_what_a_dictionary_finds(make, operations):
    stored(make, operations)


@given(st.lists(st.tuples(st.booleans(), st.text("ab", min_size=1, max_size=5).map(SameHash)), max_size=60))
def test_ids_in_memory_with_one_hash_are_told_apart(operations):
    stored(MemoryIds, operations)


@pytest.mark.parametrize("make", [MemoryIds, IdHashes])
def test_a_table_survives_more_deletions_than_it_has_places(make):
    held = make(100)
    for n in range(100):
        held.add(f"item-{n}", n)
    for n in range(5_000):
        held.remove(f"item-{n}", n % 100)
        held.add(f"item-{n + 100}", n % 100)
    assert held.rows([f"item-{n}" for n in range(5_000, 5_100)]).tolist() == [n % 100 for n in range(5_000, 5_100)]
    assert held.row("item-4999") == -1
    assert held.rows([]).tolist() == []


def test_an_id_that_is_too_long_for_its_place_is_refused():
    with pytest.raises(ValueError, match="1 to 256 bytes, this one has 258"):
        IdHashes(4).add("é" * 129, 0)
