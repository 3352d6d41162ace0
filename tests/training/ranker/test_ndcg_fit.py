"""Weights fitted to NDCG@10: what they gain over the listwise loss, and when that loss is kept."""

import numpy as np
import pytest

from training.ranker.ndcg_fit import better_of, listwise, ndcg, smooth_loss


def two_kinds_of_targets(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """600 lists of 60 candidates and two features. Half of the targets are far above the rest by the first and below it
    by the second; the others are the other way round, and not as far: no weights bring both among ten."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(600, 60, 2)).astype(np.float32)
    other = rng.permutation(600) < 300
    z[:, 0, 0] += np.where(other, -1.5, 2)
    z[:, 0, 1] += np.where(other, 1, -1)
    return z, np.ones((600, 60), np.float32)


def nothing_met(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """No candidate was met before, so no feature weighs on those alone."""
    return np.zeros(z.shape[:2], bool), np.zeros(z.shape[2], bool)


def test_targets_that_cannot_be_reached_pull_the_listwise_loss_and_not_ndcg() -> None:
    lists, fresh = two_kinds_of_targets(0), two_kinds_of_targets(1)
    start, found = listwise(*lists), better_of(*lists, *nothing_met(lists[0]))
    assert (ndcg(*fresh, found) - ndcg(*fresh, start)).mean() > 0.05
    assert found[1] < 0 < start[1]


def test_the_gradient_is_that_of_the_smooth_ndcg() -> None:
    loss = smooth_loss(*two_kinds_of_targets(0), np.array([0.2, 0.1]))
    at, step = np.array([0.5, -0.3]), 1e-2
    for column in range(2):
        moved = np.eye(2)[column] * step
        slope = (loss(at + moved)[0] - loss(at - moved)[0]) / (2 * step)
        assert loss(at)[1][column] == pytest.approx(slope, rel=0.02)


def test_the_listwise_weights_stay_where_ndcg_gains_nothing_on_other_lists() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(size=(80, 30, 12)).astype(np.float32)  # nothing to learn: what is fitted to one half is chance
    log_weight = np.zeros((80, 30), np.float32)
    halves = [(z[start::2], log_weight[start::2]) for start in (0, 1)]
    assert any(np.array_equal(better_of(*half, *nothing_met(half[0])), listwise(*half)) for half in halves)


def test_the_order_of_new_items_is_not_spent_on_what_users_return_to() -> None:
    """Every target had been met; NDCG is gained by the weights that are of met candidates, and by no other."""
    (z, log_weight), (other, _) = two_kinds_of_targets(0), two_kinds_of_targets(1)
    z = np.concatenate([z, other[..., :1]], axis=2)
    of_met = np.array([True, True, False])
    start, found = listwise(z, log_weight), better_of(z, log_weight, np.ones(z.shape[:2], bool), of_met)
    assert ndcg(z, log_weight, found).mean() > ndcg(z, log_weight, start).mean() + 0.05
    assert found[2] == start[2] != 0
    assert (found[:2] != start[:2]).all()


def test_ndcg_of_lists_counts_what_a_candidate_stands_for() -> None:
    z = np.array([[[1.0], [2.0], [0.0]], [[1.0], [0.0], [2.0]]], np.float32)
    log_weight = np.array([[0, 0, np.log(5)]] * 2, np.float32)
    assert ndcg(z, log_weight, np.array([1.0])) == pytest.approx([1 / np.log2(3), 1 / np.log2(7)])
