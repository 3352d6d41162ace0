"""Clusters of very many rows: a search scores the nearest ones alone and misses next to nothing."""

import asyncio

import numpy as np
import pytest

from runtime.catalog import clusters as module
from runtime.catalog.catalog import Catalog
from runtime.personalization.ranking import cosine_scores, normalised

ROWS = 3_000


@pytest.fixture(autouse=True)
def for_few(monkeypatch):
    """As for a thousand times as many rows."""
    monkeypatch.setattr(module, "LEAST_ROWS", ROWS // 4)
    monkeypatch.setattr(module, "LEAST_MADE_OF", ROWS // 4)
    monkeypatch.setattr(module, "_LEAST_SCORED", 150)


def alike(seed, rows):
    """Vectors around 200 centres."""
    rng = np.random.default_rng(seed)
    centres = normalised(rng.standard_normal((200, 384)))
    return normalised(centres[rng.integers(0, 200, rows)] + 0.04 * rng.standard_normal((rows, 384)))


def catalog_of(rows, labels=lambda n: ()):
    catalog = Catalog(384, 52 * 2 * len(rows), "disk")
    for n, row in enumerate(rows):
        catalog.put(f"item-{n}", row, labels(n))
    return catalog


def make(catalog):
    for _ in making(catalog):
        pass


def making(catalog):
    """In steps, between which things change."""
    yield from catalog.plan_clusters()
    catalog.save_clusters()
    yield from catalog.use_clusters()


def found_near(catalog, rows, queries, wanted):
    """The share of the ten best `wanted` rows that are among those near the query, and of all that are."""
    found, near_rows = 0, 0
    for query in queries:
        near = catalog.near(query, wanted, 100)
        scores = np.where(wanted, cosine_scores(query, rows), -np.inf)
        found += np.count_nonzero(near[np.argsort(-scores)[:10]])
        near_rows += np.count_nonzero(near)
        assert not (near & ~wanted).any()
    return found / (10 * len(queries)), near_rows / (len(queries) * np.count_nonzero(wanted))


def test_the_best_are_in_the_nearest_clusters_also_behind_a_filter():
    rows = alike(1, ROWS)
    catalog = catalog_of(rows, lambda n: ["half"] if n % 2 else [])
    make(catalog)
    for labels in ([], ["half"]):
        found, scored = found_near(catalog, rows, rows[:100], catalog.matching(labels))
        assert found >= 0.97
        assert scored < 0.3


def test_few_rows_are_all_scored_and_so_are_those_of_a_deep_page():
    rows = alike(2, ROWS)
    catalog = catalog_of(rows, lambda n: ["rare"] if n % 5 == 0 else [])
    everything = catalog.matching([])
    assert catalog.near(rows[0], everything, 10) is everything  # there are no clusters yet
    make(catalog)
    rare = catalog.matching(["rare"])
    assert catalog.near(rows[0], rare, 10) is rare
    assert catalog.near(rows[0], everything, ROWS // 2 + 1) is everything
    assert np.count_nonzero(catalog.near(rows[0], everything, 1_000)) >= 1_000


def test_a_filter_of_items_far_from_the_query_finds_them():
    rows = alike(3, ROWS)
    query = rows[0]
    far = np.argsort(rows @ query)[: ROWS // 2].tolist()
    catalog = catalog_of(rows, lambda n, far=frozenset(far): ["far"] if n in far else [])
    make(catalog)
    near = catalog.near(query, catalog.matching(["far"]), 100)
    assert 100 <= np.count_nonzero(near) < ROWS // 3


def test_items_that_come_or_change_are_found_without_new_clusters_also_while_these_are_made():
    rows = alike(4, ROWS)
    catalog = catalog_of(rows[: ROWS // 2])
    make(catalog)
    steps = making(catalog)
    for n in range(ROWS // 2, ROWS):
        catalog.put(f"item-{n}", rows[n])
        if n % 100 == 0:
            next(steps, None)
    replaced = alike(5, 100)
    for n, row in enumerate(replaced):
        catalog.put(f"item-{n}", row)
    rows[: len(replaced)] = replaced
    for _ in range(2):  # by the clusters of half the rows, and by the new ones
        assert found_near(catalog, rows, rows[::50], catalog.matching([]))[0] >= 0.96
        for _ in steps:
            pass


def test_they_are_due_with_many_rows_and_again_when_as_many_have_changed():
    rows = alike(6, ROWS)
    catalog = catalog_of(rows[: ROWS // 4])
    assert not catalog.clusters_due
    catalog.put("one more", rows[0])
    assert catalog.clusters_due
    make(catalog)
    assert not catalog.clusters_due
    for n in range(ROWS // 4 + 2):
        catalog.put(f"item-{n}", rows[n])
    assert catalog.clusters_due
    assert not Catalog(384, 1_536 * 10, "float32").clusters_due


def test_an_interrupted_plan_leaves_the_clusters_that_were_there():
    rows = alike(7, ROWS)
    catalog = catalog_of(rows)
    make(catalog)
    before = catalog.near(rows[0], catalog.matching([]), 100)
    steps = catalog.plan_clusters()
    next(steps)
    steps.close()
    np.testing.assert_array_equal(catalog.near(rows[0], catalog.matching([]), 100), before)


def test_everything_is_found_while_rows_get_new_clusters_and_an_interrupted_change_is_finished():
    rows = alike(8, ROWS)
    catalog = catalog_of(rows)
    for _ in range(2):  # from none, and from those of before
        for _ in catalog.plan_clusters():
            pass
        steps = catalog.use_clusters()
        for _ in range(10):
            next(steps)
        assert catalog.clusters_due
        assert found_near(catalog, rows, rows[::50], catalog.matching([]))[0] >= 0.96
        scan = catalog.scan(rows[0])
        np.testing.assert_allclose(scan.scores(0, ROWS), rows @ rows[0], atol=0.2)
        next(steps)  # also a scan that began before
        np.testing.assert_allclose(scan.scores(0, ROWS), rows @ rows[0], atol=0.2)
        steps.close()
        make(catalog)
        assert not catalog.clusters_due
        assert found_near(catalog, rows, rows[::50], catalog.matching([]))[1] < 0.3


def test_codes_by_clusters_are_half_as_far_off_near_the_query_and_say_so():
    rows = alike(9, ROWS)
    catalog = catalog_of(rows)
    queries = rows[:100]
    near = [np.flatnonzero(rows @ query > 0.3) for query in queries]

    def far_off(query, some):
        return catalog.scan(query).scores_of(some) - rows[some] @ query

    plain = np.concatenate([far_off(*one) for one in zip(queries, near, strict=True)])
    make(catalog)
    by_clusters = np.concatenate([far_off(*one) for one in zip(queries, near, strict=True)])
    said, closer, closer_said = [], [], []
    for query, some in zip(queries, near, strict=True):
        scan = catalog.scan(query)
        said.append(scan.errors(some))
        scores, errors = scan.closer(some, asyncio.run(catalog.finer(some)))
        closer.append(scores - rows[some] @ query)
        closer_said.append(errors)
    closer = np.concatenate(closer)
    assert np.std(by_clusters) < 0.6 * np.std(plain)
    assert np.std(closer) < 0.6 * np.std(by_clusters)
    assert 0.93 < np.mean(np.abs(by_clusters) <= np.concatenate(said)) < 0.99
    assert 0.93 < np.mean(np.abs(closer) <= np.concatenate(closer_said)) < 0.99
