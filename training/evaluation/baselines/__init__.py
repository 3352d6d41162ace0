"""What the model has to beat: each tuned on the same validation events, by the same figure, over a stated grid."""

from training.evaluation.baselines.actions import ItemMajority, LastAction, Majority, UserMajority
from training.evaluation.baselines.blend import Blend
from training.evaluation.baselines.factors import ImplicitALS
from training.evaluation.baselines.item_to_item import EASE, ItemKNN, Markov
from training.evaluation.baselines.logistic import Logistic
from training.evaluation.baselines.popularity import Popularity, RecentPopularity
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.baselines.weighted_average import WeightedAverage
from training.evaluation.protocol import Contender, PredictsActions

KNN_AND_MARKOV = "kNN + Markov"
EVERYTHING = "blend: kNN + EASE + Markov + 7 days + average"

# Stronger than what the literature compares with: reported beside the usual ones, and told apart.
BEYOND_THE_USUAL = (EVERYTHING,)
# What a sequential model has to be above to be worth its weights: margins against these are always reported.
FLOOR = (EASE.name, KNN_AND_MARKOV)


def ranking_baselines() -> list[Contender]:
    """Every baseline that ranks, blends last: they take over what their parts have tuned."""
    knn, ease, markov = ItemKNN(), EASE(), Markov()
    recent, average = RecentPopularity(), WeightedAverage()
    parts: list[Tuned] = [knn, ease, markov, recent, average]
    blends = [Blend(KNN_AND_MARKOV, [knn, markov]), Blend(EVERYTHING, parts)]
    return [Popularity(), recent, markov, knn, ease, ImplicitALS(), average, *blends]


def action_baselines() -> list[PredictsActions]:
    """Every baseline that foretells the action on an item shown."""
    return [Majority(), UserMajority(), ItemMajority(), LastAction(), Logistic()]


__all__ = [
    "BEYOND_THE_USUAL",
    "EASE",
    "EVERYTHING",
    "FLOOR",
    "KNN_AND_MARKOV",
    "Blend",
    "ImplicitALS",
    "ItemKNN",
    "ItemMajority",
    "LastAction",
    "Logistic",
    "Majority",
    "Markov",
    "Popularity",
    "RecentPopularity",
    "Tuned",
    "UserMajority",
    "WeightedAverage",
    "action_baselines",
    "ranking_baselines",
]
