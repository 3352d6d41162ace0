"""What an experiment has found, from the counts of its arms by time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from runtime.experiments.decision import SAMPLE_RATIO_ALPHA, ArmCounts, Decision, decide, interval_of_lift, lift
from runtime.experiments.sample_ratio import sample_ratio_p
from runtime.experiments.sequences import Interval
from runtime.serving.experiment_state import Experiment
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
    """arms: in the order of the definition. ratio_p: the least so far, of the sample ratio's test."""

    experiment: Experiment
    arms: list[ArmCounts]
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
    arms = looks[-1][1] if looks else [ArmCounts() for _ in experiment.definition.arms]
    ratio_p = sample_ratio_p(([arm.users for arm in counted] for _, counted in looks), experiment.weights)
    decision = decide(arms, experiment.weights, experiment.definition.rules, ratio_p=ratio_p)
    every = max(1, -(-len(looks) // SERIES_POINTS))
    points = looks[(len(looks) - 1) % every :: every] if series else []  # the last is among them
    return Report(experiment, arms, ratio_p, decision, [_point(experiment, at, counted) for at, counted in points])


def _looks(experiment: Experiment, buckets: Sequence[ArmBucket]) -> Iterator[tuple[int, list[ArmCounts]]]:
    """The start of each bucket, and the counts of every arm up to its end."""
    sums = {arm.name: ArmCounts() for arm in experiment.definition.arms}
    for start_us, group in groupby(buckets, key=lambda bucket: bucket.start_us):
        for bucket in group:
            if (before := sums.get(bucket.arm)) is not None:
                sums[bucket.arm] = ArmCounts(*(getattr(before, name) + getattr(bucket, name) for name in _COUNTS))
        yield start_us, list(sums.values())


def _point(experiment: Experiment, time_us: int, arms: Sequence[ArmCounts]) -> Point:
    control, *treatments = arms
    rules, weights = experiment.definition.rules, experiment.weights
    return Point(
        time_us,
        sum(arm.users for arm in arms),
        sum(arm.closed for arm in arms),
        [lift(control, arm, rules.metric) for arm in treatments],
        [
            interval_of_lift(control, arm, weight / (weights[0] + weight), rules.metric, rules.alpha / len(treatments))
            for arm, weight in zip(treatments, weights[1:], strict=True)
        ],
    )
