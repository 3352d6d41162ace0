"""The laws of a world as functions of arrays: what is looked for, what is shown, what is done. The simulator samples
from them and the oracle conditions on them; neither has formulas of its own."""

import numpy as np
from numpy.typing import NDArray

from training.data.events import SAVE, SHARE, SKIP, VIEW
from training.simulator.parameters import PHASE_LEAVES_AT_DAYS, PHASES, Parameters, complement_matrix, phase_needs

Array = NDArray[np.float64]

UNSEEN = -1  # in place of the code of a user's last action on an item
_SATIATION_PER_SAVE, _SATIATION_PER_SHARE = 0.35, 1.2


def phase_transitions(days_left: Array, parameters: Parameters) -> Array:
    """[..., phases, phases]: transition from the phase before a session (row) to the phase in it (column). The closer
    the deadline, the likelier the next phase."""
    n = len(PHASES)
    matrix = np.zeros((*np.shape(days_left), n, n))
    for phase in range(n):
        forward: Array | float = 0.0
        if phase < n - 1:
            late = (PHASE_LEAVES_AT_DAYS[phase] - np.asarray(days_left)) / parameters.pressure_days
            forward = parameters.advance * _logistic(late)
            matrix[..., phase, phase + 1] = forward
        back = parameters.back_jump if phase else 0.0
        if phase:
            matrix[..., phase, phase - 1] = back
        matrix[..., phase, phase] = 1 - forward - back
    return matrix


def first_phase(days_left: Array, parameters: Parameters) -> Array:
    """[..., phases]: distribution of the phase at the first visit."""
    edges = np.asarray(PHASE_LEAVES_AT_DAYS)
    left = _logistic((edges - np.asarray(days_left)[..., None]) / parameters.pressure_days)
    above = np.concatenate([np.ones((*left.shape[:-1], 1)), left], axis=-1)
    below = np.concatenate([left, np.zeros((*left.shape[:-1], 1))], axis=-1)
    return above - below


def session_intent(saves: Array, shares: Array, settled: NDArray[np.int64], parameters: Parameters) -> Array:
    """[..., phases, categories]: the category a session starts looking for.

    saves, shares: [..., categories], the user's so far; settled: [...], category of the last share, -1 for none.
    """
    sated = 1 - np.exp(-_SATIATION_PER_SAVE * saves - _SATIATION_PER_SHARE * shares)
    completes = np.where((settled >= 0)[..., None], complement_matrix(parameters.laws)[settled], 0.0)
    wish = parameters.complement_strength * completes - parameters.satiation * sated
    return _softmax(parameters.phase_strength * phase_needs(parameters.laws) + wish[..., None, :])


def impression_intent(session: Array, lasting: Array, parameters: Parameters) -> Array:
    """[..., categories]: the category looked for at the next impression; `session` and `lasting` are distributions."""
    return parameters.order_strength * session + (1 - parameters.order_strength) * lasting


def intent_transition(category: NDArray[np.int64], action: NDArray[np.int64], parameters: Parameters) -> Array:
    """[..., categories, categories] after an event within a session: on to a complement, or a random drift."""
    complements = complement_matrix(parameters.laws)
    n = len(complements)
    hop = np.where(np.asarray(action) >= SAVE, parameters.hop, 0.0)[..., None, None]
    stay = (1 - parameters.drift) * np.eye(n) + parameters.drift / n
    return hop * complements[category][..., None, :] + (1 - hop) * stay


def policy(cosines: Array, log_popularity: Array, shown: NDArray[np.bool_], parameters: Parameters) -> Array:
    """[..., items]: the logging policy's probability of each item for the next place, over those that can be shown.

    A softmax of the simple model's cosine and popularity, mixed with a uniform share so that no propensity is 0.
    Cosines are of the undecayed mean of engaged items, so that at order strength 0 the policy does not depend on order
    either.
    """
    logits = parameters.policy_cosine * cosines + parameters.policy_popularity * log_popularity
    greedy = _softmax(np.where(shown, logits, -np.inf))
    uniform = shown / shown.sum(axis=-1, keepdims=True)
    return (1 - parameters.random_share) * greedy + parameters.random_share * uniform


def liking(weights: Array, traits: Array, parameters: Parameters) -> Array:
    """How well each item suits each taste, [tastes, items], of variance about one. weights [tastes, taste_dimensions],
    traits [items, taste_dimensions]. The form is `parameters.utility_form`."""
    if parameters.utility_form == "linear":
        linear: Array = weights @ traits.T
        return linear
    worst = np.sort(weights[:, None] * traits, axis=-1)[..., :2].sum(axis=-1)  # [tastes, items]
    standard: Array = (worst - worst.mean(axis=1, keepdims=True)) / worst.std(axis=1, keepdims=True)
    return standard


def fresh(born_us: NDArray[np.int64], time_us: NDArray[np.int64], parameters: Parameters) -> Array | float:
    """1 for an item that appears now, half after `fresh_hours`; the arguments broadcast. 0 in a world without
    freshness."""
    if not parameters.freshness:
        return 0.0
    hours = (np.asarray(time_us) - born_us).clip(min=0) / 3.6e9
    result: Array = np.exp2(-hours / parameters.fresh_hours)
    return result


def utility(
    taste: Array,
    quality: Array,
    on_intent: NDArray[np.bool_],
    seen: NDArray[np.integer],
    context: Array | float,
    parameters: Parameters,
) -> Array:
    """Utility of showing an item now; the arguments broadcast.

    taste: see `liking`; seen: the user's last action on the item, or UNSEEN; context: see
    `context_effect`, with what freshness adds.
    """
    memory = np.select(
        [seen == SKIP, seen == VIEW, seen >= SAVE],
        [parameters.seen_skipped, parameters.seen_viewed, parameters.seen_saved],
        0.0,
    )
    intent = np.where(on_intent, parameters.on_intent, -parameters.on_intent)
    fixed = parameters.base + parameters.taste * taste + parameters.quality * quality
    return fixed + intent + parameters.order_strength * memory + context


def context_effect(device: NDArray[np.integer], time_us: NDArray[np.int64], parameters: Parameters) -> Array:
    """Utility added by device and hour of the day; the arguments broadcast."""
    hour = np.asarray(time_us) / 3.6e9 % 24
    evening = parameters.evening * np.cos((hour - 21) / 24 * 2 * np.pi)
    return np.asarray(parameters.device_effect)[device] + evening


def action_probabilities(
    utility: Array, rate: NDArray[np.integer], place: Array | float, parameters: Parameters
) -> Array:
    """[..., 4] in the order of ACTIONS: an ordered logit. An impression ends in the furthest step it reached.

    rate: saving habit of the user, an index; place: position in the slate, from 0. utility, rate and place broadcast.
    """
    view = np.asarray(0.0)
    save = view + np.asarray(parameters.save_steps)[rate]
    share = save + np.asarray(parameters.share_steps)[rate]
    examined = 1 - parameters.unexamined_per_place * np.asarray(place)
    reach = [examined * _logistic(parameters.sharpness * (utility - step)) for step in (view, save, share)]
    probabilities = np.stack(np.broadcast_arrays(1 - reach[0], reach[0] - reach[1], reach[1] - reach[2], reach[2]), -1)
    assert (SKIP, VIEW, SAVE, SHARE) == (0, 1, 2, 3)
    return probabilities


def _logistic(x: Array) -> Array:
    result: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return result


def _softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Array = weights / weights.sum(axis=-1, keepdims=True)
    return result
