"""The simulations say what the server would, and the other confidence sequences are what they claim to be."""

import math

import numpy as np
import pytest

from bench.experiment_batches import adaptive_worlds
from bench.experiment_bets import bernstein_evidence, betting_evidence, draw, held, interval
from runtime.experiments.adaptive import log_evidence

ALPHA = 0.05


def test_the_evidence_of_batches_is_the_servers():
    seen = adaptive_worlds(3, 3_000, 0.1, 0.2, 2.0, ALPHA, np.random.default_rng(1))
    assert len(seen.first) == 3
    assert seen.users.tolist() == list(range(100, 3_001, 100))
    assert seen.evidence[0, -1] == pytest.approx(float(log_evidence(seen.first, np.array([0.0]), ALPHA)[0]))
    assert len({batch.weight for batch in seen.first}) > 1


def test_weights_that_follow_outcomes_decide_no_world_without_an_effect_more_often_than_alpha():
    seen = adaptive_worlds(200, 5_000, 0.3, 0.0, 2.0, ALPHA, np.random.default_rng(2))
    assert (seen.evidence >= -math.log(ALPHA)).any(axis=1).mean() <= ALPHA
    assert (seen.pooled_z > 1)[:, 2:].any(axis=1).mean() > ALPHA  # counts put together do


def test_capital_that_is_bet_on_the_truth_does_not_grow():
    users = draw(20_000, 200, 0.3, 0.1, np.random.default_rng(3))
    capital = np.exp(betting_evidence(users, 0.1, ALPHA)[:, -1])
    assert capital.mean() == pytest.approx(1, abs=4 * capital.std() / math.sqrt(len(capital)))


@pytest.mark.parametrize("evidence", [betting_evidence, bernstein_evidence])
def test_intervals_hold_the_truth_and_say_more_with_more_users(evidence):
    random = np.random.default_rng(4)
    assert held(evidence, 40, np.arange(100, 2_001, 100), 0.3, 0.1, ALPHA, random) >= 0.9
    users = draw(1, 20_000, 0.3, 0.1, random)
    widths = []
    for size in (1_000, 20_000):
        lower, upper = interval(evidence, users.first(size), ALPHA)
        assert lower < 0.1 < upper
        widths.append(upper - lower)
    assert widths[1] < widths[0] / 2
