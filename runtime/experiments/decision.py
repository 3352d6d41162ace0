"""What an experiment's counts say now: promote an arm, stop, or continue; and how many users that may still take.

Every part may be looked at after every user. Raising the error with each look is what a fixed-horizon test would do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from runtime.experiments.sequences import (
    Interval,
    Mean,
    concentration,
    difference_interval,
    lift_interval,
    ratio_interval,
    share_interval,
)

Metric = Literal["engaged", "weighted"]
Action = Literal["promote", "stop", "continue"]

SAMPLE_RATIO_ALPHA = 0.01  # below it the shares of the arms object
LEAST_USERS = 100  # in each arm, before the interval of a mean is trusted
MOST_USERS = 100_000_000  # farther than this the estimate says nothing

_SLOW_SHARE = 0.05  # above the 95th percentile


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """users: assigned and shown a ranking. closed: those whose window is over, with the number `engaged`, and Σ and Σ²
    of their weighted engagement. cold_*: of the closed, who had few events at first. rankings: answered, of which
    `slow` took longer than the limit; `failed` were not answered."""

    users: int = 0
    closed: int = 0
    engaged: int = 0
    total: float = 0.0
    squares: float = 0.0
    cold_closed: int = 0
    cold_engaged: int = 0
    rankings: int = 0
    slow: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrails:
    """None: not watched. p95_ms: of a ranking. error_rate: most of the rankings that may fail. cold_start_ratio: of the
    rate of engagement to the control's, among users with few events."""

    p95_ms: float | None = None
    error_rate: float | None = None
    cold_start_ratio: float | None = None


class Guardrail(NamedTuple):
    """`observed` is beyond `limit` where `violated`: proven by evidence that may be looked at any time."""

    name: str
    limit: float
    observed: float | None
    violated: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm beside the control. lift: relative; None before anybody engaged. users_needed: beyond those counted, until
    the interval decides, if the rates stay as they are; None where they never would."""

    lift: float | None
    lift_interval: Interval
    difference: float | None
    difference_interval: Interval
    guardrails: list[Guardrail]
    users_needed: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """`arm`: the position of the one to promote."""

    action: Action
    reason: str
    arm: int | None = None
    comparisons: list[Comparison] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """alpha: the probability that a world without an effect is ever decided. min_lift: what the lower end of the lift's
    interval must be above."""

    metric: Metric = "engaged"
    alpha: float = 0.05
    min_lift: float = 0.0
    guardrails: Guardrails = field(default_factory=Guardrails)


def decide(arms: Sequence[ArmCounts], weights: Sequence[float], rules: Rules, *, ratio_p: float) -> Decision:
    """arms: the control first. ratio_p: see sample_ratio. With several treatments each is tested at its share of alpha,
    the best is promoted, and harm stops only where every one of them harms."""
    alpha = rules.alpha / (len(arms) - 1)
    compared = [
        compare(arms[0], arm, weight / (weights[0] + weight), rules, alpha)
        for arm, weight in zip(arms[1:], weights[1:], strict=True)
    ]
    winners = [n for n, one in enumerate(compared) if one.lift_interval.lower > rules.min_lift]
    if compared and all(one.lift_interval.upper < 0 for one in compared):
        highest = max(one.lift_interval.upper for one in compared)
        return Decision("stop", f"harm: the lift is at most {highest:+.1%}", None, compared)
    if not winners:
        return Decision("continue", f"no interval of the lift is above {rules.min_lift:+.1%} yet", None, compared)
    if ratio_p < SAMPLE_RATIO_ALPHA:
        found = [arm.users for arm in arms]
        return Decision(
            "continue", f"the users per arm, {found}, are not as weighted (p {ratio_p:.2g})", None, compared
        )
    sound = [n for n in winners if not any(rail.violated for rail in compared[n].guardrails)]
    if not sound:
        names = [rail.name for n in winners for rail in compared[n].guardrails if rail.violated]
        return Decision("continue", f"guardrails object: {', '.join(dict.fromkeys(names))}", None, compared)
    best = max(sound, key=lambda n: compared[n].lift_interval.lower)
    lower = compared[best].lift_interval.lower
    return Decision("promote", f"the lift is at least {lower:+.1%}", best + 1, compared)


def compare(control: ArmCounts, treatment: ArmCounts, weight: float, rules: Rules, alpha: float) -> Comparison:
    """weight: the treatment's share of the users of both."""
    means = _mean(control, rules.metric), _mean(treatment, rules.metric)
    known = bool(control.closed and treatment.closed)
    return Comparison(
        lift=lift(control, treatment, rules.metric),
        lift_interval=interval_of_lift(control, treatment, weight, rules.metric, alpha),
        difference=means[1].mean - means[0].mean if known else None,
        difference_interval=difference_interval(*means, alpha),
        guardrails=watched(control, treatment, weight, rules.guardrails, alpha),
        users_needed=users_needed(control, treatment, weight, rules, alpha),
    )


def watched(
    control: ArmCounts, treatment: ArmCounts, weight: float, limits: Guardrails, alpha: float
) -> list[Guardrail]:
    """The guardrails that are watched, of a treatment."""
    found = []
    if limits.p95_ms is not None:
        found.append(_share_above("slow_rankings", treatment.slow, treatment.rankings, _SLOW_SHARE, alpha))
    if limits.error_rate is not None:
        requests = treatment.rankings + treatment.failed
        found.append(_share_above("failed_rankings", treatment.failed, requests, limits.error_rate, alpha))
    if (least := limits.cold_start_ratio) is not None:
        upper = 1 + lift_interval(control.cold_engaged, treatment.cold_engaged, weight, 2 * alpha).upper
        known = control.cold_engaged and treatment.cold_closed
        observed = (
            treatment.cold_engaged / treatment.cold_closed / (control.cold_engaged / control.cold_closed)
            if known
            else None
        )
        found.append(Guardrail("cold_start_ratio", least, observed, upper < least))
    return found


def users_needed(control: ArmCounts, treatment: ArmCounts, weight: float, rules: Rules, alpha: float) -> int | None:
    """Users whose windows must still close until the interval decides, if every rate stays as it is."""
    closed = control.closed + treatment.closed

    def decided(factor: float) -> bool:
        scaled = [_scaled(arm, factor) for arm in (control, treatment)]
        interval = interval_of_lift(scaled[0], scaled[1], weight, rules.metric, alpha)
        return interval.lower > rules.min_lift or interval.upper < 0

    if not closed or decided(1.0):
        return 0 if closed else None
    high = 2.0
    while not decided(high):
        high *= 2
        if closed * high > MOST_USERS:
            return None
    low = high / 2
    while (high - low) * closed > max(1.0, 0.01 * low * closed):
        middle = (low + high) / 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return math.ceil((high - 1) * closed)


def lift(control: ArmCounts, treatment: ArmCounts, metric: Metric) -> float | None:
    """Of the treatment's mean outcome over the control's; None before there are any."""
    means = _mean(control, metric), _mean(treatment, metric)
    return means[1].mean / means[0].mean - 1 if treatment.closed and control.closed and means[0].total else None


def interval_of_lift(control: ArmCounts, treatment: ArmCounts, weight: float, metric: Metric, alpha: float) -> Interval:
    """Where the lift is, at every time at once, with probability 1 − alpha."""
    if metric == "engaged":
        return lift_interval(control.engaged, treatment.engaged, weight, alpha)
    if min(control.closed, treatment.closed) < LEAST_USERS:
        return Interval(-1.0, math.inf)
    return ratio_interval(_mean(control, metric), _mean(treatment, metric), alpha)


def _mean(arm: ArmCounts, metric: Metric) -> Mean:
    if metric == "engaged":
        return Mean(arm.closed, arm.engaged, arm.engaged)
    return Mean(arm.closed, arm.total, arm.squares)


def _scaled(arm: ArmCounts, factor: float) -> ArmCounts:
    return ArmCounts(
        closed=round(arm.closed * factor),
        engaged=round(arm.engaged * factor),
        total=arm.total * factor,
        squares=arm.squares * factor,
    )


def _share_above(name: str, events: int, total: int, limit: float, alpha: float) -> Guardrail:
    lower = share_interval(
        events, total - events, alpha=2 * alpha, prior=limit, concentration=concentration(alpha)
    ).lower
    return Guardrail(name, limit, events / total if total else None, lower > limit)
