"""Simulated rankings whose truth is known: what any ranking gets in a world is computed, and logs of it are drawn.

Users of a simulated world come back once, at the same time. The simple model ranks for them, exploration draws the
order of its best, and the world's laws say how likely each item is saved or shared at each position.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.experiments.exploration import plackett_luce_propensities
from runtime.personalization.ranking import ranked
from training.data.events import SAVE, SHARE, Dataset, Events
from training.data.exposures import Exposures
from training.data.split import log_of
from training.data.vectors import text_vectors
from training.off_policy.rankings import Rankings
from training.off_policy.targets import Simple, Target
from training.simulator import choice
from training.simulator.parameters import Parameters
from training.simulator.world import Embed, World, simulate

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

_LATER_US = 3_600_000_000
_ANSWER_US = 1_000_000
_PHONE = 3  # a code of DEVICES


@dataclass(frozen=True, eq=False)
class Slates:
    """m users with n items each, best first by the simple model, of which `positions` are shown.

    pool: int32 [m, n], rows of the catalogue. logits: float64 [m, n], of the draw. laws: float64 [m, n, positions, 4],
    the probability of each action. dataset: what happened before `now_us`.
    """

    dataset: Dataset
    now_us: int
    pool: NDArray[np.int32]
    logits: Floats
    laws: Floats

    @property
    def positions(self) -> int:
        """How many items of a slate are shown."""
        return self.laws.shape[2]

    def engaged(self) -> Floats:
        """Probability that an item is saved or shared at a position, [m, n, positions]."""
        return self.laws[..., SAVE:].sum(axis=-1)

    def order(self, target: Target) -> tuple[Places, Floats]:
        """Positions in the pool, [m, n], best first by another ranking, and its scores [m, n] standardised."""
        exposures = _exposures(
            self, np.arange(len(self.pool)), np.tile(np.arange(self.pool.shape[1]), (len(self.pool), 1))
        )
        scores = np.stack(target.scores(self.dataset, exposures, np.arange(len(self.pool)))).astype(np.float32)
        by_row = np.argsort(self.pool, axis=1)  # of equals the earlier row first, as where a log is judged
        order = np.stack([rows[ranked(own[rows])] for own, rows in zip(scores, by_row, strict=True)])
        spread = np.maximum(scores.std(axis=1, keepdims=True), 1e-12)
        return order, ((scores - scores.mean(axis=1, keepdims=True)) / spread).astype(np.float64)

    def truth(self, order: Places) -> float:
        """The mean number of items saved or shared a ranking, of a ranking that always shows `order` [m, n]."""
        places = np.arange(self.positions)
        return float(
            self.engaged()[np.arange(len(order))[:, np.newaxis], order[:, : self.positions], places].sum(axis=1).mean()
        )

    def draw(self, n: int, random: np.random.Generator) -> tuple[Places, Places, Places]:
        """n rankings: whose they are [n], the order of the whole pool [n, items], what was done [n, positions]."""
        users = random.integers(len(self.pool), size=n)
        order = np.argsort(-(self.logits[users] + random.gumbel(size=(n, self.logits.shape[1]))), axis=1)
        laws = self.laws[users[:, np.newaxis], order[:, : self.positions], np.arange(self.positions)]
        actions = (np.cumsum(laws, axis=2) < random.random((n, self.positions, 1))).sum(axis=2)
        return users, order, actions.clip(max=SHARE)

    def propensities(self, users: Places, order: Places) -> Floats:
        """Of each item at its position in `order`, given those before it, [n, n items]."""
        logits = np.take_along_axis(self.logits[users], order, axis=1)
        return np.stack([plackett_luce_propensities(row) for row in logits])

    def rankings(self, target_order: Places, scores: Floats, n: int, random: np.random.Generator) -> Rankings:
        """A log of n rankings beside the order of another one, as `beside_target` reads it from a file. Each ranking is
        a user of its own."""
        users, order, actions = self.draw(n, random)
        k = self.positions
        wanted, shown = target_order[users][:, :k], order[:, :k]
        return Rankings(
            np.arange(n, dtype=np.int32),
            np.ones((n, k), np.bool_),
            (actions >= SAVE).astype(np.float64),
            self.propensities(users, order)[:, :k],
            (wanted == shown).astype(np.float64),
            np.take_along_axis(self.pool[users], shown, axis=1),
            np.take_along_axis(self.pool[users], wanted, axis=1),
            np.take_along_axis(scores[users], shown, axis=1),
            np.take_along_axis(scores[users], wanted, axis=1),
        )

    def log(self, n: int, random: np.random.Generator) -> Dataset:
        """The data set with n more rankings and what followed them, as a server would have logged them."""
        users, order, actions = self.draw(n, random)
        exposures = _exposures(self, users, order)
        k, shown = self.positions, np.repeat(np.arange(n), self.positions)
        touched = actions.ravel() > 0  # what was ignored leaves no event
        answers = Events.of(
            user=users[shown][touched],
            item=np.take_along_axis(self.pool[users], order[:, :k], axis=1).ravel()[touched],
            action=actions.ravel()[touched],
            time_us=(self.now_us + _ANSWER_US + np.arange(n * k))[touched],
            exposure=shown[touched],
        )
        joined = log_of(self.dataset, self.dataset.with_events(answers))
        return replace(self.dataset, events=joined, exposures=exposures)


def slates(
    parameters: Parameters, seed: int, *, pool: int, positions: int, temperature: float, embed: Embed = text_vectors
) -> Slates:
    """The users of a world at its end. temperature: of the draw, as in an experiment's `explore`."""
    world = simulate(parameters, seed, embed)
    random = np.random.default_rng([seed, 1])
    now_us = int(world.dataset.events.time_us.max()) + _LATER_US
    alive = np.flatnonzero(world.items.alive(np.array([now_us]))[0]).astype(np.int32)
    users = len(world.users)
    everything = Slates(
        world.dataset, now_us, np.tile(alive, (users, 1)), np.zeros((users, len(alive))), np.zeros((0, 0, 1, 4))
    )
    exposures = _exposures(everything, np.arange(users), np.tile(np.arange(len(alive)), (users, 1)))
    scores = np.stack(Simple().scores(world.dataset, exposures, np.arange(users)))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :pool]
    chosen = alive[best]
    return Slates(
        dataset=world.dataset,
        now_us=now_us,
        pool=chosen,
        logits=np.take_along_axis(scores, best, axis=1).astype(np.float64) / temperature,
        laws=_laws(world, chosen, now_us, positions, random),
    )


def _laws(world: World, pool: NDArray[np.int32], now_us: int, positions: int, random: np.random.Generator) -> Floats:
    """Each user looks for one category, drawn from what they usually look for."""
    p, items, users = world.parameters, world.items, world.users
    lasting = world.profiles.lasting[users.profile]
    looked_for = (
        (np.cumsum(lasting, axis=1) < random.random((len(users), 1))).sum(axis=1).clip(max=lasting.shape[1] - 1)
    )
    taste = world.profiles.taste[users.profile] @ items.traits.T
    utility = choice.utility(
        np.take_along_axis(taste, pool.astype(np.int64), axis=1),
        items.quality[pool],
        items.category[pool] == looked_for[:, np.newaxis],
        np.full(pool.shape, choice.UNSEEN),
        choice.context_effect(np.full(pool.shape, _PHONE), np.full(pool.shape, now_us), p),
        p,
    )
    return choice.action_probabilities(
        utility[..., np.newaxis], users.rate[:, np.newaxis, np.newaxis], np.arange(positions, dtype=np.float64), p
    )


def _exposures(slates: Slates, users: Places, order: Places) -> Exposures:
    """Exposures at `now_us` of these users, of the pool in these orders."""
    n, width = order.shape
    logits = np.take_along_axis(slates.logits[users], order, axis=1)
    propensity = np.stack([plackett_luce_propensities(row) for row in logits]) if n else logits
    propensity[:, slates.positions :] = np.nan
    return Exposures(
        user=users.astype(np.int32),
        time_us=np.full(n, slates.now_us, np.int64),
        group=np.zeros(n, np.int32),
        groups=["simulated, period 1, control"],
        starts=np.arange(n + 1, dtype=np.int64) * width,
        shown=np.full(n, slates.positions, np.int32),
        item=np.take_along_axis(slates.pool[users], order, axis=1).ravel().astype(np.int32),
        propensity=propensity.ravel(),
    )
