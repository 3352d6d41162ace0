"""Cases of the suite `experiments` about logs of rankings: estimates of what another ranking would get, and what a
ranker learns from them. Both in simulated worlds, where the truth is known."""

from dataclasses import replace

import numpy as np

from bench.experiment_worlds import wilson
from bench.suite import Conditions, Metric, Samples, Worse, raw

ALPHA = 0.05
LOGS, TEMPERATURES, RANKINGS, POSITIONS, RESAMPLES = 1_000, (0.1, 0.3), 2_000, 2, 400
ORDER_STRENGTHS, WORLDS = (0.0, 1.0), 3
ESTIMATES = ("ips", "self-normalised_ips", "doubly_robust")
_FIGURES: tuple[tuple[str, str, Worse], ...] = (
    ("coverage", "share", "lower"),
    ("bias", "of the truth", "higher"),
    ("error", "of the truth", "higher"),
)


def measure_replay(conditions: Conditions, samples: Samples) -> None:
    """Logs of a simulated world in which the simple model ranked with exploration: the share of intervals that hold
    what the hybrid ranker would really get."""
    from training.off_policy.estimators import effective_users, position_weights  # these need the train extra
    from training.off_policy.replay import estimates
    from training.off_policy.simulated import slates
    from training.off_policy.targets import target
    from training.simulator.parameters import Parameters

    n = conditions.rounds(full=LOGS, quick=20)
    for temperature in TEMPERATURES:
        parameters = replace(Parameters(), users=500, order_strength=0.0)
        world = slates(parameters, conditions.seed, pool=6, positions=POSITIONS, temperature=temperature)
        order, scores = world.order(target("hybrid"))
        truth = world.truth(order)
        held: dict[str, int] = {}
        errors: dict[str, list[float]] = {}
        effective = []
        for number in range(n):
            random = np.random.default_rng([conditions.seed, number])
            logged = world.rankings(order, scores, RANKINGS, random)
            weights = position_weights(logged.target, logged.logged)
            effective.append(effective_users(weights, logged.users))
            for row in estimates(logged, weights, alpha=ALPHA, seed=number, resamples=RESAMPLES):
                value, lower, upper = row.value
                name = row.name.replace(" ", "_").lower()
                held[name] = held.get(name, 0) + (lower <= truth <= upper)
                errors.setdefault(name, []).append(value / truth - 1)
        for name, count in held.items():
            samples.add(f"{name}.coverage.{temperature:g}", count / n)
            samples.note(f"{name}.coverage.{temperature:g}.interval", "{:.4f} to {:.4f}".format(*wilson(count, n)))
            samples.add(f"{name}.bias.{temperature:g}", float(np.mean(errors[name])))
            samples.add(f"{name}.error.{temperature:g}", float(np.std(errors[name])))
        samples.add(f"effective_users.{temperature:g}", float(np.mean(effective)))


def measure_impressions(conditions: Conditions, samples: Samples) -> None:
    """Worlds with a log of rankings that exploration drew: what the hybrid ranker gets that learned from them as lists
    of what was shown, over the same that learned from the same events as choices from the whole catalogue."""
    from training.off_policy.simulated import slates
    from training.off_policy.targets import ByFeatures
    from training.ranker.recommender import Hybrid
    from training.simulator.parameters import Parameters

    for strength in ORDER_STRENGTHS:
        for number in range(conditions.rounds(full=WORLDS, quick=1)):
            seed = 11 * conditions.seed + number
            parameters = replace(Parameters(), users=conditions.rounds(full=600, quick=150), order_strength=strength)
            world = slates(parameters, seed, pool=12, positions=8, temperature=0.15)
            log = world.log(conditions.rounds(full=3_000, quick=500), np.random.default_rng(seed))
            before = log.events.time_us < world.now_us
            older, newer = (log.with_events(log.events.take(part)) for part in (before, ~before))
            truth = []
            for impressions in (True, False):
                hybrid = Hybrid(impressions=impressions)
                hybrid.fit(older, newer)
                truth.append(world.truth(world.order(ByFeatures("fitted", hybrid.ranker, hybrid.table))[0]))
            samples.add(f"impressions.gain.{strength:g}", truth[0] / truth[1] - 1)


READING = (
    f"`replay`: {LOGS:,} logs of {RANKINGS:,} rankings of a simulated world, in which the simple model ranked 6 "
    "candidates with Plackett-Luce exploration at each temperature; what the hybrid ranker would get at the first "
    f"{POSITIONS} positions is known; `coverage` is the share of 95 % intervals that hold it, and bias and standard "
    "deviation (`error`) of each estimate are relative to it. `impressions`: what a ranker gets that learned from "
    "3,000 logged rankings as lists of what was shown, over one that learned from the same events as choices from the "
    f"whole catalogue; {WORLDS} worlds of each order strength."
)

METRICS = (
    *(
        Metric(
            f"experiments.replay.{name}.{figure}.{temperature:g}", "replay", unit, worse,
            raw(f"{name}.{figure}.{temperature:g}"),
        )
        for temperature in TEMPERATURES
        for name in ESTIMATES
        for figure, unit, worse in _FIGURES
    ),
    *(
        Metric(
            f"experiments.replay.effective_users.{temperature:g}", "replay", "users", "lower",
            raw(f"effective_users.{temperature:g}"),
        )
        for temperature in TEMPERATURES
    ),
    *(
        Metric(
            f"experiments.impressions.gain.{strength:g}", "impressions", "of the other's", "lower",
            raw(f"impressions.gain.{strength:g}"),
        )
        for strength in ORDER_STRENGTHS
    ),
)  # fmt: skip
