"""What an experiment has found, from the counts of its arms by time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from runtime.experiments.adaptive import sample_ratio_p
from runtime.experiments.decision import (
    SAMPLE_RATIO_ALPHA,
    ArmCounts,
    Batch,
    Decision,
    decide,
    interval_of_lift,
    lift,
    pair_of,
)
from runtime.experiments.sequences import Interval
from runtime.serving.experiment_state import Experiment, arm_and_batch
from runtime.store import ArmBucket

SERIES_POINTS = 100

_COUNTS = [field.name for field in fields(ArmCounts)]


@dataclass(frozen=True, slots=True)
class Point:
    """The state at the end of a bucket. lifts, intervals: of each treatment."""

    time_us: int
    users: int
    closed: int
    lifts: list[float | None]
    intervals: list[Interval]


@dataclass(frozen=True, slots=True)
class Report:
    """arms: in the order of the definition. batches: where the weights follow the outcomes, what they add up from.
    ratio_p: the least so far, of the sample ratio's test."""

    experiment: Experiment
    arms: list[ArmCounts]
    batches: list[Batch]
    ratio_p: float
    decision: Decision
    series: list[Point]

    @property
    def mismatch(self) -> bool:
        """Whether the users of the arms are not as their weights promise."""
        return self.ratio_p < SAMPLE_RATIO_ALPHA


def report(experiment: Experiment, buckets: Sequence[ArmBucket], *, series: bool) -> Report:
    """Everything that is known at the end of the buckets; `series` also for up to SERIES_POINTS times before."""
    looks = list(_looks(experiment, buckets))
    counted = looks[-1][1] if looks else _nothing(experiment)
    weights = experiment.weights_by_batch
    ratio_p = sample_ratio_p([[[arm.users for arm in arms] for arms in batches] for _, batches in looks], weights)
    arms, batches = _added_up(counted), _batches(experiment, counted)
    decision = decide(arms, experiment.weights, experiment.definition.rules, ratio_p=ratio_p, batches=batches)
    every = max(1, -(-len(looks) // SERIES_POINTS))
    points = looks[(len(looks) - 1) % every :: every] if series else []  # the last is among them
    return Report(experiment, arms, batches, ratio_p, decision, [_point(experiment, at, some) for at, some in points])


def _looks(experiment: Experiment, buckets: Sequence[ArmBucket]) -> Iterator[tuple[int, list[list[ArmCounts]]]]:
    """The start of each bucket, and the counts of every batch and arm up to its end."""
    position = {arm.name: n for n, arm in enumerate(experiment.definition.arms)}
    sums = _nothing(experiment)
    for start_us, group in groupby(buckets, key=lambda bucket: bucket.start_us):
        for bucket in group:
            name, batch = arm_and_batch(bucket.arm)
            if name in position and batch < len(sums):
                arm = position[name]
                sums[batch][arm] = _sum([sums[batch][arm], bucket])
        yield start_us, [list(arms) for arms in sums]


def _nothing(experiment: Experiment) -> list[list[ArmCounts]]:
    return [[ArmCounts() for _ in experiment.definition.arms] for _ in experiment.weights_by_batch]


def _sum(counts: Sequence[ArmCounts | ArmBucket]) -> ArmCounts:
    return ArmCounts(*(sum(getattr(one, name) for one in counts) for name in _COUNTS))


def _added_up(batches: Sequence[Sequence[ArmCounts]]) -> list[ArmCounts]:
    return [_sum(arms) for arms in zip(*batches, strict=True)]


def _batches(experiment: Experiment, counted: Sequence[Sequence[ArmCounts]]) -> list[Batch]:
    if not experiment.definition.adaptive:
        return []
    return [Batch(weights, arms) for weights, arms in zip(experiment.weights_by_batch, counted, strict=True)]


def _point(experiment: Experiment, time_us: int, counted: Sequence[Sequence[ArmCounts]]) -> Point:
    arms, batches = _added_up(counted), _batches(experiment, counted)
    rules, treatments = experiment.definition.rules, range(1, len(arms))
    pairs = [pair_of(arms, experiment.weights, n) for n in treatments]
    by_batch = [[pair_of(batch.arms, batch.weights, n) for batch in batches] for n in treatments]
    alpha = rules.alpha / len(treatments)
    return Point(
        time_us,
        sum(arm.users for arm in arms),
        sum(arm.closed for arm in arms),
        [lift(pair, rules.metric, some) for pair, some in zip(pairs, by_batch, strict=True)],
        [interval_of_lift(pair, rules.metric, alpha, some) for pair, some in zip(pairs, by_batch, strict=True)],
    )
