"""Simulated experiments whose weights follow the outcomes, batch by batch, as the server's do."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.experiment_worlds import Looks, normal_limit, relative_z
from runtime.experiments.adaptive import GRID, Engaged, prior_deviation
from runtime.experiments.exploration import thompson_weights
from runtime.serving.experiment_state import Allocation
from runtime.serving.experiment_watch import next_batch_at

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

LOOK_EVERY = 100  # users


@dataclass(frozen=True)
class Adaptive:
    """users [l]: of both arms at each look. evidence [w, l]: log, against no lift, by batches. pooled_z [w, l]: of the
    counts put together, in limits of the normal mixture. treated [w]: the treatment's share of all users. first: the
    batches of the first world, as the server counts them."""

    users: Counts
    evidence: Floats
    pooled_z: Floats
    treated: Floats
    first: list[Engaged]


def adaptive_worlds(
    n: int, users: int, rate: float, lift: float, drift: float, alpha: float, random: np.random.Generator
) -> Adaptive:
    """n experiments of `users` users each. The base rate moves from `rate` to drift · rate, as fast as users come.
    Outcomes are known at once."""
    allocation = Allocation(method="thompson")
    prior = -0.5 * GRID**2 - np.logaddexp.reduce(-0.5 * GRID**2)
    log_ratios = GRID * prior_deviation(alpha)
    before = np.zeros((n, len(GRID)))  # log likelihoods of the batches that are over
    before_null = np.zeros(n)
    sums = np.zeros((4, n), np.int64)  # users of the treatment, of both, and who engaged in the control and treatment
    weights = np.full(n, 0.5)
    parts: list[tuple[Counts, Floats, Looks]] = []
    first: list[Engaged] = []
    start, batch = 0, 1
    while start < users:
        size = min(int(next_batch_at(start, allocation)) - start, users - start)
        at = np.arange(start + LOOK_EVERY, start + size + 1, LOOK_EVERY)
        base = rate * (1 + (drift - 1) * (at - LOOK_EVERY / 2) / users)
        treated = random.binomial(LOOK_EVERY, weights[:, None], size=(n, len(at)))
        control_yes = random.binomial(LOOK_EVERY - treated, base).cumsum(axis=1)
        treatment_yes = random.binomial(treated, base * (1 + lift)).cumsum(axis=1)
        treated = treated.cumsum(axis=1)
        odds = np.log(weights / (1 - weights))
        ours, theirs = -np.logaddexp(0, -odds[:, None] - log_ratios), -np.logaddexp(0, odds[:, None] + log_ratios)
        evidence = np.empty((n, len(at)))
        for look in range(len(at)):
            likelihoods = before + treatment_yes[:, look, None] * ours + control_yes[:, look, None] * theirs
            null = before_null - treatment_yes[:, look] * np.logaddexp(0, -odds)
            null -= control_yes[:, look] * np.logaddexp(0, odds)
            evidence[:, look] = np.logaddexp.reduce(prior + likelihoods, axis=1) - null
        before, before_null = likelihoods, null
        first.append(Engaged(int(control_yes[0, -1]), int(treatment_yes[0, -1]), float(weights[0])))
        seen = Looks(at, treated + sums[0, :, None], control_yes + sums[1, :, None], treatment_yes + sums[2, :, None])
        parts.append((at, evidence, seen))
        sums[:3] = seen.treated[:, -1], seen.control_yes[:, -1], seen.treatment_yes[:, -1]
        start += size
        weights = np.array(
            [
                thompson_weights(
                    [int(sums[1, w]), int(sums[2, w])],
                    [start - int(sums[0, w]), int(sums[0, w])],
                    floor=allocation.floor,
                )[1]
                for w in range(n)
            ]
        )
        batch += 1
    limits = [np.abs(relative_z(seen, 0.0, smoothed=True)) / normal_limit(at, alpha) for at, _, seen in parts]
    return Adaptive(
        np.concatenate([at for at, _, _ in parts]),
        np.concatenate([evidence for _, evidence, _ in parts], axis=1),
        np.concatenate(limits, axis=1),
        sums[0] / users,
        first,
    )
