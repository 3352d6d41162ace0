"""Probabilities of actions to train on: exact, calibrated, and nearer to what was drawn than the oracle is."""

import numpy as np
import pytest

from tests.training.datasets import small_world
from training.simulator.expected_actions import expected_actions
from training.simulator.oracle import predict


@pytest.mark.parametrize("order_strength", [1.0, 0.4])
def test_where_all_users_are_alike_they_are_the_oracles(order_strength: float) -> None:
    world = small_world(users=12, profiles=1, rate_shares=(1.0,), order_strength=order_strength, freshness=0.3)
    by_oracle = np.stack([one.actions for one in predict(world, np.arange(12))])
    assert np.allclose(expected_actions(world), by_oracle, atol=1e-5)


def test_they_are_calibrated_and_know_more_than_the_oracle() -> None:
    world = small_world(users=60)
    actions, expected = world.dataset.events.action, expected_actions(world)
    assert np.allclose(expected.mean(axis=0), np.bincount(actions, minlength=4) / len(actions), atol=0.02)
    predictions = predict(world, np.arange(60))
    by_oracle = np.stack([one.actions for one in predictions])
    each = np.arange(len(actions))
    assert np.log(expected[each, actions]).mean() > np.log(by_oracle[each, actions]).mean()
