"""What an experiment's counts say now: promote an arm, stop, or continue; and how many users that may still take.

Every part may be looked at after every user. Raising the error with each look is what a fixed-horizon test would do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from runtime.experiments import adaptive
from runtime.experiments.adaptive import Engaged
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


@dataclass(frozen=True, slots=True)
class Batch:
    """Users that the same weights assigned: the part of each arm's counts that is theirs."""

    weights: Sequence[float]
    arms: Sequence[ArmCounts]


class Pair(NamedTuple):
    """A treatment beside the control. weight: its share of those who were assigned to either."""

    control: ArmCounts
    treatment: ArmCounts
    weight: float


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


def decide(
    arms: Sequence[ArmCounts],
    weights: Sequence[float],
    rules: Rules,
    *,
    ratio_p: float,
    batches: Sequence[Batch] = (),
) -> Decision:
    """arms: the control first. ratio_p: see sample_ratio. With several treatments each is tested at its share of alpha,
    the best is promoted, and harm stops only where every one of them harms. batches: where the weights follow the
    outcomes, what `arms` add up from."""
    alpha = rules.alpha / (len(arms) - 1)
    compared = [
        compare(pair_of(arms, weights, n), rules, alpha, [pair_of(batch.arms, batch.weights, n) for batch in batches])
        for n in range(1, len(arms))
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


def pair_of(arms: Sequence[ArmCounts], weights: Sequence[float], treatment: int) -> Pair:
    """The arm at position `treatment`, beside the first."""
    return Pair(arms[0], arms[treatment], weights[treatment] / (weights[0] + weights[treatment]))


def compare(pair: Pair, rules: Rules, alpha: float, batches: Sequence[Pair] = ()) -> Comparison:
    """batches: see `decide`. The difference of means is not known then: what it is depends on the batches' base
    rates."""
    means = _mean(pair.control, rules.metric), _mean(pair.treatment, rules.metric)
    known = bool(pair.control.closed and pair.treatment.closed and not batches)
    return Comparison(
        lift=lift(pair, rules.metric, batches),
        lift_interval=interval_of_lift(pair, rules.metric, alpha, batches),
        difference=means[1].mean - means[0].mean if known else None,
        difference_interval=Interval(-math.inf, math.inf) if batches else difference_interval(*means, alpha),
        guardrails=watched(pair, rules.guardrails, alpha, batches),
        users_needed=users_needed(pair, rules, alpha, batches),
    )


def watched(pair: Pair, limits: Guardrails, alpha: float, batches: Sequence[Pair] = ()) -> list[Guardrail]:
    """The guardrails that are watched, of a treatment."""
    treatment = pair.treatment
    found = []
    if limits.p95_ms is not None:
        found.append(_share_above("slow_rankings", treatment.slow, treatment.rankings, _SLOW_SHARE, alpha))
    if limits.error_rate is not None:
        requests = treatment.rankings + treatment.failed
        found.append(_share_above("failed_rankings", treatment.failed, requests, limits.error_rate, alpha))
    if (least := limits.cold_start_ratio) is not None:
        cold, by_batch = _cold(pair), [_cold(batch) for batch in batches]
        upper = 1 + interval_of_lift(cold, "engaged", 2 * alpha, by_batch).upper
        observed = lift(cold, "engaged", by_batch)
        found.append(Guardrail("cold_start_ratio", least, None if observed is None else 1 + observed, upper < least))
    return found


def users_needed(pair: Pair, rules: Rules, alpha: float, batches: Sequence[Pair] = ()) -> int | None:
    """Users whose windows must still close until the interval decides, if every rate stays as it is."""
    closed = pair.control.closed + pair.treatment.closed

    def decided(factor: float) -> bool:
        scaled = [_scaled(one, factor) for one in (pair, *batches)]
        interval = interval_of_lift(scaled[0], rules.metric, alpha, scaled[1:])
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


def lift(pair: Pair, metric: Metric, batches: Sequence[Pair] = ()) -> float | None:
    """Of the treatment's mean outcome over the control's; None before there are any."""
    if batches:
        return adaptive.most_likely_lift(_engaged(batches))
    control, treatment, _ = pair
    means = _mean(control, metric), _mean(treatment, metric)
    return means[1].mean / means[0].mean - 1 if treatment.closed and control.closed and means[0].total else None


def interval_of_lift(pair: Pair, metric: Metric, alpha: float, batches: Sequence[Pair] = ()) -> Interval:
    """Where the lift is, at every time at once, with probability 1 − alpha."""
    control, treatment, weight = pair
    if batches:
        return adaptive.lift_interval(_engaged(batches), alpha)
    if metric == "engaged":
        return lift_interval(control.engaged, treatment.engaged, weight, alpha)
    if min(control.closed, treatment.closed) < LEAST_USERS:
        return Interval(-1.0, math.inf)
    return ratio_interval(_mean(control, metric), _mean(treatment, metric), alpha)


def _mean(arm: ArmCounts, metric: Metric) -> Mean:
    if metric == "engaged":
        return Mean(arm.closed, arm.engaged, arm.engaged)
    return Mean(arm.closed, arm.total, arm.squares)


def _engaged(batches: Sequence[Pair]) -> list[Engaged]:
    return [Engaged(control.engaged, treatment.engaged, weight) for control, treatment, weight in batches]


def _cold(pair: Pair) -> Pair:
    """The users with few events alone."""
    control, treatment = (
        ArmCounts(closed=arm.cold_closed, engaged=arm.cold_engaged) for arm in (pair.control, pair.treatment)
    )
    return Pair(control, treatment, pair.weight)


def _scaled(pair: Pair, factor: float) -> Pair:
    control, treatment = (
        ArmCounts(
            closed=round(arm.closed * factor),
            engaged=round(arm.engaged * factor),
            total=arm.total * factor,
            squares=arm.squares * factor,
        )
        for arm in (pair.control, pair.treatment)
    )
    return Pair(control, treatment, pair.weight)


def _share_above(name: str, events: int, total: int, limit: float, alpha: float) -> Guardrail:
    lower = share_interval(
        events, total - events, alpha=2 * alpha, prior=limit, concentration=concentration(alpha)
    ).lower
    return Guardrail(name, limit, events / total if total else None, lower > limit)
