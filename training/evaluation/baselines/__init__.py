"""What the model has to beat: each tuned on the same validation events, by the same figure, over a stated grid."""

from training.evaluation.baselines.actions import ItemMajority, LastAction, Majority, UserMajority
from training.evaluation.baselines.blend import Blend
from training.evaluation.baselines.factors import ImplicitALS
from training.evaluation.baselines.item_to_item import EASE, ItemKNN, Markov
from training.evaluation.baselines.logistic import Logistic
from training.evaluation.baselines.own_history import OwnHistory
from training.evaluation.baselines.popularity import Popularity, RecentPopularity
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.baselines.weighted_average import WeightedAverage
from training.evaluation.protocol import Contender, PredictsActions

KNN_AND_MARKOV = "kNN + Markov"
EVERYTHING = "blend: kNN + EASE + Markov + 7 days + average"
RECENCY = "blend: 7 days + own history"

# Stronger than what the literature compares with: reported beside the usual ones, and told apart.
BEYOND_THE_USUAL = (EVERYTHING, RECENCY)
# What a sequential model has to be above to be worth its weights: margins against these are always reported.
FLOOR = (EASE.name, KNN_AND_MARKOV)
# What is served without any training: at omega 0 the sequence model must not be above it.
SIMPLE = WeightedAverage.name


def ranking_baselines() -> list[Contender]:
    """Every baseline that ranks, blends last: they take over what their parts have tuned."""
    knn, ease, markov = ItemKNN(), EASE(), Markov()
    recent, own, average = RecentPopularity(), OwnHistory(), WeightedAverage()
    blends = [
        Blend(KNN_AND_MARKOV, [knn, markov]),
        Blend(RECENCY, [recent, own]),
        Blend(EVERYTHING, [knn, ease, markov, recent, average]),
    ]
    return [Popularity(), recent, markov, own, knn, ease, ImplicitALS(), average, *blends]


def action_baselines() -> list[PredictsActions]:
    """Every baseline that foretells the action on an item shown."""
    return [Majority(), UserMajority(), ItemMajority(), LastAction(), Logistic()]


__all__ = [
    "BEYOND_THE_USUAL",
    "EASE",
    "EVERYTHING",
    "FLOOR",
    "KNN_AND_MARKOV",
    "RECENCY",
    "SIMPLE",
    "Blend",
    "ImplicitALS",
    "ItemKNN",
    "ItemMajority",
    "LastAction",
    "Logistic",
    "Majority",
    "Markov",
    "OwnHistory",
    "Popularity",
    "RecentPopularity",
    "Tuned",
    "UserMajority",
    "WeightedAverage",
    "action_baselines",
    "ranking_baselines",
]
