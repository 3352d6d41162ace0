"""The neighbour table against its definitions, counted one user at a time."""

from itertools import pairwise

import numpy as np
import pytest

from runtime.personalization.neighbours import BESIDE, FOLLOWS, LINEAR, TOGETHER
from tests.training.datasets import random_dataset
from training.data.events import SKIP
from training.ranker import neighbours
from training.ranker.neighbours import learn_neighbours


def dense(table, column):
    matrix = np.zeros((table.items, table.items))
    for item in range(table.items):
        entries = slice(table.starts[item], table.starts[item + 1])
        matrix[item, table.rows[entries]] = table.values[entries, column]
    return matrix


@pytest.fixture(scope="module")
def data():
    return random_dataset(3, instants=300)


@pytest.fixture(scope="module")
def by_user(data):
    """Whether a user engaged with an item: [users, items]."""
    engaged = data.events.action != SKIP
    met = np.zeros((len(data.users), len(data.catalogue)))
    met[data.events.user[engaged], data.events.item[engaged]] = 1
    return met


def test_together_is_the_shrunk_cosine_of_the_sets_of_users(data, by_user):
    both, count = by_user.T @ by_user, by_user.sum(axis=0)
    expected = both / (np.sqrt(np.outer(count, count)) + 10)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(dense(learn_neighbours(data), TOGETHER), expected, atol=1e-3)


def test_linear_is_the_positive_part_of_the_ridge_regression(data, by_user):
    inverse = np.linalg.inv(by_user.T @ by_user + 300 * np.eye(by_user.shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(dense(learn_neighbours(data), LINEAR), expected.clip(0), atol=1e-3)


def engaged_by_user(data):
    """The items that each user engaged with, in the order of time."""
    for user in range(len(data.users)):
        history = data.events.of_user(user)
        yield history.item[history.action != SKIP]


def test_follows_is_the_share_of_the_next_three_events(data):
    items = len(data.catalogue)
    total = np.zeros((items, items))
    for engaged in engaged_by_user(data):
        for place, before in enumerate(engaged):
            for lag, weight in ((1, 1.0), (2, 0.5), (3, 0.25)):
                if place + lag < len(engaged) and engaged[place + lag] != before:
                    total[before, engaged[place + lag]] += weight
    expected = total / (total.sum(axis=1, keepdims=True) + 3)
    np.testing.assert_allclose(dense(learn_neighbours(data), FOLLOWS), expected, atol=1e-3)


def test_beside_is_the_share_of_the_events_right_before_and_after(data):
    items = len(data.catalogue)
    total = np.zeros((items, items))
    for engaged in engaged_by_user(data):
        for before, after in pairwise(engaged):
            total[before, after] += 1
            total[after, before] += 1
    expected = total / (total.sum(axis=1, keepdims=True) + 30)
    np.testing.assert_allclose(dense(learn_neighbours(data), BESIDE), expected, atol=1e-3)


def test_pairs_counted_in_steps_are_those_counted_at_once(data, monkeypatch):
    whole = learn_neighbours(data)
    monkeypatch.setattr(neighbours, "_CELLS", 31)  # two items a step
    for one, other in zip(learn_neighbours(data), whole, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("entries", "most"), [(90, 2), (40, 1), (20, 1)])
def test_a_large_catalogue_has_fewer_neighbours_an_item(data, monkeypatch, entries, most):
    monkeypatch.setattr(neighbours, "MOST_ENTRIES", entries)  # of 15 items and four measures
    table = learn_neighbours(data)
    assert entries / 2 < len(table.rows) <= entries
    for column in (TOGETHER, LINEAR, FOLLOWS, BESIDE):
        assert (dense(table, column) > 0).sum(axis=1).max() <= most


def test_where_one_neighbour_an_item_is_too_many_the_popular_items_have_them(data, monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_ENTRIES", 20)
    lengths = np.diff(learn_neighbours(data).starts)
    count = np.bincount(data.events.item[data.events.action != SKIP], minlength=len(lengths))
    assert (lengths == 0).any()
    assert count[lengths > 0].min() >= count[lengths == 0].max()
