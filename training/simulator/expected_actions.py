"""The probabilities of each logged action, given the user's history and fixed traits: targets to train on.

A drawn action is one sample of what was likely. Its expectation given more than a model can know has the same mean for
the model and less noise, so the loss has the same minimum and fewer events find it (Rao-Blackwell). Known here are the
laws, the traits of all items, and the user's profile, saving habit and wedding date; phase and intent are
filtered from the history before the event, as in training.simulator.oracle, but for all users at once.
"""

import numpy as np
from numpy.typing import NDArray

from training.data.events import SAVE, SHARE, VIEW
from training.simulator import choice
from training.simulator.items import DAY_US
from training.simulator.parameters import CATEGORIES, PHASES
from training.simulator.world import World

Array = NDArray[np.float64]


def expected_actions(world: World) -> NDArray[np.float32]:
    """P(action | item shown, history, profile, habit, wedding date) at every event, float32 [events, 4]."""
    events, starts = world.dataset.events, world.dataset.starts
    expected = np.zeros((len(events), 4), np.float32)
    users = _Users(world)
    lengths = np.diff(starts)
    for place in range(int(lengths.max(initial=0))):
        chosen = np.flatnonzero(lengths > place)
        expected[starts[chosen] + place] = users.event(chosen, starts[chosen] + place, first=place == 0)
    return expected


class _Users:
    """What a filter knows of all users before their next event: row u of every array is user u."""

    def __init__(self, world: World) -> None:
        n, categories = len(world.users), len(CATEGORIES)
        self.world, self.p = world, world.parameters
        vectors = world.dataset.catalogue.vectors
        self.gram = (vectors @ vectors.T).astype(np.float64)
        self.taste = choice.liking(world.profiles.taste, world.items.traits, self.p)  # [profiles, items]
        self.sums, self.square = np.zeros((n, len(world.items))), np.zeros(n)  # of the logging policy, as in world.py
        self.seen = np.full((n, len(world.items)), choice.UNSEEN, np.int8)
        self.saves, self.shares = np.zeros((n, categories)), np.zeros((n, categories))
        self.settled = np.full(n, -1)
        self.session = np.zeros((n, len(PHASES), categories))  # P(phase, intent)

    def event(self, users: NDArray[np.int64], rows: NDArray[np.int64], *, first: bool) -> Array:
        """P(action) at one event of each of these users, [users, 4], before it is taken into account."""
        world, p, events = self.world, self.p, self.world.dataset.events
        item, action, time_us = events.item[rows], events.action[rows].astype(np.int64), events.time_us[rows]
        category = world.items.category[item].astype(np.int64)
        session = self._moved(users, rows, first=first)  # [users, phases, intents]
        profile, rate, each = world.users.profile[users], world.users.rate[users], np.arange(len(users))
        # How the item was shown: on its category's page, or in the feed, which does not depend on the intent
        alive = world.items.alive(time_us)  # [users, items]
        cosines = self.sums[users] / np.sqrt(self.square[users].clip(1e-12))[:, None]
        popularity = world.items.log_popularity + p.policy_freshness * choice.fresh(
            world.items.born_us, time_us[:, None], p
        )
        feed = choice.policy(cosines, popularity, alive, p)[each, item]
        page = choice.policy(cosines, popularity, alive & (world.items.category == category[:, None]), p)[each, item]
        shown_off = (1 - p.category_page) * feed
        shown = np.stack([shown_off, shown_off + p.category_page * page], axis=1)  # [users, off/on]
        fresh = p.freshness * choice.fresh(world.items.born_us[item], time_us, p)
        utility = choice.utility(
            self.taste[profile, item, None],
            world.items.quality[item, None],
            np.array([False, True]),
            self.seen[users, item, None],
            (choice.context_effect(events.device[rows], time_us, p) + fresh)[:, None],
            p,
        )  # [users, off/on]
        place = world.log.place[rows, None].astype(np.float64)
        laws = choice.action_probabilities(utility, rate[:, None], place, p)  # [users, off/on, 4]
        # P(the category is looked for | intent): certain where it is the intent, else as often as the profile wishes
        by_wish = (1 - p.order_strength) * world.profiles.lasting[profile, category]  # [users]
        looked_for = np.repeat(by_wish[:, None], len(CATEGORIES), axis=1)
        looked_for[each, category] += p.order_strength
        intents = session.sum(axis=1)  # [users, intents]
        on = (intents * looked_for).sum(axis=1)
        weights = np.stack([1 - on, on], axis=1) * shown
        expected: Array = (weights[..., None] * laws).sum(axis=1)
        likelihood = shown * laws[each, :, action]  # [users, off/on]
        by_intent = looked_for * likelihood[:, 1:] + (1 - looked_for) * likelihood[:, :1]  # [users, intents]
        session = session * by_intent[:, None]
        self.session[users] = session / session.sum(axis=(1, 2), keepdims=True)
        self._remember(users, item, action, category)
        return expected / expected.sum(axis=1, keepdims=True)

    def _moved(self, users: NDArray[np.int64], rows: NDArray[np.int64], *, first: bool) -> Array:
        """P(phase, intent) at the event, from what it was at the one before: [users, phases, intents]."""
        world, p, events = self.world, self.p, self.world.dataset.events
        days_left = (world.users.wedding_us[users] - events.time_us[rows]) / DAY_US
        if first:
            new, phase = np.ones(len(users), np.bool_), choice.first_phase(days_left, p)
        else:
            new = events.session[rows] != events.session[rows - 1]
            before = self.session[users].sum(axis=2)  # [users, phases]
            phase = np.einsum("up,upq->uq", before, choice.phase_transitions(days_left, p))
        intents = choice.session_intent(self.saves[users], self.shares[users], self.settled[users], p)
        opened: Array = phase[..., None] * intents
        if first:
            return opened
        last = world.items.category[events.item[rows - 1]].astype(np.int64)
        moves = choice.intent_transition(last, events.action[rows - 1].astype(np.int64), p)  # [users, intents, intents]
        return np.where(new[:, None, None], opened, self.session[users] @ moves)

    def _remember(
        self,
        users: NDArray[np.int64],
        item: NDArray[np.integer],
        action: NDArray[np.int64],
        category: NDArray[np.int64],
    ) -> None:
        self.seen[users, item] = action
        self.saves[users, category] += action == SAVE
        self.shares[users, category] += action == SHARE
        self.settled[users] = np.where(action == SHARE, category, self.settled[users])
        grown, of = users[action >= VIEW], item[action >= VIEW]
        self.square[grown] += 2 * self.sums[grown, of] + 1
        self.sums[grown] += self.gram[of]
