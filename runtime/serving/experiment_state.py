"""An experiment as it is defined, and its state as what was done to it leads to."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from runtime.experiments.assignment import arm_of, covered, in_namespace
from runtime.experiments.decision import Guardrails, Metric, Rules
from runtime.store import ExperimentChange

MAX_ARMS = 8
MAX_WINDOW_S = 90 * 86_400

# What an arm or a promotion can rank with.
ArmModel = Literal["simple", "hybrid", "sequence"]
StateName = Literal["running", "stopped", "promoted", "rolled_back"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Share = Annotated[float, Meta(ge=0, le=1)]


class InvalidExperiment(ValueError):
    """The definition contradicts itself; `field` is the JSON path of what is wrong."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class Explore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the order of the first `top` items is drawn at random. epsilon: with this probability a position gets any of
    them. plackett_luce: by softmax of score / `temperature`. `seed` and the ranking_id give the draw again."""

    method: Literal["none", "epsilon", "plackett_luce"] = "none"
    epsilon: Share = 0.05
    temperature: Annotated[float, Meta(gt=0, le=1e6)] = 0.05
    top: Annotated[int, Meta(ge=2, le=100)] = 20
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first arm is the control. `explore` takes the place of the experiment's."""

    name: Name
    model: ArmModel
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    explore: Explore | None = None


class Namespace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Experiments with ranges of one namespace that do not overlap share no user."""

    name: Name
    start: Share = 0.0
    end: Share = 1.0


class GuardrailLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What blocks a promotion where evidence shows it, null for not watched. `p95_ms`: the 95th percentile of an arm's
    rankings. `error_rate`: the share of them that fail. `cold_start_ratio`: engagement of users with fewer than 5
    events, to the control's."""

    p95_ms: Annotated[float, Meta(gt=0, le=600_000)] | None = 500.0
    error_rate: Annotated[float, Meta(gt=0, lt=1)] | None = 0.01
    cold_start_ratio: Annotated[float, Meta(gt=0, le=1)] | None = 0.9


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`metric`: engaged (saved or shared something) or weighted (Σ strength of actions, at most 20), of a user within
    `window_s` of their first exposure. `coverage`: the share of users who take part. `promote`: auto decides by itself,
    manual only says what it would decide."""

    arms: Annotated[list[Arm], Meta(min_length=2, max_length=MAX_ARMS)]
    coverage: Share = 1.0
    namespace: Namespace | None = None
    metric: Metric = "engaged"
    window_s: Annotated[float, Meta(ge=0.1, le=MAX_WINDOW_S)] = 604_800
    min_lift: Annotated[float, Meta(ge=0, le=10)] = 0.0
    alpha: Annotated[float, Meta(ge=0.001, le=0.5)] = 0.05
    guardrails: GuardrailLimits = GuardrailLimits()
    promote: Literal["auto", "manual"] = "auto"
    explore: Explore = Explore()

    def check(self) -> None:
        """Raises InvalidExperiment."""
        names = [arm.name for arm in self.arms]
        for n, name in enumerate(names):
            if name in names[:n]:
                raise InvalidExperiment(f"two arms are called {name!r}", f"$.arms[{n}].name")
        if self.namespace is not None and self.namespace.start >= self.namespace.end:
            raise InvalidExperiment("the range of the namespace is empty: start must be below end", "$.namespace")

    @property
    def rules(self) -> Rules:
        """The decision's thresholds, in the form that the statistics take."""
        limits = self.guardrails
        return Rules(
            metric=self.metric,
            alpha=self.alpha,
            min_lift=self.min_lift,
            guardrails=Guardrails(
                p95_ms=limits.p95_ms, error_rate=limits.error_rate, cold_start_ratio=limits.cold_start_ratio
            ),
        )

    @property
    def window_us(self) -> int:
        """How long interactions count for the ranking that they follow, in microseconds."""
        return round(self.window_s * 1e6)

    def measures_as(self, other: "Definition") -> bool:
        """Whether what was counted under one definition counts under the other."""
        kept = {"coverage": 1.0, "namespace": None, "min_lift": 0.0, "promote": "auto", "guardrails": GuardrailLimits()}
        return msgspec.structs.replace(self, **kept) == msgspec.structs.replace(other, **kept)

    def overlaps(self, other: "Definition") -> bool:
        """Whether a user can be in both."""
        one, two = self.namespace, other.namespace
        if one is None or two is None or one.name != two.name:
            return True
        return one.start < two.end and two.start < one.end


@dataclass(frozen=True, slots=True)
class Experiment:
    """period: rises with each change of what is measured. reason: why it is in its state. promoted: the arm's name."""

    name: str
    definition: Definition
    period: int
    state: StateName
    started_us: int
    changed_us: int
    reason: str = ""
    promoted: str | None = None

    @property
    def weights(self) -> list[float]:
        """The weight of each arm by which users are assigned, in order."""
        return [arm.weight for arm in self.definition.arms]

    def arm_for(self, user_id: str) -> Arm | None:
        """The user's arm; None for one who does not take part."""
        space, coverage = self.definition.namespace, self.definition.coverage
        if space is not None and not in_namespace(space.name, space.start, space.end, user_id):
            return None
        if coverage < 1 and not covered(self.name, coverage, user_id):
            return None
        return self.definition.arms[arm_of(self.name, self.weights, user_id)]


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """The details of a change other than a definition."""

    reason: str = ""
    arm: str | None = None
    model: ArmModel | None = None


@dataclass(frozen=True, slots=True)
class Experiments:
    """by_name: in the order of their first definition. promotions: experiment and model, the one in force last."""

    by_name: dict[str, Experiment]
    promotions: tuple[tuple[str, ArmModel], ...] = ()
    sequence: int = 0

    @property
    def running(self) -> list[Experiment]:
        """The experiments to which users are assigned now."""
        return [one for one in self.by_name.values() if one.state == "running"]

    def after(self, changes: Iterable[ExperimentChange]) -> "Experiments":
        """The state that the changes lead to. One that does not apply any more, as when two machines decide at once,
        changes nothing."""
        by_name, promotions, sequence = dict(self.by_name), self.promotions, self.sequence
        for change in changes:
            name, sequence = change.experiment, change.sequence
            found = by_name.get(name)
            if change.kind == "defined":
                by_name[name] = _defined(found, change)
                continue
            if found is None or change.period != found.period:
                continue
            done = msgspec.json.decode(change.details, type=Done)
            changed = replace(found, reason=done.reason, changed_us=change.time_us)
            if change.kind == "stopped" and found.state == "running":
                by_name[name] = replace(changed, state="stopped")
            elif change.kind == "promoted" and found.state in ("running", "stopped") and done.model is not None:
                by_name[name] = replace(changed, state="promoted", promoted=done.arm)
                promotions = (*promotions, (name, done.model))
            elif change.kind == "rolled_back" and found.state == "promoted":
                by_name[name] = replace(changed, state="rolled_back")
                last = max(n for n, (promoter, _) in enumerate(promotions) if promoter == name)
                promotions = promotions[:last] + promotions[last + 1 :]
        return Experiments(by_name, promotions, sequence)


def _defined(found: Experiment | None, change: ExperimentChange) -> Experiment:
    definition = msgspec.json.decode(change.details, type=Definition)
    same = found is not None and found.period == change.period
    return Experiment(
        change.experiment,
        definition,
        change.period,
        "running",
        found.started_us if found is not None and same else change.time_us,
        change.time_us,
    )
