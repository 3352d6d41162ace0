"""The baselines: each with a grid of hyperparameters, selected on the same validation events by the same metric."""

from training.evaluation.baselines.actions import ItemMajority, LastAction, Majority, UserMajority
from training.evaluation.baselines.als import ImplicitALS
from training.evaluation.baselines.blend import Blend
from training.evaluation.baselines.item_to_item import EASE, ItemKNN, Markov
from training.evaluation.baselines.logistic import Logistic
from training.evaluation.baselines.own_history import OwnHistory
from training.evaluation.baselines.popularity import FreshPopularity, Popularity
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.baselines.weighted_average import WeightedAverage
from training.evaluation.protocol import PredictsActions, Recommender

KNN_AND_MARKOV = "kNN + Markov"
RECENCY = "blend: popularity + own history"
FRESH = "blend: popularity + own history + average"
EVERYTHING = "blend: kNN + EASE + Markov + popularity + own history + average"

# Stronger than what the literature compares with: reported separately from the standard baselines.
EXTENDED_BLENDS = (EVERYTHING, RECENCY, FRESH)
# Strong baselines of sequential recommendation: differences to these are always reported.
REFERENCE_BASELINES = (EASE.name, KNN_AND_MARKOV)
# What is served without training: where the order of events does not matter, the sequence model should not differ
# from it.
SIMPLE = WeightedAverage.name


def ranking_baselines() -> list[Recommender]:
    """New instances of every baseline that ranks. Blends are last: they reuse the selected hyperparameters of their
    parts."""
    knn, ease, markov = ItemKNN(), EASE(), Markov()
    fresh, own, average = FreshPopularity(), OwnHistory(), WeightedAverage()
    blends = [
        Blend(KNN_AND_MARKOV, [knn, markov]),
        Blend(RECENCY, [fresh, own]),
        Blend(FRESH, [fresh, own, average]),
        Blend(EVERYTHING, [knn, ease, markov, fresh, own, average]),
    ]
    return [Popularity(), fresh, markov, own, knn, ease, ImplicitALS(), average, *blends]


def action_baselines() -> list[PredictsActions]:
    """New instances of every baseline that predicts the action on a given item."""
    return [Majority(), UserMajority(), ItemMajority(), LastAction(), Logistic()]


__all__ = [
    "EASE",
    "EVERYTHING",
    "EXTENDED_BLENDS",
    "FRESH",
    "KNN_AND_MARKOV",
    "RECENCY",
    "REFERENCE_BASELINES",
    "SIMPLE",
    "Blend",
    "FreshPopularity",
    "ImplicitALS",
    "ItemKNN",
    "ItemMajority",
    "LastAction",
    "Logistic",
    "Majority",
    "Markov",
    "OwnHistory",
    "Popularity",
    "Tuned",
    "UserMajority",
    "WeightedAverage",
    "action_baselines",
    "ranking_baselines",
]
