"""Live experiments: defined, looked at, stopped, promoted and rolled back."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.content import utc
from runtime.experiments.decision import ArmCounts, Batch, Comparison, Decision
from runtime.experiments.sequences import Interval
from runtime.http.endpoint import Endpoint
from runtime.http.ids import path_id
from runtime.serving.experiment_report import Point, Report
from runtime.serving.experiment_state import ArmModel, Definition, Experiment, StateName
from runtime.state import State

_BY_HAND = "by request"
_REPORT_BYTES = 128 * 1024


class GuardrailResult(msgspec.Struct, frozen=True):
    """`observed` against `limit`: a share of rankings, or the ratio of engagement. `violated`: shown by evidence that
    may be looked at any time; it blocks a promotion."""

    name: str
    limit: float
    observed: float | None
    violated: bool


class ArmResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """`share`: of the users who are assigned now. `users` were shown a ranking; `closed` of them have a window that is
    over, with `engaged` and a `mean` of weighted engagement. `lift` (relative), `difference` and their intervals
    compare with the control; null is unbounded, or not known. `users_needed`: more of both arms, until the
    interval decides, if the rates stay."""

    name: str
    model: ArmModel
    share: float
    users: int
    closed: int
    engaged: int
    mean: float | None
    rankings: int
    slow: int
    failed: int
    cold_closed: int
    cold_engaged: int
    lift: float | None = None
    lift_interval: list[float | None] | None = None
    difference: float | None = None
    difference_interval: list[float | None] | None = None
    guardrails: list[GuardrailResult] = []
    users_needed: int | None = None


class SampleRatio(msgspec.Struct, frozen=True):
    """`p`: the least so far of a test that may be looked at any time. `mismatch`: p is below 0.01."""

    p: float
    mismatch: bool
    observed: list[float]
    expected: list[float]


class SeriesPoint(msgspec.Struct, frozen=True):
    """The state at a time: lift and interval of each treatment."""

    time: datetime
    users: int
    closed: int
    lifts: list[float | None]
    intervals: list[list[float | None]]


class ExperimentResult(msgspec.Struct, frozen=True):
    """`state`: running, stopped, promoted or rolled_back, with its `reason`. `decision`: what the counts say now:
    promote, stop or continue. `series`: for a chart, oldest first."""

    name: str
    state: StateName
    reason: str
    period: int
    started_at: datetime
    changed_at: datetime
    promoted_arm: str | None
    definition: Definition
    decision: str
    decision_reason: str
    arms: list[ArmResult]
    sample_ratio: SampleRatio
    series: list[SeriesPoint]


class ExperimentSummary(msgspec.Struct, frozen=True):
    """The state of an experiment, why, and since when."""

    name: str
    state: StateName
    reason: str
    period: int
    changed_at: datetime
    promoted_arm: str | None


class ExperimentList(msgspec.Struct, frozen=True):
    """`model`: what model=auto is for a user in no experiment: what was promoted last; null for the default."""

    model: ArmModel | None
    experiments: list[ExperimentSummary]


class PromoteQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`arm`: by its name; without it the treatment, where there is one."""

    arm: Annotated[str, Meta(max_length=64)] | None = None


async def get_experiments(state: State, request: Request) -> ExperimentList:
    """All experiments, in the order in which they were first defined."""
    found = state.experiments.state
    return ExperimentList(state.experiments.promoted, [_summary(one) for one in found.by_name.values()])


async def put_experiment(state: State, request: Request, body: Definition) -> ExperimentResult:
    """Create or change an experiment, and run it. Another set of arms, weights, metric, window, alpha or exploration
    begins a new period, and periods are never mixed; another coverage or minimal lift does not."""
    name = path_id(request)
    if any(arm.model == "sequence" for arm in body.arms):
        state.sequence.require()
    await state.experiments.define(name, body)
    return await _result(state, name)


async def get_experiment(state: State, request: Request) -> ExperimentResult:
    """What it has found so far, at any time: its intervals hold at every time at once."""
    return await _result(state, path_id(request))


async def post_stop(state: State, request: Request) -> ExperimentSummary:
    """Users of its arms get what was promoted, or the default, from the next request on."""
    return _summary(await state.experiments.stop(path_id(request), _BY_HAND))


async def post_promote(state: State, request: Request, query: PromoteQuery) -> ExperimentSummary:
    """End the experiment, and rank for everybody as one arm does, from the next request on."""
    return _summary(await state.experiments.promote(path_id(request), query.arm, _BY_HAND))


async def post_rollback(state: State, request: Request) -> ExperimentSummary:
    """Rank again as before the promotion: at once here, and within a second on other machines."""
    return _summary(await state.experiments.roll_back(path_id(request), _BY_HAND))


async def _result(state: State, name: str) -> ExperimentResult:
    return _rendered(await state.experiments.report(name, series=True))


def _rendered(report: Report) -> ExperimentResult:
    experiment, decision = report.experiment, report.decision
    users = [arm.users for arm in report.arms]
    return ExperimentResult(
        name=experiment.name,
        state=experiment.state,
        reason=experiment.reason,
        period=experiment.period,
        started_at=utc(experiment.started_us),
        changed_at=utc(experiment.changed_us),
        promoted_arm=experiment.promoted,
        definition=experiment.definition,
        decision=decision.action,
        decision_reason=decision.reason,
        arms=_arms(experiment, report.arms, decision),
        sample_ratio=SampleRatio(
            report.ratio_p,
            report.mismatch,
            [count / max(sum(users), 1) for count in users],
            _expected(report),
        ),
        series=[_point(point) for point in report.series],
    )


def _expected(report: Report) -> list[float]:
    """The share of users that each arm should have: that of its batches, by their users."""
    if not sum(arm.users for arm in report.arms):
        return _shares(report.experiment.weights_by_batch[-1])
    expected = [0.0] * len(report.arms)
    for batch in report.batches or [Batch(report.experiment.weights, report.arms)]:
        users = sum(arm.users for arm in batch.arms)
        expected = [one + users * share for one, share in zip(expected, _shares(batch.weights), strict=True)]
    return _shares(expected)


def _shares(weights: Sequence[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


def _arms(experiment: Experiment, counts: list[ArmCounts], decision: Decision) -> list[ArmResult]:
    compared: list[Comparison | None] = [None, *decision.comparisons]
    shares = _shares(experiment.weights_by_batch[-1])
    return [
        ArmResult(
            name=arm.name,
            model=arm.model,
            share=share,
            users=found.users,
            closed=found.closed,
            engaged=found.engaged,
            mean=found.total / found.closed if found.closed else None,
            rankings=found.rankings,
            slow=found.slow,
            failed=found.failed,
            cold_closed=found.cold_closed,
            cold_engaged=found.cold_engaged,
            **({} if one is None else _compared(one)),
        )
        for arm, share, found, one in zip(experiment.definition.arms, shares, counts, compared, strict=True)
    ]


def _compared(one: Comparison) -> dict[str, Any]:
    return {
        "lift": one.lift,
        "lift_interval": _interval(one.lift_interval),
        "difference": one.difference,
        "difference_interval": _interval(one.difference_interval),
        "guardrails": [GuardrailResult(*rail) for rail in one.guardrails],
        "users_needed": one.users_needed,
    }


def _point(point: Point) -> SeriesPoint:
    intervals = [_interval(interval) for interval in point.intervals]
    return SeriesPoint(utc(point.time_us), point.users, point.closed, point.lifts, intervals)


def _interval(interval: Interval) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in interval]


def _summary(experiment: Experiment) -> ExperimentSummary:
    return ExperimentSummary(
        experiment.name,
        experiment.state,
        experiment.reason,
        experiment.period,
        utc(experiment.changed_us),
        experiment.promoted,
    )


_EXAMPLE = {
    "arms": [
        {"name": "control", "model": "simple", "weight": 0.5},
        {"name": "treatment", "model": "hybrid", "weight": 0.5},
    ],
    "metric": "engaged",
    "window_s": 604_800,
    "min_lift": 0.1,
    "guardrails": {"p95_ms": 500, "cold_start_ratio": 0.9},
}

ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "GET", "/experiments", get_experiments, "List experiments", response=ExperimentList,
    ),
    Endpoint(
        "PUT", "/experiments/{id:path}", put_experiment, "Define and run an experiment", request=Definition,
        response=ExperimentResult, access="admin", errors=(400, 409, 413, 415, 422, 503), example=_EXAMPLE,
        answer_bytes=lambda body: _REPORT_BYTES,
    ),
    Endpoint(
        "GET", "/experiments/{id:path}", get_experiment, "What an experiment has found", response=ExperimentResult,
        errors=(404, 422, 503), answer_bytes=lambda: _REPORT_BYTES,
    ),
    Endpoint(
        "POST", "/experiments/{id:path}/stop", post_stop, "Stop an experiment", response=ExperimentSummary,
        access="admin", errors=(404, 409, 422, 503),
    ),
    Endpoint(
        "POST", "/experiments/{id:path}/promote", post_promote, "Promote an arm", query=PromoteQuery,
        response=ExperimentSummary, access="admin", errors=(400, 404, 409, 422, 503), example={"arm": "treatment"},
    ),
    Endpoint(
        "POST", "/experiments/{id:path}/rollback", post_rollback, "Undo a promotion", response=ExperimentSummary,
        access="admin", errors=(404, 409, 422, 503),
    ),
]  # fmt: skip
