"""Other ways to state and to assign, in simulated worlds: betting, the empirical Bernstein bound, Thompson sampling."""

import math

import numpy as np

from bench.experiment_batches import adaptive_worlds
from bench.experiment_bets import Users, bernstein_evidence, betting_evidence, draw, held, interval
from bench.experiment_worlds import fixed_horizon, log_spaced, wilson
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw
from bench.suites.experiments import ALPHA, LIFTS, LONGEST, NULL_USERS, POWER_RATE, RATES, SIZES, WORLDS
from runtime.experiments.decision import LEAST_USERS
from runtime.experiments.sequences import Interval, Mean, lift_interval, ratio_interval

BET_WORLDS = 400


def measure_bets(conditions: Conditions, samples: Samples) -> None:
    """A lift of 10 %: coverage and width of betting and the empirical Bernstein bound, with every user as a look, and
    the width of the mixtures on the same users."""
    methods = {"betting": betting_evidence, "bernstein": bernstein_evidence}
    looks = log_spaced(SIZES[-1])
    for rate in RATES:
        for name, evidence in methods.items():
            random = np.random.default_rng([conditions.seed, int(rate * 1e3), 4])
            share = held(evidence, conditions.rounds(full=BET_WORLDS, quick=2), looks, rate, 0.1, ALPHA, random)
            samples.add(f"coverage.{name}.{rate:g}", share)
        random = np.random.default_rng([conditions.seed, int(rate * 1e3), 5])
        for _ in range(conditions.rounds(full=9, quick=1)):
            users = draw(1, SIZES[-1], rate, 0.1, random)
            for size in SIZES:
                seen = users.first(size)
                found = {name: interval(evidence, seen, ALPHA) for name, evidence in methods.items()}
                found |= _intervals(*(_mean(seen, arm) for arm in (~seen.treated, seen.treated)))
                for name, (lower, upper) in found.items():
                    samples.add(f"width.{name}.{rate:g}.{size}", min(upper - lower, 99.0))


def _mean(users: Users, arm: np.ndarray) -> Mean:
    return Mean(int(arm.sum()), yes := int((users.yes & arm).sum()), yes)


def _intervals(control: Mean, treatment: Mean) -> dict[str, Interval]:
    return {
        "mixture": lift_interval(control.total, treatment.total, 0.5, ALPHA),
        "normal": ratio_interval(control, treatment, ALPHA),
    }


def measure_adaptive(conditions: Conditions, samples: Samples) -> None:
    """Thompson sampling over two arms: worlds without an effect while the base rate doubles, and with one."""
    n = conditions.rounds(full=WORLDS, quick=10)
    users = conditions.rounds(full=NULL_USERS, quick=3_000)
    limit = -math.log(ALPHA)
    for rate in RATES:
        random = np.random.default_rng([conditions.seed, int(rate * 1e3), 2])
        seen = adaptive_worlds(n, users, rate, 0.0, 2.0, ALPHA, random)
        trusted = seen.users >= 2 * LEAST_USERS
        for name, crossed in (
            ("adaptive_decided", (seen.evidence >= limit).any(axis=1)),
            ("pooled_decided", (seen.pooled_z > 1)[:, trusted].any(axis=1)),
        ):
            samples.add(f"{name}.{rate:g}", float(crossed.mean()))
            samples.note(f"{name}.{rate:g}.interval", "{:.4f} to {:.4f}".format(*wilson(int(crossed.sum()), n)))
    for lift in LIFTS:
        percent = round(lift * 100)
        horizon = fixed_horizon(POWER_RATE, lift)
        most = min(LONGEST * horizon, 40 * users) // 1_000 * 1_000
        random = np.random.default_rng([conditions.seed, int(lift * 1e3), 3])
        seen = adaptive_worlds(min(n, 200), most, POWER_RATE, lift, 1.0, ALPHA, random)
        crossed = (seen.evidence >= limit).any(axis=1)
        samples.add(f"adaptive_detected.{percent}", float(crossed.mean()))
        samples.add(f"adaptive_best_arm.{percent}", float(seen.treated.mean()))


SUITE = Suite(
    name="experiment_methods",
    purpose="other confidence sequences beside those that are served, and Thompson sampling, in simulated worlds",
    reading=f"`bets`: a lift of 10 % among users who come one by one. `coverage`: the share of {BET_WORLDS} worlds "
    "whose interval held it at 400 looks from 100 to 100,000 users; `width`: the median of the interval of nine "
    "worlds, by betting and the empirical Bernstein bound (arXiv 2010.09686, 2102.09540, with the control's rate so "
    "far taken off the outcomes), and of the beta and normal mixtures on the same users; 50 and 99: unbounded. "
    f"`thompson`: {WORLDS} worlds of {NULL_USERS} users without an effect, whose base rate doubles while the weights "
    "follow the outcomes; `adaptive_decided` were ever decided by the likelihood of the batches, `pooled_decided` by "
    "the normal mixture on the counts of all batches put together. With an effect (base rate "
    f"{POWER_RATE:g}): the share detected within {LONGEST} times the users that a z-test needs, and the share of users "
    "who got the better arm.",
    cases=(
        Case("bets", measure_bets, limit_s=3600),
        Case("thompson", measure_adaptive, limit_s=3600),
    ),
    metrics=(
        *(
            Metric(f"experiment_methods.{name}_share.{rate:g}", "thompson", "share", "higher", raw(f"{name}.{rate:g}"))
            for name in ("adaptive_decided", "pooled_decided")
            for rate in RATES
        ),
        *(
            Metric(f"experiment_methods.{name}.{percent}", "thompson", "share", "lower", raw(f"{name}.{percent}"))
            for name in ("adaptive_detected", "adaptive_best_arm")
            for percent in (round(lift * 100) for lift in LIFTS)
        ),
        *(
            Metric(
                f"experiment_methods.coverage.{name}.{rate:g}",
                "bets",
                "share",
                "lower",
                raw(f"coverage.{name}.{rate:g}"),
            )
            for rate in RATES
            for name in ("betting", "bernstein")
        ),
        *(
            Metric(
                f"experiment_methods.width.{name}.{rate:g}.{size}",
                "bets",
                "lift",
                "higher",
                raw(f"width.{name}.{rate:g}.{size}"),
            )
            for rate in RATES
            for size in SIZES
            for name in ("betting", "bernstein", "mixture", "normal")
        ),
    ),
)
