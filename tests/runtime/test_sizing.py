"""Sizes follow from the memory found: never more than there is, never less with more memory, and what is set stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.catalog.formats import FORMATS, row_bytes
from runtime.setting_fields import AUTO, MiB
from runtime.settings import Settings
from runtime.sizing import MAX_REQUESTS, RANGES, RESERVE_BYTES, Held, size, size_for_what_fits
from runtime.system.memory_budget import MemoryBudgetError

ONE_CORE = Held(scratches=1)
EXPLICIT = {
    "catalog_bytes": st.integers(MiB, 1 << 34),
    "body_budget_bytes": st.integers(4 * MiB, 256 * MiB),
    "max_requests": st.integers(1, 10_000),
    "cache_bytes": st.integers(0, 1 << 30),
}
memory = st.integers(0, 4 << 30)
held = st.builds(Held, scratches=st.integers(0, 64), items=st.integers(0, 100_000))


@st.composite
def settings(draw):
    given = draw(st.sets(st.sampled_from(sorted(EXPLICIT))))
    body = draw(st.sampled_from([MiB, 4 * MiB]))
    vectors = draw(st.sampled_from(list(FORMATS)))
    return Settings(
        max_body_bytes=body, catalog_vectors=vectors, rate_per_s=draw(st.sampled_from([0.0, 5.0])),
        **{name: draw(EXPLICIT[name]) for name in given},
    )  # fmt: skip


def in_force(sizes):
    return {name: getattr(sizes.settings, name) for name in RANGES}


@given(settings(), memory, held)
def test_what_is_accepted_leaves_the_reserve_and_what_is_refused_says_what_to_lower(asked, available, held):
    sizes = size(asked, available, held)
    if sizes.budget.total <= available - RESERVE_BYTES:
        sizes.check()
        return
    with pytest.raises(
        MemoryBudgetError, match=r"(?s)MiB  in all; available: .* give the machine more memory$"
    ) as error:
        sizes.check()
    advice = str(error.value).splitlines()[-1]
    assert all((f"VOWS_{name.upper()}" in advice) == (getattr(asked, name) != AUTO) for name in RANGES)
    assert in_force(sizes) == in_force(size(asked, 0, held))  # nothing smaller could have been chosen


@given(settings(), memory, held)
def test_what_is_set_stays_and_nothing_is_left_open(asked, available, held):
    found = in_force(size(asked, available, held))
    assert AUTO not in found.values()
    for name, value in found.items():
        if getattr(asked, name) != AUTO:
            assert value == getattr(asked, name)
        else:
            assert value >= RANGES[name].low
    assert found["body_budget_bytes"] >= asked.max_body_bytes
    if asked.catalog_bytes == AUTO:  # what is stored can be loaded
        assert found["catalog_bytes"] >= held.items * row_bytes(asked.catalog_vectors, 384)


@given(settings(), memory, held)
def test_what_is_stored_never_makes_a_start_impossible(asked, available, held):
    without = size(asked, available, Held(scratches=held.scratches))
    found = size_for_what_fits(asked, available, held)
    assert found.budget.fits == without.budget.fits
    if size(asked, available, held).budget.fits:
        assert in_force(found) == in_force(size(asked, available, held))


@given(settings(), memory, memory, held)
def test_more_memory_never_makes_a_size_smaller(asked, one, other, held):
    less, more = (in_force(size(asked, available, held)) for available in sorted((one, other)))
    assert all(less[name] <= more[name] for name in less)


@pytest.mark.parametrize("available_mib", [120, 130])  # what a hard limit of 180 MiB, and a machine of 256, leave
def test_everything_installed_fits_the_smallest_machine(available_mib):
    sizes = size(Settings(), available_mib * MiB, ONE_CORE)
    sizes.check()
    assert sizes.settings.max_requests >= MAX_REQUESTS
    assert sizes.settings.catalog_bytes // row_bytes(sizes.settings.catalog_vectors, 384) >= 8_500
    assert "VOWS_CATALOG_BYTES=" in sizes.lines()


def test_memory_that_is_unknown_gets_what_is_usual():
    sizes = size(Settings(), None, ONE_CORE)
    sizes.check()
    assert sizes.settings.max_requests == MAX_REQUESTS
    assert "available: unknown" in sizes.lines()


def test_a_large_machine_has_a_bound_too():
    assert in_force(size(Settings(), 1 << 40, ONE_CORE)) == {name: found.high for name, found in RANGES.items()}


@pytest.mark.parametrize(
    ("items", "available_mib", "format"),
    [
        (0, 130, "int8"),
        (0, 180, "float32"),
        (8_000, 180, "float32"),
        (60_000, 180, "int8"),
        (300_000, 180, "disk"),
        (10**6, 196, "disk"),
    ],
)  # a hard limit of 256 MiB leaves 196
def test_the_format_is_the_first_in_which_the_items_fit_and_float32_where_it_holds_many(items, available_mib, format):
    sizes = size(Settings(), available_mib * MiB, Held(scratches=1, items=items))
    sizes.check()
    assert sizes.settings.catalog_vectors == format
    assert sizes.settings.catalog_bytes // row_bytes(format, 384) >= items
    assert f"the catalogue is held as {format}" in sizes.lines()


def test_where_nothing_fits_the_fastest_format_is_refused():
    with pytest.raises(MemoryBudgetError):
        size(Settings(), 20 * MiB, Held(scratches=1, items=1_000_000)).check()
