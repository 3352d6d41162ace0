"""Rankings that were shown teach the ranker: what was touched against what stood beside it."""

from dataclasses import replace

import numpy as np
import pytest

from runtime.personalization.ranking_features import NAMES
from tests.training.off_policy.test_replay import embed
from training.off_policy.simulated import slates
from training.off_policy.targets import ByFeatures
from training.ranker.fit import fit
from training.ranker.impressions import answers, impression_lists
from training.ranker.lists import Lists, padded
from training.ranker.recommender import Hybrid
from training.simulator.parameters import Parameters


@pytest.fixture(scope="module")
def world():
    parameters = replace(Parameters(), users=200, items=120, order_strength=0.0)
    return slates(parameters, 11, pool=8, positions=6, temperature=0.2, embed=embed)


@pytest.fixture(scope="module")
def log(world):
    return world.log(1_500, np.random.default_rng(1))


def test_a_list_has_what_was_touched_first_and_what_was_not_beside_it(log):
    answered = log.events.take(answers(log.events, log.exposures))
    found = impression_lists(log, log.events, answered, None, most=200)
    assert found.x.shape == (200, 6, len(NAMES))
    there = np.isfinite(found.log_weight)
    assert there[:, 0].all()
    assert (np.expm1(found.place[there]).round(4) <= 5).all()
    chosen = np.unique(np.linspace(0, len(answered) - 1, 200).round().astype(np.int64))
    touched = [len(np.unique(answered.item[answered.exposure == of])) for of in answered.exposure[chosen]]
    assert sorted(there.sum(axis=1)) == sorted(6 - number + 1 for number in touched)


def test_an_event_that_answers_no_position_is_no_impression(log):
    some = log.events.take(log.events.exposure >= 0)
    elsewhere = replace(some, item=np.full(len(some), int(log.exposures.item.max()) + 1, np.int32))
    assert answers(some, log.exposures).all()
    assert not answers(elsewhere, log.exposures).any()
    assert not answers(some, None).any()


def _choices(weight: float, bias: float, *, with_place: bool) -> Lists:
    """Users choose by `simple` and by position; what has a high `simple` stands first more often."""
    random = np.random.default_rng(3)
    features, log_weights, places = [], [], []
    for _ in range(3_000):
        x = np.zeros((6, len(NAMES)), np.float32)
        x[:, 0] = random.random(6)
        shown = np.argsort(-(x[:, 0] + random.normal(0, 0.3, 6)))
        place = np.empty(6)
        place[shown] = np.log1p(np.arange(6))
        logits = weight * x[:, 0] + bias * place
        chosen = random.choice(6, p=np.exp(logits) / np.exp(logits).sum())
        order = np.r_[chosen, np.delete(np.arange(6), chosen)]
        features.append(x[order])
        log_weights.append(np.zeros(6, np.float32))
        places.append(place[order].astype(np.float32) if with_place else np.zeros(6, np.float32))
    return padded(features, log_weights, places)


def test_what_a_position_adds_is_not_given_to_what_stands_there():
    with_place = fit(_choices(2.0, -1.5, with_place=True))
    assert with_place.keys() == {"simple"}
    assert with_place["simple"] == pytest.approx(2.0, abs=0.2)
    assert fit(_choices(2.0, -1.5, with_place=False))["simple"] > 3.0


def test_lists_of_different_widths_are_joined():
    wide, narrow = _choices(1.0, 0.0, with_place=True), padded([np.ones((2, len(NAMES)), np.float32)], [np.zeros(2)])
    both = narrow + wide
    assert both.x.shape == (3_001, 6, len(NAMES))
    assert np.isfinite(both.log_weight[0]).tolist() == [True, True, False, False, False, False]


def test_a_ranker_that_learns_from_impressions_gets_more_in_a_simulated_world(world, log):
    events = log.events
    older, newer = (
        log.with_events(events.take(part)) for part in (events.time_us < world.now_us, events.time_us >= world.now_us)
    )
    found = {}
    for impressions in (False, True):
        hybrid = Hybrid(impressions=impressions)
        hybrid.fit(older, newer)
        found[impressions] = world.truth(world.order(ByFeatures("fitted", hybrid.ranker, hybrid.table))[0])
    assert found[True] > 1.01 * found[False]
