"""Drawn rankings have the probabilities that are logged for them."""

from collections import Counter
from itertools import permutations
from random import Random

import numpy as np
import pytest

from runtime.experiments.exploration import (
    epsilon_greedy,
    plackett_luce,
    plackett_luce_propensities,
    thompson_weights,
)

SCORES = [0.9, 0.7, 0.2, 0.1]
DRAWS = 20_000


def _check(draw):
    """Every order is drawn as often as the product of its propensities says."""
    random = Random(5)
    drawn, probability = Counter(), {}
    for _ in range(DRAWS):
        found = draw(random)
        order = tuple(found.order.tolist())
        drawn[order] += 1
        probability[order] = float(found.propensities.prod())
    assert sum(probability.values()) == pytest.approx(1, abs=0.01)
    for order, p in probability.items():
        assert abs(drawn[order] - DRAWS * p) < 5 * (DRAWS * p * (1 - p)) ** 0.5 + 1


def test_plackett_luce_draws_what_it_logs():
    _check(lambda random: plackett_luce(SCORES, 4, 0.3, random))


def test_epsilon_greedy_draws_what_it_logs():
    _check(lambda random: epsilon_greedy(4, 4, 0.3, random))


def test_the_probabilities_of_all_orders_sum_to_1():
    logits = np.array(SCORES) / 0.3
    total = sum(plackett_luce_propensities(logits[list(order)]).prod() for order in permutations(range(4)))
    assert total == pytest.approx(1)


@pytest.mark.parametrize("scores", [[1e4, 0.0, -1e4], [0.0], []])
def test_far_scores_and_few_items_are_no_trouble(scores):
    drawn = plackett_luce(scores, 3, 1.0, Random(1))
    assert drawn.order.tolist() == list(range(len(scores)))
    np.testing.assert_allclose(drawn.propensities, np.ones(len(scores)))


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-3, 1e6])
def test_every_temperature_gives_probabilities(temperature):
    drawn = plackett_luce([3.0, 3.0, 0.5, -8.0], 4, temperature, Random(1))
    assert sorted(drawn.order[:2]) == [0, 1] or temperature == 1e6
    assert np.isfinite(drawn.propensities).all()
    assert drawn.propensities[0] == pytest.approx(0.25 if temperature == 1e6 else 0.5, abs=1e-3)
    assert drawn.propensities[-1] == 1


def test_what_follows_the_first_places_stays():
    for draw in (
        lambda random: plackett_luce(np.zeros(6), 3, 1.0, random),
        lambda random: epsilon_greedy(6, 3, 1.0, random),
    ):
        drawn = draw(Random(2))
        assert sorted(drawn.order[:3]) == [0, 1, 2]
        assert drawn.order[3:].tolist() == [3, 4, 5]
        assert drawn.propensities[3:].tolist() == [1, 1, 1]


def test_a_seed_repeats_a_ranking():
    one, other = (plackett_luce(SCORES, 4, 0.5, Random(9)) for _ in range(2))
    assert one.order.tolist() == other.order.tolist()


def test_thompson_weights_follow_the_rates_above_a_floor():
    weights = thompson_weights([100, 140, 20], [1_000, 1_000, 1_000])
    assert sum(weights) == pytest.approx(1)
    assert weights[1] == max(weights)
    assert min(weights) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("engaged", "closed"), [([3, 9], [200, 210]), ([0, 0, 1], [0, 5, 9]), ([9_900, 10_100], [1_000_000, 1_000_000])]
)
def test_thompson_weights_are_the_shares_of_draws(engaged, closed):
    drawn = np.random.default_rng(3).beta(
        1 + np.array(engaged), 1 + np.array(closed) - np.array(engaged), size=(400_000, len(engaged))
    )
    shares = np.bincount(drawn.argmax(axis=1), minlength=len(engaged)) / len(drawn)
    np.testing.assert_allclose(thompson_weights(engaged, closed, floor=0.0), shares, atol=0.004)
