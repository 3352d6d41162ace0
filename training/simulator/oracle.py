"""The oracle: a Bayes-optimal filter over every hidden variable of a user, with the simulator's laws known.

Hidden are the profile and the saving habit (fixed), the phase (changes between sessions), the session's intent (changes
between impressions), the category each impression is looked at for, and which surface was open. All are finite, so the
posterior is a table and exact; nothing is sampled. Known are the laws, the hidden traits of all items, and every user's
wedding date, also where the log lacks it: an upper limit for models, which know none of this.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.events import SAVE, SHARE, VIEW
from training.simulator import choice
from training.simulator.items import DAY_US
from training.simulator.parameters import CATEGORIES
from training.simulator.world import World

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction before event `row` of `dataset.events`.

    actions: P(action | item shown), float64 [4]. taste: posterior mean of the user's taste, float64 [taste_dimensions].
    item_scores: P(shown next and engaged with), float64 [items], for requested rows only.
    """

    row: int
    actions: Array
    taste: Array
    item_scores: Array | None


def predict(world: World, users: NDArray[np.int64]) -> list[Prediction]:
    """The predictions before every event of these users."""
    return [prediction for user in users for prediction in predict_user(world, int(user), frozenset())]


def taste_cosine(world: World, predictions: list[Prediction]) -> float:
    """Mean cosine between the true taste and the one inferred before each user's last event."""
    users = world.dataset.events.user
    last = {int(users[one.row]): one.taste for one in predictions}  # the later replaces the earlier
    found, true = np.stack(list(last.values())), world.profiles.taste[world.users.profile[list(last)]]
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1)
    return float(((found * true).sum(axis=1) / lengths).mean())


def predict_user(world: World, user: int, ranked: frozenset[int]) -> Iterator[Prediction]:
    """Filter one user's log, event by event. ranked: rows before which items are scored, too."""
    p, items, profiles = world.parameters, world.items, world.profiles
    start = int(np.searchsorted(world.dataset.events.user, user))
    events = world.dataset.events.of_user(user)
    rates = np.arange(len(p.rate_shares))
    tastes = choice.liking(profiles.taste, items.traits, p)  # [profiles, items]
    gram = world.dataset.catalogue.vectors
    # belief[profile, rate, phase] between sessions; within one, session[profile, rate, phase, intent]
    belief = np.tile(np.asarray(p.rate_shares), (p.profiles, 1))[..., None] / p.profiles  # [profiles, rates, 1]
    session = np.empty(0)
    saves, shares = np.zeros(len(CATEGORIES)), np.zeros(len(CATEGORIES))
    settled = np.array(-1)
    seen = np.full(len(items), choice.UNSEEN)
    vector = np.zeros(gram.shape[1])
    for step in range(len(events)):
        item, action = int(events.item[step]), int(events.action[step])
        category = int(items.category[item])
        time_us = events.time_us[step]
        if step == 0 or events.session[step] != events.session[step - 1]:
            days_left = np.asarray((world.users.wedding_us[user] - time_us) / DAY_US)
            if step == 0:
                belief = belief * choice.first_phase(days_left, p)  # [profiles, rates, phases]
            else:
                belief = session.sum(axis=-1) @ choice.phase_transitions(days_left, p)
            intents = choice.session_intent(saves, shares, settled, p)  # [phases, categories]
            session = belief[..., None] * intents  # [profiles, rates, phases, intents]
        else:
            previous = int(items.category[events.item[step - 1]])
            moves = choice.intent_transition(np.asarray(previous), events.action[step - 1].astype(np.int64), p)
            session = session @ moves
        # How the item was shown: on its category's page, or in the feed, which does not depend on the intent
        alive = items.alive(time_us[None])[0]
        length = float(np.linalg.norm(vector))
        cosines = gram @ vector / max(length, 1e-6)
        fresh = choice.fresh(items.born_us, time_us, p) + np.zeros(len(items))  # [items]
        popularity = items.log_popularity + p.policy_freshness * fresh
        feed = choice.policy(cosines, popularity, alive, p)
        context = choice.context_effect(events.device[step], time_us, p) + p.freshness * fresh  # [items]
        place = world.log.place[start + step]
        looked_for = _looked_for(session, profiles.lasting, p.order_strength)  # [profiles, rates, categories]
        scores = None
        if start + step in ranked:
            scores = _item_scores(world, looked_for, _Slate(tastes, feed, cosines, popularity, alive, seen, context))
        page = choice.policy(cosines, popularity, alive & (items.category == category), p)
        shown_off = (1 - p.category_page) * feed[item]
        shown_on = shown_off + p.category_page * page[item]
        utilities = choice.utility(
            tastes[:, item, None, None], items.quality[item], np.array([False, True]), seen[item], context[item], p
        )  # [profiles, 1, off/on]
        laws = choice.action_probabilities(utilities, rates[:, None], place, p)  # [profiles, rates, off/on, actions]
        on = looked_for[..., category]  # [profiles, rates]
        off = session.sum(axis=(-2, -1)) - on
        weights = np.stack([off * shown_off, on * shown_on], axis=-1)  # [profiles, rates, off/on]
        actions = np.einsum("pro,proa->a", weights, laws)
        belief_of_profile = session.sum(axis=(1, 2, 3))
        taste = belief_of_profile @ profiles.taste / belief_of_profile.sum()
        yield Prediction(start + step, actions / actions.sum(), taste, scores)
        # Likelihood of the event: P(item, action | intent of the session)
        likelihood_off = shown_off * laws[..., 0, action]  # [profiles, rates]
        likelihood_on = shown_on * laws[..., 1, action]
        chance_on = (1 - p.order_strength) * profiles.lasting[
            :, None, category
        ]  # of looking for the category regardless
        by_intent = np.repeat(
            (chance_on * likelihood_on + (1 - chance_on) * likelihood_off)[..., None], len(CATEGORIES), -1
        )  # [profiles, rates, intents], as if the intent were another category
        certain = p.order_strength + chance_on
        by_intent[..., category] = certain * likelihood_on + (1 - certain) * likelihood_off
        session = session * by_intent[..., None, :]
        session /= session.sum()
        # State that follows from the log
        seen[item] = action
        saves[category] += action == SAVE
        shares[category] += action == SHARE
        settled = np.array(category) if action == SHARE else settled
        if action >= VIEW:
            vector = vector + gram[item]


def _looked_for(session: Array, lasting: Array, order_strength: float) -> Array:
    """Joint distribution of (profile, rate) and the category looked for next: [profiles, rates, categories]."""
    by_intent = session.sum(axis=2)  # [profiles, rates, intents]
    mass = by_intent.sum(axis=-1, keepdims=True)
    return order_strength * by_intent + (1 - order_strength) * mass * lasting[:, None, :]


@dataclass(frozen=True, eq=False)
class _Slate:
    """What determines how items are shown and used at one event: tastes [profiles, items]; feed, cosines, popularity,
    alive, seen and context [items]."""

    tastes: Array
    feed: Array
    cosines: Array
    popularity: Array
    alive: NDArray[np.bool_]
    seen: NDArray[np.int64]
    context: Array


def _item_scores(world: World, looked_for: Array, slate: _Slate) -> Array:
    """P(the next impression shows the item and is engaged with), [items]. looked_for [profiles, rates, categories]."""
    p, items = world.parameters, world.items
    of_category = looked_for.sum(axis=1)  # [profiles, categories]
    on = of_category[:, items.category]  # [profiles, items]
    off = of_category.sum(axis=1, keepdims=True) - on
    same = items.category == np.arange(len(CATEGORIES))[:, None]
    pages = choice.policy(np.broadcast_to(slate.cosines, same.shape), slate.popularity, same & slate.alive, p)
    page = pages[items.category, np.arange(len(items))]
    engaged = []
    for is_on in (False, True):
        utility = choice.utility(slate.tastes, items.quality, np.array(is_on), slate.seen, slate.context, p)
        engaged.append(1 - choice.action_probabilities(utility, np.array(0), 0, p)[..., 0])
    shown_off = (1 - p.category_page) * slate.feed
    scores: Array = (off * shown_off * engaged[0] + on * (shown_off + p.category_page * page) * engaged[1]).sum(axis=0)
    return scores
