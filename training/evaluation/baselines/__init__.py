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

# Stronger than what the literature compares with: reported beside the usual ones, and told apart.
BEYOND_THE_USUAL = (Blend.name,)


def ranking_baselines() -> list[Contender]:
    """Every baseline that ranks, the blend of the best ones last: it takes over what they tuned."""
    knn, ease, markov = ItemKNN(), EASE(), Markov()
    recent, average = RecentPopularity(), WeightedAverage()
    parts: list[Tuned] = [knn, ease, markov, recent, average]
    return [Popularity(), recent, markov, knn, ease, ImplicitALS(), average, Blend(parts)]


def action_baselines() -> list[PredictsActions]:
    """Every baseline that foretells the action on an item shown."""
    return [Majority(), UserMajority(), ItemMajority(), LastAction(), Logistic()]


__all__ = [
    "BEYOND_THE_USUAL",
    "EASE",
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
