"""Live experiments in simulated worlds: errors where there is no effect, power where there is, coverage and width."""

import math

import numpy as np

from bench.experiment_worlds import (
    Z_TWO_SIDED,
    Looks,
    first_look,
    fixed_horizon,
    growthbook_limit,
    log_spaced,
    mixture_evidence,
    normal_limit,
    ratio_evidence,
    relative_z,
    wilson,
    worlds,
)
from bench.replay_cases import METRICS, READING, measure_impressions, measure_replay
from bench.suite import Case, Conditions, Metric, Samples, Suite, Worse, raw
from runtime.experiments.decision import ArmCounts, Rules, decide
from runtime.experiments.sequences import Mean, lift_interval, ratio_interval

ALPHA = 0.05
RATES = (0.01, 0.03, 0.3)
LIFTS = (0.05, 0.1, 0.2)
WORLDS, NULL_USERS = 1_000, 20_000
POWER_RATE, POWER_LOOKS, LONGEST = 0.1, 1_000, 4  # times the fixed horizon
SIZES = (100, 1_000, 10_000, 100_000)


def measure_null(conditions: Conditions, samples: Samples) -> None:
    """Experiments without an effect, looked at after every user: the share that was ever decided."""
    n = conditions.rounds(full=WORLDS, quick=20)
    users = np.arange(1, conditions.rounds(full=NULL_USERS, quick=2_000) + 1)
    for rate in RATES:
        random = np.random.default_rng([conditions.seed, int(rate * 1e3)])
        decided = plain = doubted = 0
        limit = growthbook_limit(users, ALPHA)
        for seen in worlds(n, users, rate, 0.0, random):
            evidence = mixture_evidence(seen, 0.0, ALPHA)
            decided += int((evidence >= -math.log(ALPHA)).any(axis=1).sum())
            plain += int((np.abs(relative_z(seen, 0.0, smoothed=False)) > limit).any(axis=1).sum())
            doubted += int((ratio_evidence(seen.treated, users) >= -math.log(ALPHA)).any(axis=1).sum())
            _check(seen, evidence)
        for name, count in (("decided", decided), ("growthbook_decided", plain), ("doubted", doubted)):
            samples.add(f"{name}.{rate:g}", count / n)
            samples.note(f"{name}.{rate:g}.interval", "{:.4f} to {:.4f}".format(*wilson(count, n)))
    samples.note("worlds", n)


def _check(seen: Looks, evidence: np.ndarray) -> None:
    """The vectorised evidence decides as the server does. Raises RuntimeError."""
    users, treated = int(seen.users[-1]), int(seen.treated[0, -1])
    arms = [
        ArmCounts(users=all, closed=all, engaged=int(yes[0, -1]))
        for all, yes in ((users - treated, seen.control_yes), (treated, seen.treatment_yes))
    ]
    action = decide(arms, [1, 1], Rules(alpha=ALPHA), ratio_p=1.0).action
    if (action != "continue") != bool(evidence[0, -1] >= -math.log(ALPHA)):
        raise RuntimeError(f"the simulation and the server disagree: {action}, evidence {evidence[0, -1]}")


def measure_power(conditions: Conditions, samples: Samples) -> None:
    """Experiments with an effect, until four times the users that a fixed-horizon z-test needs for 80 % power."""
    n = conditions.rounds(full=WORLDS, quick=20)
    for lift in LIFTS:
        random = np.random.default_rng([conditions.seed, int(lift * 1e3)])
        horizon = fixed_horizon(POWER_RATE, lift)
        users = np.unique(np.linspace(0, LONGEST * horizon, POWER_LOOKS + 1)[1:].astype(np.int64))
        at_horizon = int(np.searchsorted(users, horizon))
        found: dict[str, list[np.ndarray]] = {"ours": [], "growthbook": []}
        fixed = 0
        for seen in worlds(n, users, POWER_RATE, lift, random):
            z = relative_z(seen, 0.0, smoothed=False)
            above = z > 0
            found["ours"].append(first_look(above & (mixture_evidence(seen, 0.0, ALPHA) >= -math.log(ALPHA))))
            found["growthbook"].append(first_look(z > growthbook_limit(users, ALPHA)))
            fixed += int((z[:, at_horizon] > Z_TWO_SIDED).sum())
        percent = round(lift * 100)
        samples.add(f"fixed.detected.{percent}", fixed / n)
        samples.note(f"horizon.{percent}", horizon)
        for name, parts in found.items():
            looks = np.concatenate(parts)
            there = looks >= 0
            samples.add(f"{name}.detected.{percent}", float((there & (looks <= at_horizon)).mean()))
            samples.add(f"{name}.detected_late.{percent}", float(there.mean()))
            until = np.where(there, users[looks], np.inf)
            samples.add(f"{name}.users_to_horizon.{percent}", float(min(np.median(until) / horizon, 99)))
            samples.add(f"{name}.curve.{percent}", *np.quantile(until[there], np.linspace(0.05, 0.95, 19)))


def measure_coverage(conditions: Conditions, samples: Samples) -> None:
    """A lift of 10 %: the share of experiments whose interval held it at every look, and how wide it is."""
    n = conditions.rounds(full=WORLDS, quick=20)
    users = log_spaced(SIZES[-1])
    for rate in RATES:
        random = np.random.default_rng([conditions.seed, int(rate * 1e3), 1])
        held = dict.fromkeys(("mixture", "normal", "growthbook"), 0)
        for seen in worlds(n, users, rate, 0.1, random):
            held["mixture"] += int((mixture_evidence(seen, 0.1, ALPHA) < -math.log(ALPHA)).all(axis=1).sum())
            smoothed, plain = (np.abs(relative_z(seen, 0.1, smoothed=s)) for s in (True, False))
            held["normal"] += int((smoothed < normal_limit(users, ALPHA)).all(axis=1).sum())
            held["growthbook"] += int((plain < growthbook_limit(users, ALPHA)).all(axis=1).sum())
        for name, count in held.items():
            samples.add(f"coverage.{name}.{rate:g}", count / n)
        for size in SIZES:
            for name, width in _widths(size, rate).items():
                samples.add(f"width.{name}.{rate:g}.{size}", min(width, 99.0))


def _widths(users: int, rate: float) -> dict[str, float]:
    """Of the interval of the lift, where the counts are as expected."""
    arms = [Mean(users / 2, yes := users / 2 * share, yes) for share in (rate, rate * 1.1)]
    exact = lift_interval(arms[0].total, arms[1].total, 0.5, ALPHA)
    normal = ratio_interval(arms[0], arms[1], ALPHA)
    return {"mixture": exact.upper - exact.lower, "normal": normal.upper - normal.lower}


_POWER_FIGURES: tuple[tuple[str, str, Worse], ...] = (
    ("ours.detected", "share", "lower"),
    ("growthbook.detected", "share", "lower"),
    ("fixed.detected", "share", "lower"),
    ("ours.detected_late", "share", "lower"),
    ("growthbook.detected_late", "share", "lower"),
    ("ours.users_to_horizon", "x horizon", "higher"),
    ("growthbook.users_to_horizon", "x horizon", "higher"),
)

SUITE = Suite(
    name="experiments",
    purpose="live experiments in simulated worlds: errors, power, coverage and width",
    reading=f"`null`: {WORLDS} experiments of {NULL_USERS} users without an effect at each base rate, looked at after "
    "every user; `decided` were ever promoted or stopped, `doubted` had a sample ratio with p below 0.05. `power`: a "
    f"base rate of {POWER_RATE:g} and equal arms, beside a z-test that looks once, at the users it needs for 80 % "
    "power, and GrowthBook's sequential formula, tuned for 5,000 users. `detected` counts up to that horizon, "
    "`detected_late` up to four times it, and `users_to_horizon` is the median until the decision. `coverage`: the "
    "share of experiments whose interval of the lift (10 %) held it at 400 looks from 100 to 100,000 users: the beta "
    "mixture that decides, the normal mixture with smoothed variances, and GrowthBook's formula on the same ratio. "
    + READING,
    cases=(
        Case("null", measure_null, limit_s=900),
        Case("power", measure_power, limit_s=900),
        Case("coverage", measure_coverage, limit_s=900),
        Case("replay", measure_replay, limit_s=1_800),
        Case("impressions", measure_impressions, limit_s=900),
    ),
    metrics=(
        *(
            Metric(f"experiments.{name}_share.{rate:g}", "null", "share", "higher", raw(f"{name}.{rate:g}"))
            for name in ("decided", "growthbook_decided", "doubted")
            for rate in RATES
        ),
        *(
            Metric(f"experiments.{name}.{round(lift * 100)}", "power", unit, worse, raw(f"{name}.{round(lift * 100)}"))
            for lift in LIFTS
            for name, unit, worse in _POWER_FIGURES
        ),
        *(
            Metric(
                f"experiments.coverage.{name}.{rate:g}", "coverage", "share", "lower", raw(f"coverage.{name}.{rate:g}")
            )
            for rate in RATES
            for name in ("mixture", "normal", "growthbook")
        ),
        *(
            Metric(
                f"experiments.width.{name}.{rate:g}.{size}",
                "coverage",
                "lift",
                "higher",
                raw(f"width.{name}.{rate:g}.{size}"),
            )
            for rate in RATES
            for size in SIZES
            for name in ("mixture", "normal")
        ),
        *METRICS,
    ),
)  # fmt: skip
