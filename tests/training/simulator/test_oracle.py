"""The oracle is exact: compared with a sum over every hidden path, and calibrated."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.training.datasets import small_world
from training.data.events import ACTIONS
from training.evaluation import metrics
from training.simulator import choice
from training.simulator.items import DAY_US
from training.simulator.oracle import predict, predict_user, taste_cosine
from training.simulator.parameters import CATEGORIES, PHASES, Parameters
from training.simulator.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(order_strength=0.7)


def path_sum(world: World, user: int) -> np.ndarray:
    """P(second action | its item, the first event) by summing over profile, habit, phase, intents and what each
    impression was looked at for, one term at a time."""
    p, items, profiles = world.parameters, world.items, world.profiles
    events = world.dataset.events.of_user(user)
    first = int(world.dataset.starts[user])
    phases = choice.first_phase(np.asarray((world.users.wedding_us[user] - events.time_us[0]) / DAY_US), p)
    nothing = np.zeros(len(CATEGORIES))
    intents = choice.session_intent(nothing, nothing, np.array(-1), p)
    moves = choice.intent_transition(np.asarray(items.category[events.item[0]]), events.action[:1].astype(int)[0], p)
    vectors = world.dataset.catalogue.vectors
    liked = [np.zeros(vectors.shape[1]), vectors[events.item[0]] * float(events.action[0] > 0)]
    shown = []  # P(item | looked for), of each event
    for step in range(2):
        alive = items.alive(events.time_us[step][None])[0]
        cosines = vectors @ liked[step] / max(np.linalg.norm(liked[step]), 1e-6)
        feed = choice.policy(cosines, items.log_popularity, alive, p)[events.item[step]]
        of_category = items.category == items.category[events.item[step]]
        page = choice.policy(cosines, items.log_popularity, alive & of_category, p)[events.item[step]]
        shown.append(
            [
                (1 - p.category_page) * feed + p.category_page * page * (looked == items.category[events.item[step]])
                for looked in range(len(CATEGORIES))
            ]
        )

    def law(step: int, profile: int, rate: int, looked: int) -> np.ndarray:
        item = events.item[step]
        seen = events.action[0] if step and events.item[0] == item else choice.UNSEEN
        utility = choice.utility(
            profiles.taste[profile] @ items.traits[item],
            items.quality[item],
            np.asarray(looked == items.category[item]),
            np.asarray(seen),
            choice.context_effect(events.device[step], events.time_us[step], p),
            p,
        )
        return choice.action_probabilities(utility, np.asarray(rate), world.log.place[first + step], p)

    total = np.zeros(len(ACTIONS))
    for profile, rate in itertools.product(range(p.profiles), range(3)):
        laws = [[law(step, profile, rate, looked) for looked in range(len(CATEGORIES))] for step in range(2)]
        for phase, before, after in itertools.product(range(len(PHASES)), *[range(len(CATEGORIES))] * 2):
            chance = p.rate_shares[rate] * phases[phase] * intents[phase, before] * moves[before, after]
            given = np.zeros(len(ACTIONS))
            seen = 0.0
            for looked in range(len(CATEGORIES)):
                lasting = (1 - p.order_strength) * profiles.lasting[profile, looked]
                seen += (
                    (p.order_strength * (looked == before) + lasting)
                    * shown[0][looked]
                    * laws[0][looked][events.action[0]]
                )
                given += (p.order_strength * (looked == after) + lasting) * shown[1][looked] * laws[1][looked]
            total += chance * seen * given
    return total / total.sum()


def test_the_second_action_is_the_sum_over_all_paths() -> None:
    world = small_world(order_strength=0.7, profiles=2, users=12)
    for user in (0, 3):
        found = [
            prediction.actions for prediction, _ in zip(predict_user(world, user, frozenset()), range(2), strict=False)
        ]
        assert found[1] == pytest.approx(path_sum(world, user), rel=1e-6)


def test_the_oracle_is_calibrated_and_better_than_constant_shares(world: World) -> None:
    predictions = predict(world, np.arange(60))
    rows, predicted = np.array([one.row for one in predictions]), np.stack([one.actions for one in predictions])
    actions = world.dataset.events.action[rows]
    assert predicted.sum(axis=1) == pytest.approx(np.ones(len(rows)))
    figures = metrics.action_figures(predicted, actions)
    assert figures.calibration_error < 0.03
    shares = np.bincount(actions, minlength=4) / len(actions)
    assert figures.log_loss < metrics.log_losses(np.tile(shares, (len(actions), 1)), actions).mean() - 0.2


def test_taste_is_inferred_better_with_more_events(world: World) -> None:
    predictions = predict(world, np.arange(40))
    starts = world.dataset.starts
    begun = [one for one in predictions if one.row < starts[world.dataset.events.user[one.row]] + 5]
    assert taste_cosine(world, begun) + 0.1 < taste_cosine(world, predictions) <= 1


def test_predictions_do_not_depend_on_later_events(world: World) -> None:
    """Changing the end of a log leaves the predictions before it unchanged."""
    events = world.dataset.events
    user = int(np.argmax(np.diff(world.dataset.starts)))
    start, end = world.dataset.starts[user : user + 2]
    before = [p.actions for p in predict_user(world, user, frozenset())]
    changed = events.action.copy()
    middle = (start + end) // 2
    changed[middle:end] = 3 - changed[middle:end]
    other = World(
        **{**vars(world), "dataset": world.dataset.with_events(type(events)(**{**vars(events), "action": changed}))}
    )
    after = [p.actions for p in predict_user(other, user, frozenset())]
    kept = int(middle - start)
    assert np.array_equal(before[: kept + 1], after[: kept + 1])
    assert not np.allclose(before[kept + 1 :], after[kept + 1 :])


def test_item_scores_are_a_sub_distribution(world: World) -> None:
    """The chance that the next impression shows an item and engages, summed over items, is a chance."""
    user = 4
    start, end = world.dataset.starts[user : user + 2]
    scored = list(predict_user(world, user, frozenset(range(start, end))))
    assert len(scored) == end - start
    for prediction in scored:
        assert prediction.item_scores is not None
        assert (prediction.item_scores >= 0).all()
        assert 0 < prediction.item_scores.sum() < 1


@pytest.mark.parametrize(
    "changes",
    [{"laws": 3}, {"utility_form": "weakest"}, {"freshness": 1.2, "policy_freshness": 12.0, "items": 300}],
    ids=["own laws", "weakest traits", "freshness"],
)
def test_it_stays_calibrated_in_worlds_of_other_laws(changes: dict[str, Any]) -> None:
    """Knowing the laws, it predicts as often as it says, and better than with the laws of other worlds."""
    world = small_world(**changes)
    predictions = predict(world, np.arange(60))
    actions = world.dataset.events.action[[one.row for one in predictions]]
    found = np.stack([one.actions for one in predictions])
    assert metrics.calibration(found, actions).error < 0.03
    usual = replace(
        world,
        parameters=replace(
            world.parameters, **{name: getattr(Parameters(), name) for name in changes if name != "items"}
        ),
    )
    wrong = np.stack([one.actions for one in predict(usual, np.arange(60))])
    assert metrics.log_losses(found, actions).mean() < metrics.log_losses(wrong, actions).mean() - 0.01
