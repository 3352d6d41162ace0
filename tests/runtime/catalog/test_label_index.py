"""The label index against a dictionary of sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.catalog import label_index
from runtime.catalog.label_index import MOST_KEPT, LabelIndex

ROWS, CAPACITY = 4, 9
LABELS = [f"tag {letter}" for letter in "abcde"]

operations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, ROWS - 1), st.frozensets(st.sampled_from(LABELS))),
        st.tuples(st.just("clear"), st.integers(0, ROWS - 1), st.just(frozenset())),
    ),
    max_size=60,
)


@given(operations, st.sampled_from([64, 1, 0.5]), st.booleans())
def test_rows_are_found_by_the_labels_they_have_now(program, common, keep):
    """However common a label has to be for its rows to be kept as bits, and also while these are looked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_index, "_COMMON", common)
        patch.setattr(label_index, "_FEW_SHARE", 1)
        patch.setattr(label_index, "_STEP", 2)
        change_and_compare(LabelIndex(ROWS, CAPACITY), program, keep)


def change_and_compare(index, program, keep):
    model, steps = {row: frozenset() for row in range(ROWS)}, iter(())
    for operation, row, labels in program:
        if keep and next(steps, "ended") == "ended":
            steps = index.keep_common()
        room = CAPACITY - sum(map(len, model.values())) + len(model[row])
        assert index.fits(row, len(labels)) == (len(labels) <= room)
        if operation == "clear":
            index.clear(row)
        elif len(labels) <= room:
            index.set(row, labels)
        else:
            continue
        model[row] = labels
        assert index.held == sum(map(len, model.values()))
        for label in LABELS:
            expected = [row for row, its in model.items() if label in its]
            assert sorted(index.rows_with(label).tolist()) == expected
            assert index.carriers(label, ROWS).tolist() == [row in expected for row in range(ROWS)]
        assert [index.count(row) for row in range(ROWS)] == [len(model[row]) for row in range(ROWS)]


def test_memory_stays_what_was_reserved_however_often_labels_change():
    index = LabelIndex(2, 4)
    for n in range(100):
        index.set(n % 2, [f"tag {n}", f"tag {n + 1}"])
    assert index.used_bytes <= 4 * 12
    assert index.rows_with("tag 100").tolist() == [1]
    assert index.rows_with("tag 50").tolist() == []


def test_the_rows_of_no_more_than_a_few_labels_are_kept():
    index = LabelIndex(ROWS, CAPACITY)
    index.set(1, ["tag a"])
    for n in range(3 * MOST_KEPT):
        assert not index.carriers(f"tag {n}", ROWS).any()
        index.set(2, [f"common {n}"])
        assert index.carriers(f"common {n}", ROWS).tolist() == [False, False, True, False]
        assert len(index._kept) <= MOST_KEPT
    assert sum(map(len, index._few.values())) <= ROWS
    assert index.carriers("tag a", ROWS).tolist() == [False, True, False, False]
    index.carriers("tag a", ROWS)[:] = True  # a copy
    assert index.carriers("tag a", 2).tolist() == [False, True]


def test_common_labels_are_found_before_somebody_filters_by_them(monkeypatch):
    monkeypatch.setattr(label_index, "_STEP", 50)
    index = LabelIndex(1_000, 5_000)
    for row in range(1_000):
        index.set(row, ["all", f"of eight {row % 8}", f"of many {row % 200}"])
    for _ in index.keep_common():
        pass
    assert len(index._kept) == 9
    monkeypatch.setattr(index, "_carriers_between", None)
    assert index.carriers("all", 1_000).all()
    assert index.carriers("of eight 3", 1_000).tolist() == [row % 8 == 3 for row in range(1_000)]
