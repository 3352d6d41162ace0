"""Ids by hash against ids by dictionary, and what a table of hashes must survive: many deletions, odd characters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.catalog.ids import MAX_ID_BYTES, IdDictionary, IdHashes

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
ids = st.one_of(st.sampled_from(["a", "a\0", "a\0\0", "aa", "é", "e\u0301", "x" * MAX_ID_BYTES]), texts)


@given(st.lists(st.tuples(st.booleans(), ids), max_size=60))
def test_hashes_say_what_a_dictionary_says(operations):
    hashes, dictionary, free, rows = IdHashes(16), IdDictionary(), [], 0
    for is_added, id in operations:
        row = dictionary.row(id)
        if not is_added and row >= 0:
            hashes.remove(id, row)
            dictionary.remove(id, row)
            free.append(row)
        elif is_added and row < 0 and (free or rows < 16):
            if free:
                row = free.pop()
            else:
                row, rows = rows, rows + 1
            hashes.add(id, row)
            dictionary.add(id, row)
        everything = [id for _, id in operations] + ["absent"]
        assert hashes.rows(everything).tolist() == dictionary.rows(everything).tolist()
        assert len(hashes) == len(dictionary)
        every = np.arange(rows)
        assert hashes.ids(every) == dictionary.ids(every)


def test_a_table_survives_more_deletions_than_it_has_places():
    held = IdHashes(100)
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
