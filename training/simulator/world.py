"""Simulate a world: every user's impressions in order, vectorised over users, each logged with its propensity."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.events import SAVE, SHARE, VIEW, Catalogue, Dataset, Events
from training.data.vectors import text_vectors
from training.simulator import choice
from training.simulator.items import DAY_US, Items, make_items
from training.simulator.parameters import CATEGORIES, Parameters
from training.simulator.users import Profiles, Users, Visits, make_profiles, make_users

Embed = Callable[[list[str]], NDArray[np.float32]]

# Median seconds of an impression by its action: the duration has no information beyond the action.
_SECONDS = np.array([1.5, 12.0, 25.0, 35.0])
_SECONDS_SPREAD = 0.6


@dataclass(frozen=True, eq=False)
class Log:
    """The logging policy's record of each event, rows as in `dataset.events`.

    propensity float64 [n]: the policy's probability of this item at this place of the open surface;
    on_page bool [n]: the surface was a category's page, else the feed; place int16 [n]: position in the slate, from 0.
    """

    propensity: NDArray[np.float64]
    on_page: NDArray[np.bool_]
    place: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class World:
    """A simulated data set with its ground truth. Models may read only `dataset`."""

    parameters: Parameters
    seed: int
    dataset: Dataset
    log: Log
    items: Items
    profiles: Profiles
    users: Users
    # Hidden states at each event, for tests and figures: the phase, and the category looked for
    phase: NDArray[np.int8]
    intent: NDArray[np.int8]


def simulate(parameters: Parameters, seed: int, embed: Embed = text_vectors) -> World:
    """The world of a seed: the same seed gives the same world. embed: texts → unit rows, by default the runtime's
    encoder."""
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(4)]
    items = make_items(parameters, streams[0])
    profiles = make_profiles(parameters, streams[1])
    users, visits = make_users(parameters, profiles, streams[2])
    vectors = embed(items.texts)
    columns = _Simulation(parameters, items, profiles, users, visits, vectors).run(streams[3])
    order = np.lexsort((columns["time_us"], columns["user"]))
    columns = {name: values[order] for name, values in columns.items()}
    hidden = {name: columns.pop(name) for name in ("propensity", "on_page", "place", "phase", "intent")}
    catalogue = Catalogue(
        ids=[f"item-{row}" for row in range(len(items))],
        texts=items.texts,
        vectors=vectors,
        created_us=items.born_us,
        category=items.category,
    )
    dataset = Dataset(
        name=f"simulated, {parameters.describe()}, seed {seed}",
        users=[f"user-{row}" for row in range(len(users))],
        catalogue=catalogue,
        events=Events.of(**columns),
        licence="made by this project's simulator (Apache-2.0)",
        mapping="one event per impression: the furthest of skip, view, save, share that it reached",
        limits=(
            "behaviour is assumed, not observed: it shows only whether a model learns order",
            "an impression has one event: in a real log a save follows its view as an event of its own",
        ),
        preference_embedding=embed(users.onboarding),
    )
    log = Log(hidden["propensity"], hidden["on_page"], hidden["place"])
    return World(parameters, seed, dataset, log, items, profiles, users, hidden["phase"], hidden["intent"])


class _Simulation:
    """The state of all users: row u of every array is user u."""

    def __init__(
        self,
        parameters: Parameters,
        items: Items,
        profiles: Profiles,
        users: Users,
        visits: Visits,
        vectors: NDArray[np.float32],
    ) -> None:
        self.p, self.items, self.users, self.visits = parameters, items, users, visits
        n, categories = len(users), len(CATEGORIES)
        self.taste = choice.liking(profiles.taste[users.profile], items.traits, parameters)  # [users, items]
        self.lasting = profiles.lasting[users.profile]
        self.gram = (vectors @ vectors.T).astype(np.float64)
        self.sums = np.zeros((n, len(items)))  # Σ of engaged vectors · each item's vector: the policy's simple model
        self.square = np.zeros(n)  # squared length of Σ of engaged vectors
        self.seen = np.full((n, len(items)), choice.UNSEEN, np.int8)
        self.saves = np.zeros((n, categories))
        self.shares = np.zeros((n, categories))
        self.settled = np.full(n, -1)
        self.phase = np.full(n, -1)
        self.intent = np.zeros(n, np.int64)
        self.clock_us = np.zeros(n, np.int64)
        self.last = (np.zeros(n, np.int64), np.zeros(n, np.int64))  # category and action of the last event

    def run(self, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Columns of all events. All users' first sessions are simulated together, then all second ones, and so on."""
        first = np.searchsorted(self.visits.user, np.arange(len(self.users)))
        rank = np.arange(len(self.visits.user)) - first[self.visits.user]
        parts: list[dict[str, NDArray[Any]]] = []
        for number in range(int(rank.max(initial=-1)) + 1):
            rows = np.flatnonzero(rank == number)
            self._open(rows, rng)
            for place in range(int(self.visits.impressions[rows].max())):
                rows = rows[self.visits.impressions[rows] > place]
                parts.append({"session": rows, **self._impression(rows, place, rng)})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _open(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Start a session: draw phase and intent."""
        users, start_us = self.visits.user[rows], self.visits.start_us[rows]
        days_left = (self.users.wedding_us[users] - start_us) / DAY_US
        before = self.phase[users]
        transitions = choice.phase_transitions(days_left, self.p)
        chances = transitions[np.arange(len(users)), before.clip(0)]
        new = before < 0
        chances[new] = choice.first_phase(days_left[new], self.p)
        self.phase[users] = _draw(chances, rng)
        intents = choice.session_intent(self.saves[users], self.shares[users], self.settled[users], self.p)
        self.intent[users] = _draw(intents[np.arange(len(users)), self.phase[users]], rng)
        self.clock_us[users] = start_us

    def _impression(self, rows: NDArray[np.int64], place: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        users, device = self.visits.user[rows], self.visits.device[rows]
        each = np.arange(len(users))
        if place:
            category, action = (values[users] for values in self.last)
            transitions = choice.intent_transition(category, action, self.p)
            self.intent[users] = _draw(transitions[each, self.intent[users]], rng)
        session = np.eye(len(CATEGORIES))[self.intent[users]]
        looked_for = _draw(choice.impression_intent(session, self.lasting[users], self.p), rng)
        time_us = self.clock_us[users]
        on_page = rng.random(len(users)) < self.p.category_page
        shown = self.items.alive(time_us) & (~on_page[:, None] | (self.items.category == looked_for[:, None]))
        cosines = self.sums[users] / np.sqrt(self.square[users].clip(1e-12))[:, None]
        fresh = choice.fresh(self.items.born_us, time_us[:, None], self.p)  # [users, items]
        popularity = self.items.log_popularity + self.p.policy_freshness * fresh
        propensities = choice.policy(cosines, popularity, shown, self.p)
        item = _draw(propensities, rng)
        slate_place = place % self.p.slate
        utility = choice.utility(
            self.taste[users, item],
            self.items.quality[item],
            self.items.category[item] == looked_for,
            self.seen[users, item],
            choice.context_effect(device, time_us, self.p)
            + self.p.freshness * choice.fresh(self.items.born_us[item], time_us, self.p),
            self.p,
        )
        actions = choice.action_probabilities(utility, self.users.rate[users], slate_place, self.p)
        action = _draw(actions, rng)
        duration_ms = 1_000 * _SECONDS[action] * rng.lognormal(0.0, _SECONDS_SPREAD, len(users))
        self._remember(users, item, action)
        self.clock_us[users] += (1_000 * duration_ms).astype(np.int64) + 1
        days_left = (self.users.wedding_us[users] - time_us) / DAY_US
        return {
            "user": users,
            "item": item,
            "action": action,
            "time_us": time_us,
            "duration_ms": duration_ms,
            "device": device,
            "days_to_event": np.where(self.users.date_known[users], days_left, np.nan),
            "propensity": propensities[each, item],
            "on_page": on_page,
            "place": np.full(len(users), slate_place, np.int16),
            "phase": self.phase[users].astype(np.int8),
            "intent": looked_for.astype(np.int8),
        }

    def _remember(self, users: NDArray[np.int64], item: NDArray[np.int64], action: NDArray[np.int64]) -> None:
        category = self.items.category[item].astype(np.int64)
        self.seen[users, item] = action
        self.saves[users, category] += action == SAVE
        self.shares[users, category] += action == SHARE
        self.settled[users] = np.where(action == SHARE, category, self.settled[users])
        engaged = action >= VIEW
        grown, of = users[engaged], item[engaged]
        self.square[grown] += 2 * self.sums[grown, of] + 1
        self.sums[grown] += self.gram[of]
        self.last[0][users], self.last[1][users] = category, action


def _draw(probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One index per row, [rows, n] → [rows]. Never one of probability zero."""
    total = np.cumsum(probabilities, axis=1)
    # The last sum rounds to a little below or above 1; scaling by it keeps the draw inside.
    drawn = (total <= (rng.random(len(total)) * total[:, -1])[:, None]).sum(axis=1)
    return drawn.astype(np.int64)
