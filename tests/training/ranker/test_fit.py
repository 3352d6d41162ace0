"""Weights of the ranker: what makes a user return to an item is told apart from what makes them try one."""

import numpy as np
import pytest

from runtime.personalization.hybrid import MET, Ranker
from runtime.personalization.ranking_features import NAMES, OWN_NAMES
from training.ranker.fit import fit
from training.ranker.lists import Lists, padded

SIMPLE, OWN = NAMES.index("simple"), NAMES.index("own")


def lists(seed: int, *, opposite: bool) -> Lists:
    """2,000 lists of 30 candidates of which the user has met 10. They choose by `simple`, the higher the better; where
    `opposite`, of what they have met the lower the better."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(2_000):
        x = np.zeros((30, len(NAMES)), np.float32)
        x[:, SIMPLE] = rng.normal(size=30)
        x[:10, OWN] = np.log1p(rng.integers(1, 4, 10))
        utility = 2 * x[:, SIMPLE] + rng.gumbel(size=30)
        if opposite:
            utility[:10] -= 4 * x[:10, SIMPLE]
        made.append(np.roll(x, -int(utility.argmax()), axis=0))
    return padded(made, [np.zeros(30, np.float32)] * len(made))


def test_a_feature_weighs_otherwise_on_what_the_user_has_met() -> None:
    weights = fit(lists(0, opposite=True))
    assert weights["simple"] > 0
    assert weights[f"{MET}simple"] / weights["simple"] == pytest.approx(-2, rel=0.15)
    fresh = lists(1, opposite=True)
    alike = {name: weight for name, weight in weights.items() if not name.startswith(MET)}
    apart, together = (
        Ranker.of("fitted", some).scores(fresh.x.reshape(-1, len(NAMES))).reshape(fresh.log_weight.shape)
        for some in (weights, alike)
    )
    assert (apart.argmax(axis=1) == 0).mean() > (together.argmax(axis=1) == 0).mean() + 0.1


def test_it_weighs_the_same_where_meeting_an_item_changes_nothing() -> None:
    weights = fit(lists(0, opposite=False))
    assert weights["simple"] > 0
    assert abs(weights[f"{MET}simple"]) < 0.25 * weights["simple"]


def test_what_is_known_of_met_items_alone_has_one_weight() -> None:
    weights = fit(lists(0, opposite=True))
    assert not {f"{MET}{name}" for name in OWN_NAMES} & weights.keys()
