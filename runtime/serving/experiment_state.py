"""An experiment as it is defined, and its state as what was done to it leads to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from runtime.experiments.assignment import arm_of, covered, in_namespace
from runtime.experiments.decision import Guardrails, Metric, Rules
from runtime.store import ExperimentChange

MAX_ARMS = 8
_BATCH = "#"  # in no name
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


class Allocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How users are assigned. fixed: by the arms' weights. thompson: the next users by the probability that each arm's
    rate is the highest, at least `floor`, computed again when the outcomes of `batch` users (and a quarter more than
    the last time) are counted; a user keeps the arm that they were first shown."""

    method: Literal["fixed", "thompson"] = "fixed"
    batch: Annotated[int, Meta(ge=10, le=1_000_000)] = 1_000
    floor: Annotated[float, Meta(ge=0.001, le=0.1)] = 0.01


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
    allocation: Allocation = Allocation()

    def check(self) -> None:
        """Raises InvalidExperiment."""
        names = [arm.name for arm in self.arms]
        for n, name in enumerate(names):
            if name in names[:n]:
                raise InvalidExperiment(f"two arms are called {name!r}", f"$.arms[{n}].name")
        if self.namespace is not None and self.namespace.start >= self.namespace.end:
            raise InvalidExperiment("the range of the namespace is empty: start must be below end", "$.namespace")
        if self.adaptive and self.metric != "engaged":
            raise InvalidExperiment(
                f"weights that follow the outcomes leave no valid interval for the metric {self.metric}: allocate "
                "fixed shares, or measure engaged",
                "$.allocation.method",
            )

    @property
    def adaptive(self) -> bool:
        """Whether the weights of the arms follow the outcomes."""
        return self.allocation.method == "thompson"

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
    """period: rises with each change of what is measured. reason: why it is in its state. promoted: the arm's name.
    batches: the weights of each batch of users after the first, where the allocation is adaptive. counted: outcomes
    that the last of them follows."""

    name: str
    definition: Definition
    period: int
    state: StateName
    started_us: int
    changed_us: int
    reason: str = ""
    promoted: str | None = None
    batches: tuple[tuple[float, ...], ...] = ()
    counted: int = 0

    @property
    def weights(self) -> Sequence[float]:
        """The weight of each arm by which users are assigned, in order; of the first batch where there are several."""
        return [arm.weight for arm in self.definition.arms]

    @property
    def weights_by_batch(self) -> list[Sequence[float]]:
        """Of all batches, the one now last."""
        return [self.weights, *self.batches]

    def propensity(self, arm: Arm, batch: int) -> float:
        """The probability that a user of a batch is assigned to an arm."""
        weights = self.weights_by_batch[batch]
        return weights[self.definition.arms.index(arm)] / sum(weights)

    def arm_for(self, user_id: str) -> Arm | None:
        """The arm of a user who was not shown one before; None for one who does not take part."""
        space, coverage = self.definition.namespace, self.definition.coverage
        if space is not None and not in_namespace(space.name, space.start, space.end, user_id):
            return None
        if coverage < 1 and not covered(self.name, coverage, user_id):
            return None
        return self.definition.arms[arm_of(self.name, self.weights_by_batch[-1], user_id)]


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """The details of a change other than a definition. weights: of batch number `batch`, after `counted` outcomes."""

    reason: str = ""
    arm: str | None = None
    model: ArmModel | None = None
    batch: int = 0
    weights: tuple[float, ...] = ()
    counted: int = 0


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
        """The state that the changes lead to. Those that it has are skipped: two readers may read them at once. One
        that does not apply changes nothing."""
        by_name, promotions, sequence = dict(self.by_name), self.promotions, self.sequence
        for change in changes:
            if change.sequence <= sequence:
                continue
            name, sequence = change.experiment, change.sequence
            found = by_name.get(name)
            if change.kind == "defined":
                by_name[name] = _defined(found, change)
                continue
            if found is None or change.period != found.period:
                continue
            done = msgspec.json.decode(change.details, type=Done)
            if change.kind == "reweighted":
                whole = len(done.weights) == len(found.definition.arms) and min(done.weights) > 0
                if whole and found.state == "running" and done.batch == len(found.batches) + 1:
                    by_name[name] = replace(found, batches=(*found.batches, done.weights), counted=done.counted)
                continue
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
        batches=found.batches if found is not None and same else (),
        counted=found.counted if found is not None and same else 0,
    )


def counted_arm(arm: str, batch: int) -> str:
    """What the store counts the users of a batch under."""
    return f"{arm}{_BATCH}{batch}" if batch else arm


def arm_and_batch(counted: str) -> tuple[str, int]:
    """Inverse of counted_arm."""
    arm, _, batch = counted.partition(_BATCH)
    return arm, int(batch or 0)
