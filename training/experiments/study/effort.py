"""How much is spent on each model of a study: the same for all that are compared."""

from typing import Any, NamedTuple

from training.evaluation.queries import QueryBudget
from training.simulator.parameters import Parameters


class Effort(NamedTuple):
    """sets, worlds  changes to the sequence model's recipe on public sets and on simulated worlds
    published      changes to the recipe of published models
    refit          train again with the events that chose the epoch
    world          changes to the simulator's parameters
    budget         events that are tested
    """

    sets: dict[str, Any]
    worlds: dict[str, Any]
    published: dict[str, Any]
    refit: bool
    world: dict[str, Any]
    budget: QueryBudget

    def __str__(self) -> str:
        """In words, for the page."""
        changes = [
            f"{what}: " + ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())
            for what, values in (
                ("the sequence model on public sets", self.sets),
                ("the sequence model on worlds", self.worlds),
                ("published models", self.published),
            )
            if values
        ]
        refit = (
            "each model is trained again with the tenth that chose its epoch"
            if self.refit
            else "nothing is trained on the tenth that chose the epoch"
        )
        world = Parameters(**self.world)
        return "; ".join(
            [
                *(changes or ["recipes as they are"]),
                refit,
                f"worlds of {world.users:,} users and {world.items:,} items",
                f"at most {self.budget.ranking:,} rankings and {self.budget.actions:,} actions are tested",
            ]
        )


USUAL, SMALL = "usual", "small"
EFFORTS = {
    USUAL: Effort({}, {}, {}, True, {}, QueryBudget(ranking=3_000, actions=5_000)),
    # An hour or two on one core. Small batches make enough steps of few epochs.
    SMALL: Effort(
        sets={"epochs": 3},
        worlds={"epochs": 4, "batch": 4, "warmup": 40},
        published={"epochs": 15, "batch": 32, "learning_rate": 3e-3, "length": 50},
        refit=False,
        world={"users": 400},
        budget=QueryBudget(ranking=3_000, actions=2_000),
    ),
}
