"""The simulator is deterministic, logs exact propensities, and has order only where the order strength says so."""

from dataclasses import fields

import numpy as np
import pytest

from tests.training.datasets import small_world
from training.data.events import SKIP, Events
from training.simulator import choice
from training.simulator.parameters import (
    CATEGORIES,
    PHASE_NEEDS,
    PHASES,
    Parameters,
    complement_matrix,
    phase_needs,
)
from training.simulator.text_share import r_squared, text_share
from training.simulator.world import World, simulate


@pytest.fixture(scope="module")
def world() -> World:
    return small_world()


def test_a_seed_determines_the_world(world: World) -> None:
    again, other = small_world(), small_world(seed=2)
    for column in fields(Events):
        assert np.array_equal(
            getattr(world.dataset.events, column.name), getattr(again.dataset.events, column.name), equal_nan=True
        )
    assert np.array_equal(world.log.propensity, again.log.propensity)
    assert world.items.texts == again.items.texts
    assert len(other.dataset.events) != len(world.dataset.events) or other.items.texts != world.items.texts


def test_events_are_in_order_and_within_their_items_lives(world: World) -> None:
    events, items = world.dataset.events, world.items
    same = events.user[1:] == events.user[:-1]
    assert (events.time_us[1:] > events.time_us[:-1])[same].all()  # no ties: the filter counts on it
    assert (items.born_us[events.item] <= events.time_us).all()
    assert (events.time_us < items.withdrawn_us[events.item]).all()
    assert (np.bincount(events.action, minlength=4) > 0).all()
    sessions_of = np.unique(np.stack([events.session, events.user]), axis=1)
    assert len(np.unique(sessions_of[0])) == sessions_of.shape[1]  # a session has one user


def test_policy_is_a_distribution_over_what_can_be_shown() -> None:
    rng = np.random.default_rng(1)
    shown = rng.random((7, 30)) < 0.5
    shown[:, 0] = True
    p = choice.policy(rng.normal(size=(7, 30)), rng.normal(size=30), shown, Parameters())
    assert p.sum(axis=1) == pytest.approx(np.ones(7))
    assert (p[~shown] == 0).all()
    assert (p[shown] >= Parameters().random_share / 30 - 1e-12).all()  # nothing that can be shown never is


def test_logged_propensities_are_those_of_the_draw(world: World) -> None:
    """Recomputed from the log alone, event by event, for some users."""
    p, items, log = world.parameters, world.items, world.log
    vectors = world.dataset.catalogue.vectors.astype(np.float64)
    for user in range(5):
        start = int(world.dataset.starts[user])
        liked = np.zeros(vectors.shape[1])
        events = world.dataset.events.of_user(user)
        for step in range(len(events)):
            shown = items.alive(events.time_us[step][None])[0]
            if log.on_page[start + step]:
                shown &= items.category == items.category[events.item[step]]
            cosines = vectors @ liked / max(np.linalg.norm(liked), 1e-6)
            expected = choice.policy(cosines, items.log_popularity, shown, p)
            assert log.propensity[start + step] == pytest.approx(expected[events.item[step]], rel=1e-4)
            if events.action[step] != SKIP:
                liked += vectors[events.item[step]]


def test_inverse_propensities_count_the_items(world: World) -> None:
    """E[1/p] over draws is the number of items that could be drawn: the weights of off-policy estimates are right."""
    events, log = world.dataset.events, world.log
    alive = world.items.alive(events.time_us)
    same = world.items.category[None, :] == world.items.category[events.item][:, None]
    could = np.where(log.on_page, (alive & same).sum(axis=1), alive.sum(axis=1))
    ratio = (1 / log.propensity / could).mean()
    assert ratio == pytest.approx(1, abs=0.08)


def test_laws_are_distributions() -> None:
    p = Parameters()
    rng = np.random.default_rng(2)
    days = rng.uniform(-30, 500, size=20)
    assert choice.phase_transitions(days, p).sum(axis=-1) == pytest.approx(np.ones((20, len(PHASES))))
    assert (choice.phase_transitions(days, p) >= 0).all()
    assert choice.first_phase(days, p).sum(axis=-1) == pytest.approx(np.ones(20))
    counts = rng.integers(4, size=(2, 20, len(CATEGORIES))).astype(float)
    settled = rng.integers(-1, len(CATEGORIES), size=20)
    assert choice.session_intent(*counts, settled, p).sum(axis=-1) == pytest.approx(np.ones((20, len(PHASES))))
    moves = choice.intent_transition(settled.clip(0), rng.integers(4, size=20), p)
    assert moves.sum(axis=-1) == pytest.approx(np.ones((20, len(CATEGORIES))))
    actions = choice.action_probabilities(rng.normal(size=20), rng.integers(3, size=20), rng.integers(8, size=20), p)
    assert actions.sum(axis=-1) == pytest.approx(np.ones(20))
    assert (actions >= 0).all()


def order_information(world: World, seed: int) -> float:
    """How many standard deviations the chance that neighbours share a category lies above that of shuffled users."""
    events = world.dataset.events
    engaged = events.action != SKIP
    user, category = events.user[engaged], world.items.category[events.item[engaged]]
    same_user = user[1:] == user[:-1]

    def repeats(categories: np.ndarray) -> float:
        return float((categories[1:] == categories[:-1])[same_user].mean())

    rng = np.random.default_rng(seed)
    shuffled = [repeats(category[np.lexsort((rng.random(len(user)), user))]) for _ in range(60)]
    return float((repeats(category) - np.mean(shuffled)) / np.std(shuffled))


def test_order_increases_with_order_strength() -> None:
    still: dict[str, object] = {"born_later": 0.0, "withdrawn": 0.0, "users": 300}  # births are order, too
    none, some, full = (
        order_information(small_world(order_strength=order_strength, **still), 5) for order_strength in (0.0, 0.5, 1.0)
    )
    assert abs(none) < 3.5
    assert 6 < some < full


def test_order_strength_outside_0_to_1_raises() -> None:
    with pytest.raises(ValueError, match=r"order_strength is 1\.5"):
        Parameters(order_strength=1.5)


def test_r_squared_of_what_is_linear_and_of_noise() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(300, 10))
    assert r_squared(features, features @ rng.normal(size=(10, 4))) > 0.99
    assert r_squared(features, rng.normal(size=(300, 4))) < 0.02


def test_texts_explain_a_third_to_a_half(
    bundle_path: object, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real text vectors: less, and texts would be useless; more, and the simple model would be the oracle."""
    monkeypatch.setenv("VOWS_CACHE_DIR", str(tmp_path))
    assert 0.3 <= text_share(simulate(Parameters(users=20, items=360), seed=3)) <= 0.5


def test_own_laws_are_the_same_laws_with_other_categories() -> None:
    """Phase needs and complements are permuted, each by itself, and differ between worlds."""
    assert np.array_equal(phase_needs(0), PHASE_NEEDS)
    for laws in (1, 2):
        needs, complements = phase_needs(laws), complement_matrix(laws)
        assert not np.array_equal(needs, PHASE_NEEDS)
        assert not np.array_equal(complements, complement_matrix())
        assert np.array_equal(np.sort(needs, axis=1), np.sort(PHASE_NEEDS, axis=1))
        assert np.allclose(complements.sum(axis=1), 1)
        assert not complements.diagonal().any()
        assert np.allclose(np.sort(complements.ravel()), np.sort(complement_matrix().ravel()))
    assert not np.array_equal(phase_needs(1), phase_needs(2))
    assert not np.array_equal(small_world(laws=1).dataset.events.item, small_world().dataset.events.item)


def test_the_weakest_traits_decide_where_utility_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    weights, traits = rng.normal(size=(5, 8)), rng.normal(size=(40, 8))
    found = choice.liking(weights, traits, Parameters(utility_form="weakest"))
    for user in range(5):
        worst = np.array([sum(sorted(weights[user] * item)[:2]) for item in traits])
        assert np.corrcoef(found[user], worst)[0, 1] == pytest.approx(1)
    assert np.allclose(found.std(axis=1), 1)
    assert np.allclose(choice.liking(weights, traits, Parameters()), weights @ traits.T)
    with pytest.raises(ValueError, match="utility_form is 'other'"):
        Parameters(utility_form="other")


def test_what_is_fresh_is_engaged_with_more_and_its_appeal_halves() -> None:
    changes = {"born_later": 0.6, "freshness": 1.2, "policy_freshness": 12.0}
    p = Parameters(**changes)
    hours = np.array([0, 12, 24, -3]) * 3_600_000_000
    assert choice.fresh(np.zeros(4, np.int64), hours, p) == pytest.approx([1, 0.5, 0.25, 1])
    assert choice.fresh(np.zeros(4, np.int64), hours, Parameters()) == 0
    world = small_world(**changes, items=300)
    events = world.dataset.events
    age_hours = (events.time_us - world.items.born_us[events.item]) / 3.6e9
    engaged = events.action != SKIP
    assert engaged[age_hours < 12].mean() > engaged[age_hours > 240].mean() + 0.03
    assert world.dataset.name == "simulated, order strength 1, freshness 1.2, seed 1"
