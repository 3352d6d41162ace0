"""The scan against a plain ranking of everything, and under changes while it runs."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.catalog.binary_scan import BinaryScan
from runtime.catalog.catalog import Catalog
from runtime.catalog.formats import FORMATS
from runtime.personalization.diversity import mmr
from runtime.personalization.ranking import cosine_scores, normalised, ranked
from runtime.serving import catalog_search as search
from runtime.serving.catalog_search import Search

DIMENSIONS = 8


def vectors(seed, n):
    return normalised(np.random.default_rng(seed).standard_normal((n, DIMENSIONS)))


def maker(format):
    """Makes a catalogue of rows in a format."""

    def make(rows, labels=lambda n: ()):
        catalog = Catalog(DIMENSIONS, 4 * DIMENSIONS * max(len(rows), 1), format)
        for n, row in enumerate(rows):
            catalog.put(f"item-{n}", row, labels(n))
        return catalog

    return make


@pytest.fixture(scope="module", params=["float32", "int8"])
def catalog_of(request):
    return maker(request.param)


def best(catalog, query, k, **options):
    return asyncio.run(Search(catalog).best(query, k, **options))


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 60),
    st.integers(1, 70),
    st.sampled_from([(), ("tag even",), ("tag even", "vendor third"), ("tag nobody",)]),
    st.sets(st.integers(0, 70)),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_it_gives_what_a_plain_ranking_gives(catalog_of, seed, n, k, labels, excluded, diversity):
    def labels_of(n):
        return [label for label, every in (("tag even", 2), ("vendor third", 3)) if n % every == 0]

    rows, query = vectors(seed, n), vectors(seed + 1, 1)[0]
    catalog = catalog_of(rows, labels_of)
    found = best(
        catalog, query, k, labels=labels, excluded=[f"item-{one}" for one in excluded], diversity=diversity
    )  # fmt: skip
    passed = [one for one in range(n) if one not in excluded and set(labels) <= set(labels_of(one))]
    scores = cosine_scores(query, rows)
    expected = sorted(passed, key=lambda one: (-scores[one], one))
    if diversity:
        pool = expected[: max(100, 4 * k)]
        expected = [pool[one] for one in mmr(scores[pool], rows[pool], k, diversity=diversity)]
    assert found.matched == len(passed)
    assert [hit.id for hit in found.hits] == [f"item-{one}" for one in expected[:k]]
    assert [hit.score for hit in found.hits] == scores[expected[:k]].tolist()  # to the last bit


@pytest.fixture(scope="module", params=FORMATS)
def any_catalog_of(request):
    """In any format: where all rows are among the best, estimates change nothing."""
    return maker(request.param)


def test_deleted_items_are_not_found_and_their_rows_are_used_again(any_catalog_of):
    rows = vectors(1, 30)
    catalog = any_catalog_of(rows, lambda n: ["tag old"])
    for n in range(0, 30, 2):
        catalog.delete(f"item-{n}")
    found = best(catalog, rows[4], 30)
    assert found.matched == 15
    assert "item-4" not in {hit.id for hit in found.hits}
    catalog.put("new", rows[4], ["tag new"])
    assert best(catalog, rows[4], 30).hits[0].id == "new"
    assert best(catalog, rows[4], 30, labels=["tag new"]).matched == 1
    assert best(catalog, rows[4], 30, labels=["tag old"]).matched == 15


async def test_what_goes_or_changes_during_the_scan_is_not_answered_as_it_was(any_catalog_of, monkeypatch):
    monkeypatch.setattr(search, "STEP_ROWS", 8)
    rows = vectors(2, 40)
    query = rows[3]
    catalog = any_catalog_of(rows)
    scan = asyncio.ensure_future(Search(catalog).best(query, 40))
    await asyncio.sleep(0)
    assert not scan.done()
    catalog.delete("item-3")
    catalog.put("item-5", -query)
    found = await scan
    scores = {hit.id: hit.score for hit in found.hits}
    assert "item-3" not in scores
    assert len(scores) == 39
    assert scores["item-5"] == cosine_scores(query, -query[np.newaxis])[0]
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


async def test_scans_take_turns_and_each_gets_its_own_answer(catalog_of, monkeypatch):
    monkeypatch.setattr(search, "STEP_ROWS", 8)
    rows = vectors(3, 64)
    together = Search(catalog_of(rows))
    assert [found.hits[0].id for found in await asyncio.gather(*(together.best(row, 1) for row in rows))] == [
        f"item-{n}" for n in range(64)
    ]


def near_neighbours(n):
    """384 dimensions, and scores that int8 cannot tell apart."""
    rng = np.random.default_rng(7)
    centres = normalised(rng.standard_normal((20, 384)))
    return normalised(centres[rng.integers(0, 20, n)] + 0.02 * rng.standard_normal((n, 384)))


def test_int8_reads_few_exact_vectors_and_finds_the_same(monkeypatch):
    rows, read = near_neighbours(3_000), []
    held, compact = Catalog(384, max_bytes=3_000 * 1_536), Catalog(384, 3_000 * 392, "int8")
    for n, row in enumerate(rows):
        held.put(f"item-{n}", row)
        compact.put(f"item-{n}", row)
    assert compact.used_bytes < held.used_bytes / 3.9
    gather = Catalog.gather
    monkeypatch.setattr(Catalog, "gather", lambda self, rows: read.append(len(rows)) or gather(self, rows))
    for query in rows[::150]:
        assert best(compact, query, 10) == best(held, query, 10)
    assert max(read) < 400


def test_estimates_find_the_nearest_also_behind_a_filter_and_score_them_exactly():
    rows = near_neighbours(6_000)
    held, on_disk = Catalog(384, 6_000 * 1_536), Catalog(384, 6_000 * 52, "disk")
    for n, row in enumerate(rows):
        for catalog in (held, on_disk):
            catalog.put(f"item-{n}", row, ["tag rare"] if n % 100 == 0 else [])
    for labels in ([], ["tag rare"]):
        found = 0
        for query in rows[::150]:
            exact = {hit.id: hit.score for hit in best(held, query, 10, labels=labels).hits}
            hits = best(on_disk, query, 10, labels=labels).hits
            assert len(hits) == 10
            found += sum(exact.get(hit.id) == hit.score for hit in hits)  # to the last bit
            first = best(held, query, 5, labels=labels, excluded=list(exact), diversity=0.3)
            assert len({hit.id for hit in first.hits} & exact.keys()) == 0
        assert found >= 0.99 * 400


def test_estimates_find_deep_pages_and_large_pools_as_well():
    """What is enough for ten results is not for the 1,000 that can be paged through."""
    rows = near_neighbours(6_000)
    catalog = Catalog(384, 6_000 * 52, "disk")
    for n, row in enumerate(rows):
        catalog.put(f"item-{n}", row)
    for k in (100, 400, 1_000):
        found = 0
        for query in rows[::600]:
            nearest = {f"item-{n}" for n in np.argsort(-(rows @ query), kind="stable")[:k].tolist()}
            found += len(nearest & {hit.id for hit in best(catalog, query, k).hits})
        assert found >= 0.99 * k * 10, k


def test_the_pool_is_found_whatever_the_steps(catalog_of, monkeypatch):
    rows = vectors(4, 500)
    catalog = catalog_of(rows, lambda n: ["tag rare"] if n % 50 == 0 else [])
    whole = best(catalog, rows[0], 7)
    few = best(catalog, rows[0], 7, labels=["tag rare"])
    assert few.matched == 10
    assert len(few.hits) == 7  # as many as requested, though one in fifty passes
    for step in (1, 7, 499):
        monkeypatch.setattr(search, "STEP_ROWS", step)
        assert best(catalog, rows[0], 7) == whole
        assert best(catalog, rows[0], 7, labels=["tag rare"]) == few


def test_never_more_than_a_bounded_number_is_scored_again():
    kept = search._Best(10, 1_024)
    for start in range(0, 50_000, 5_000):
        same = np.ones(5_000, np.float32)
        kept.add(np.arange(start, start + 5_000), same, np.full(5_000, 0.1, np.float32))
        assert len(kept.rows) <= 2 * 1_024
    assert kept.kept().tolist() == list(range(1_024))  # of equals the earliest


def test_estimates_of_few_rows_find_what_all_exact_scores_find(monkeypatch):
    """With steps and pools so small that all kinds of estimates leave rows out."""
    monkeypatch.setattr(search, "STEP_ROWS", 500)
    monkeypatch.setattr(BinaryScan, "most_rescored", 300)
    monkeypatch.setattr(BinaryScan, "most_exact", 60)
    rng = np.random.default_rng(9)
    centres = normalised(rng.standard_normal((40, 384)))
    rows = normalised(centres[rng.integers(0, 40, 6_000)] + 0.03 * rng.standard_normal((6_000, 384)))
    catalog = Catalog(384, 52 * 6_000, "disk")
    for n, row in enumerate(rows):
        catalog.put(f"item-{n}", row, [f"tag {n % 100}"])
    found = to_find = 0
    possible, used = BinaryScan.possible, []
    monkeypatch.setattr(BinaryScan, "possible", lambda self, *rows: used.append(rows) or possible(self, *rows))
    for query in rows[:30]:
        for labels in ((), ("tag 7",)):
            scores = cosine_scores(query, rows)
            scores[[bool(labels) and n % 100 != 7 for n in range(6_000)]] = -np.inf
            exact = {f"item-{n}" for n in ranked(scores)[:10]}
            hits = best(catalog, query, 10, labels=labels).hits
            assert [hit.score for hit in hits] == [scores[int(hit.id[5:])] for hit in hits]  # exact, to the last bit
            assert len(hits) == 10
            found += len(exact.intersection(hit.id for hit in hits))
            to_find += 10
    assert found > 0.95 * to_find
    assert len(used) > 100  # searches of everything use them, from the second step on


def test_what_cannot_be_among_the_best_is_not_looked_at_again():
    kept = search._Best(2, 1_024)
    kept.add(np.arange(3_000), np.linspace(0, 0.9, 3_000, dtype=np.float32), np.full(3_000, 0.01, np.float32))
    assert 0.87 < kept.likely < 0.89  # a row below it is surely worse than two others
    assert kept.least == -np.inf  # few enough are left, so that none has to be given up
