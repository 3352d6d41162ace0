"""Live experiments: who is in which arm, what was promoted, and every change of an experiment."""

import asyncio
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from runtime.serving.experiment_report import Report, report
from runtime.serving.experiment_state import (
    Arm,
    ArmModel,
    Definition,
    Done,
    Experiment,
    Experiments,
    InvalidExperiment,
    arm_and_batch,
    counted_arm,
)
from runtime.store import ChangeKind, ExperimentChange, Exposure, FailedRankings, Store

MAX_EXPERIMENTS = 100  # names, ended ones included
MAX_POSITIONS = 100  # of a ranking that are recorded
BUCKETS_A_WINDOW = 24  # grain of the counts by time
_MOST_TRIES = 20

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_encode = msgspec.json.Encoder().encode


class UnknownExperiment(LookupError):
    """There is no experiment of that name."""


class ExperimentConflict(Exception):
    """The requested change does not apply to the experiment's state, or to others that run."""


class Assigned(NamedTuple):
    """`ranking_id`: of the ranking that is about to be shown. `batch`: that in which the user was assigned."""

    experiment: Experiment
    arm: Arm
    ranking_id: str
    batch: int = 0


class ExperimentServing:
    """The experiments as this server knows them; changes made on other machines take effect with `refresh`. running:
    those to which users are assigned now. Event-loop thread only."""

    def __init__(self, store: Store) -> None:
        self.state = Experiments({})
        self.running: list[Experiment] = []
        self._store = store
        self._failed: Counter[tuple[str, str]] = Counter()  # by experiment and arm; of those that run
        self.rankings: Counter[tuple[str, str, str]] = Counter()  # since the start: experiment, arm, shown or failed
        self._changing = asyncio.Lock()

    async def refresh(self) -> None:
        """Apply the changes made since the last call, here or on other machines. Raises StoreError."""
        changes = await self._store.experiment_changes(after=self.state.sequence)
        if changes:
            self.state = self.state.after(changes)
            self.running = self.state.running

    @property
    def promoted(self) -> ArmModel | None:
        """The model in force for everybody who is in no experiment; None for the default."""
        return self.state.promotions[-1][1] if self.state.promotions else None

    async def assign(self, user_id: str) -> Assigned | None:
        """The user's arm in the experiment they take part in; None where they are in none. Raises StoreError, where
        the weights follow the outcomes and the store has to be asked for the user's arm."""
        for experiment in self.running:
            arm = experiment.arm_for(user_id)
            if arm is None:
                continue
            batch = len(experiment.batches)
            if experiment.definition.adaptive:
                before = await self._store.participant_arm(user_id, experiment.name, experiment.period)
                if before is not None:
                    name, batch = arm_and_batch(before)
                    if batch > len(experiment.batches):  # begun on another machine a moment ago
                        await self.refresh()
                        return await self.assign(user_id)
                    arm = next(one for one in experiment.definition.arms if one.name == name)
            return Assigned(experiment, arm, uuid.uuid4().hex, batch)
        return None

    async def expose(
        self,
        assigned: Assigned,
        user_id: str,
        shown: Sequence[tuple[str, float]],
        not_shown: Sequence[str],
        *,
        model_version: str,
        ms: float,
    ) -> None:
        """Record a ranking before the response is sent. shown: ids and propensities, best first; the first
        MAX_POSITIONS are kept. not_shown: what the draw could have put there instead. Raises StoreError."""
        experiment, definition = assigned.experiment, assigned.experiment.definition
        now_us, limit = _now_us(), definition.guardrails.p95_ms
        await self._store.add_exposures(
            [
                Exposure(
                    ranking_id=assigned.ranking_id,
                    user_id=user_id,
                    experiment=experiment.name,
                    period=experiment.period,
                    arm=counted_arm(assigned.arm.name, assigned.batch),
                    model_version=model_version,
                    time_us=now_us,
                    items=_encode([*shown[:MAX_POSITIONS], *((id,) for id in not_shown)]),
                    closes_us=now_us + definition.window_us,
                    bucket_us=bucket_us(definition),
                    slow=limit is not None and ms > limit,
                    arm_propensity=experiment.propensity(assigned.arm, assigned.batch),
                )
            ]
        )

        self.rankings[experiment.name, assigned.arm.name, "shown"] += 1

    def failed(self, assigned: Assigned) -> None:
        """Count a ranking of the arm that ended in an error; stored with the next tick."""
        self._failed[assigned.experiment.name, assigned.arm.name] += 1
        self.rankings[assigned.experiment.name, assigned.arm.name, "failed"] += 1

    def find(self, name: str) -> Experiment:
        """The experiment of that name. Raises UnknownExperiment."""
        if name not in self.state.by_name:
            raise UnknownExperiment(name)
        return self.state.by_name[name]

    async def define(self, name: str, definition: Definition) -> Experiment:
        """Create or change an experiment and run it. What changes the measurement begins a new period. Raises
        InvalidExperiment, ExperimentConflict or StoreError."""
        if not _NAME.fullmatch(name):
            raise InvalidExperiment(f"a name has 1 to 64 letters, digits, dots, dashes and underscores: {name!r}", "id")
        definition.check()

        def change() -> ExperimentChange:
            found = self.state.by_name.get(name)
            if found is None and len(self.state.by_name) >= MAX_EXPERIMENTS:
                raise ExperimentConflict(f"there are {MAX_EXPERIMENTS} experiments, the limit; change one that ended")
            for other in self.running:
                if other.name != name and definition.overlaps(other.definition):
                    raise ExperimentConflict(
                        f"{other.name!r} runs and can have the same users: stop it, or give both a range of one "
                        "namespace that the other has not"
                    )
            same = found is not None and found.state == "running" and definition.measures_as(found.definition)
            period = 1 if found is None else found.period + (not same)
            return _change(name, "defined", period, _encode(definition))

        await self._append(change)
        return self.find(name)

    async def stop(self, name: str, reason: str) -> Experiment:
        """End a running experiment. Raises UnknownExperiment, ExperimentConflict or StoreError."""
        return await self._move(name, "stopped", ("running",), Done(reason))

    async def promote(self, name: str, arm_name: str | None, reason: str) -> Experiment:
        """Rank for everybody as an arm does, the last where none is named. Raises as `stop`."""
        arms = {arm.name: arm for arm in self.find(name).definition.arms}
        if arm_name is not None and arm_name not in arms:
            raise ExperimentConflict(f"{name!r} has no arm {arm_name!r}, it has {', '.join(arms)}")
        if arm_name is None and len(arms) > 2:
            raise ExperimentConflict(f"{name!r} has several treatments: name the arm, one of {', '.join(arms)}")
        arm = arms[arm_name] if arm_name is not None else list(arms.values())[-1]
        return await self._move(name, "promoted", ("running", "stopped"), Done(reason, arm.name, arm.model))

    async def roll_back(self, name: str, reason: str) -> Experiment:
        """Rank again as before the promotion. Raises as `stop`."""
        return await self._move(name, "rolled_back", ("promoted",), Done(reason))

    async def report(self, name: str, *, series: bool) -> Report:
        """What an experiment has found so far. Raises UnknownExperiment or StoreError."""
        experiment = self.find(name)
        counts = await self._store.experiment_counts(name, experiment.period)
        return await asyncio.to_thread(report, experiment, counts, series=series)

    async def begin_batch(self, found: Experiment, weights: Sequence[float], counted: int) -> None:
        """Assign users who come from now on by other weights, which follow `counted` outcomes. Raises
        ExperimentConflict, where another machine has done so or the experiment has ended, or StoreError."""
        done = Done(batch=len(found.batches) + 1, weights=tuple(weights), counted=counted)

        def change() -> ExperimentChange:
            now = self.find(found.name)
            if now.state != "running" or (now.period, len(now.batches)) != (found.period, len(found.batches)):
                raise ExperimentConflict(f"batch {done.batch} of {found.name!r} has begun already")
            return _change(found.name, "reweighted", found.period, _encode(done))

        await self._append(change)

    def take_failed(self) -> list[FailedRankings]:
        """The rankings that failed since the last call, of experiments that run."""
        failed, self._failed = self._failed, Counter()
        running = {experiment.name: experiment for experiment in self.running}
        return [
            FailedRankings(
                experiment=name,
                period=running[name].period,
                arm=arm,
                time_us=_now_us(),
                bucket_us=bucket_us(running[name].definition),
                failed=n,
            )
            for (name, arm), n in failed.items()
            if name in running
        ]

    async def _move(self, name: str, kind: ChangeKind, states: tuple[str, ...], done: Done) -> Experiment:
        def change() -> ExperimentChange:
            found = self.find(name)
            if found.state not in states:
                raise ExperimentConflict(
                    f"{name!r} is {found.state}; only one that is {' or '.join(states)} can be {kind.replace('_', ' ')}"
                )
            return _change(name, kind, found.period, _encode(done))

        await self._append(change)
        return self.find(name)

    async def _append(self, change: Callable[[], ExperimentChange]) -> None:
        """Store a change. `change` makes it from the current state, and is called again where another machine was
        faster; it raises where the change does not apply."""
        async with self._changing:
            for _ in range(_MOST_TRIES):
                await self.refresh()
                if await self._store.change_experiment(change(), after=self.state.sequence) is not None:
                    await self.refresh()
                    return
        raise ExperimentConflict("experiments are being changed by others all the time; repeat the request")


def _change(name: str, kind: ChangeKind, period: int, details: bytes) -> ExperimentChange:
    return ExperimentChange(experiment=name, kind=kind, period=period, details=details, time_us=_now_us())


def bucket_us(definition: Definition) -> int:
    """The grain of an experiment's counts by time."""
    return max(definition.window_us // BUCKETS_A_WINDOW, 1)


def _now_us() -> int:
    return time.time_ns() // 1_000
