"""Live experiments: who is in which arm, what was promoted, and what is decided as outcomes come in."""

import asyncio
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from runtime.experiments.exploration import thompson_weights
from runtime.serving.experiment_report import Report, report
from runtime.serving.experiment_state import (
    Allocation,
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
from runtime.settings import Settings
from runtime.store import ChangeKind, ExperimentChange, Exposure, FailedRankings, Store, StoreError

log = logging.getLogger("vows")

TICK_S = 0.5  # between looks at windows that ended and at what other machines did
DECIDE_S = 1.0  # least time between two decisions
MAX_EXPERIMENTS = 100  # names, ended ones included
MAX_POSITIONS = 100  # of a ranking that are recorded
MAX_BATCHES = 64  # of users with weights of their own; a hundred million users need 50
_BATCH_GROWTH = 1.25
BUCKETS_A_WINDOW = 24  # grain of the counts by time
_TRIM_EVERY_S = 60.0
_DECIDE_AT_LATEST_S = 60.0  # what other machines counted, and what was counted before a start
_ENDED_FOR_US = 3_600_000_000  # longer than any request that began before a period ended
_MOST_TRIES = 20
_DAY_US = 86_400_000_000

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
    """Event-loop thread only. Reads what was done at start and every TICK_S, so that a change made on another machine
    takes effect here within a second."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.state = Experiments({})
        self._store = store
        self._settings = settings
        self._running: list[Experiment] = []
        self._failed: Counter[tuple[str, str]] = Counter()  # by experiment and arm; of those that run
        self.rankings: Counter[tuple[str, str, str]] = Counter()  # since the start: experiment, arm, shown or failed
        self._changing = asyncio.Lock()
        self._outcomes = asyncio.Event()  # there may be some that no decision has seen
        self._outcomes.set()  # counted before a start

    async def refresh(self) -> None:
        """Take over what was done since. Raises StoreError."""
        changes = await self._store.experiment_changes(after=self.state.sequence)
        if changes:
            self.state = self.state.after(changes)
            self._running = self.state.running

    @property
    def promoted(self) -> ArmModel | None:
        """The model in force for everybody who is in no experiment; None for the default."""
        return self.state.promotions[-1][1] if self.state.promotions else None

    async def assign(self, user_id: str) -> Assigned | None:
        """The user's arm in the experiment they take part in; None where they are in none. Raises StoreError, where
        the weights follow the outcomes and the store has to be asked for the user's arm."""
        for experiment in self._running:
            arm = experiment.arm_for(user_id)
            if arm is None:
                continue
            batch = len(experiment.batches)
            if experiment.definition.adaptive:
                before = await self._store.participant_arm(user_id, experiment.name, experiment.period)
                if before is not None:
                    name, batch = arm_and_batch(before)
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
                    bucket_us=_bucket_us(definition),
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
        """Raises UnknownExperiment."""
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
            for other in self._running:
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
        """Raises UnknownExperiment, ExperimentConflict or StoreError."""
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

    async def watch(self) -> None:
        """Until cancelled: count outcomes, decide, and trim what is kept too long. Failures are logged and tried
        again."""
        trimmed = 0.0
        deciding = asyncio.create_task(self._decide_when_due())
        try:
            while True:
                try:
                    await self.tick()
                    if time.monotonic() - trimmed > _TRIM_EVERY_S:
                        await self.trim()
                        trimmed = time.monotonic()
                except StoreError as error:
                    log.error("experiments: %s", error)
                except Exception:
                    log.exception("this is a bug: outcomes were not counted; it is tried again")
                await asyncio.sleep(TICK_S)
        finally:
            deciding.cancel()

    async def tick(self) -> None:
        """Take over changes, store failures, and measure the outcomes whose window is over. Raises StoreError."""
        await self.refresh()
        await self._store_failures()
        if not self.state.by_name:
            return
        while closed := await self._store.close_windows(_now_us()):
            self._outcomes.set()
            if closed < 256:
                break

    async def decide(self) -> None:
        """Do what the counts of each running experiment say, where it decides by itself. Raises StoreError."""
        for experiment in list(self._running):
            auto, adaptive = experiment.definition.promote == "auto", experiment.definition.adaptive
            if not auto and not adaptive:
                continue
            found = await self.report(experiment.name, series=False)
            decision = found.decision
            try:
                if adaptive and (not auto or decision.action == "continue"):
                    await self._reweight(found)
                    continue
                if decision.action == "promote" and decision.arm is not None:
                    arm = experiment.definition.arms[decision.arm].name
                    await self.promote(experiment.name, arm, decision.reason)
                elif decision.action == "stop":
                    await self.stop(experiment.name, decision.reason)
                else:
                    continue
            except ExperimentConflict:  # somebody else was first
                continue
            log.info("experiment %s: %s, %s", experiment.name, decision.action, decision.reason)

    async def _reweight(self, found: Report) -> None:
        """Begin another batch of users where the outcomes of enough are counted since the last."""
        experiment, allocation = found.experiment, found.experiment.definition.allocation
        batch, counted = len(experiment.batches) + 1, sum(arm.closed for arm in found.arms)
        if counted < next_batch_at(experiment.counted, allocation) or batch >= MAX_BATCHES:
            return
        weights = thompson_weights(
            [arm.engaged for arm in found.arms],
            [arm.closed for arm in found.arms],
            floor=allocation.floor,
        )
        done = Done(batch=batch, weights=tuple(weights), counted=counted)

        def change() -> ExperimentChange:
            now = self.state.by_name[experiment.name]
            if now.state != "running" or (now.period, len(now.batches) + 1) != (experiment.period, batch):
                raise ExperimentConflict(f"batch {batch} of {experiment.name!r} has begun already")
            return _change(experiment.name, "reweighted", experiment.period, _encode(done))

        await self._append(change)
        log.info("experiment %s: batch %d, weights %s", experiment.name, batch, [round(one, 3) for one in weights])

    async def _decide_when_due(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._outcomes.wait(), _DECIDE_AT_LATEST_S)
            self._outcomes.clear()
            try:
                await self.decide()
            except StoreError as error:
                log.error("experiments: %s", error)
                self._outcomes.set()
            except Exception:
                log.exception("this is a bug: deciding failed; it is tried again with the next outcomes")
            await asyncio.sleep(DECIDE_S)

    async def _store_failures(self) -> None:
        failed, self._failed = self._failed, Counter()
        running = {experiment.name: experiment for experiment in self._running}
        rows = [
            FailedRankings(
                experiment=name,
                period=running[name].period,
                arm=arm,
                time_us=_now_us(),
                bucket_us=_bucket_us(running[name].definition),
                failed=n,
            )
            for (name, arm), n in failed.items()
            if name in running
        ]
        if rows:
            await self._store.add_exposures([], rows)

    async def trim(self) -> None:
        """Delete exposures and participants that are kept too long, or beyond the budget. Raises StoreError."""
        now_us = _now_us()
        before_us, after_us = now_us - self._settings.exposure_days * _DAY_US, now_us + _DAY_US
        most = self._settings.exposure_bytes
        while await self._store.trim_exposures(before_us, most, after_us=after_us) == 1_000:
            await asyncio.sleep(0)
        ended = self._ended()
        while ended and await self._store.forget_participants(ended) == 1_000:
            await asyncio.sleep(0)

    def _ended(self) -> dict[str, int]:
        """By experiment the last period that gets no more exposures: what runs again after an end is another period."""
        long_ago_us = _now_us() - _ENDED_FOR_US
        return {
            one.name: one.period - (one.state == "running")
            for one in self.state.by_name.values()
            if one.changed_us <= long_ago_us
        }

    async def _move(self, name: str, kind: ChangeKind, states: tuple[str, ...], done: Done) -> Experiment:
        def change() -> ExperimentChange:
            found = self.find(name)
            if found.state not in states:
                raise ExperimentConflict(f"{name!r} is {found.state}; only one that is {' or '.join(states)} can be so")
            return _change(name, kind, found.period, _encode(done))

        await self._append(change)
        return self.find(name)

    async def _append(self, change: Callable[[], ExperimentChange]) -> None:
        """Store the change that follows from what was done until now, here or on another machine. `change` raises
        where there is none."""
        async with self._changing:
            for _ in range(_MOST_TRIES):
                await self.refresh()
                if await self._store.change_experiment(change(), after=self.state.sequence) is not None:
                    await self.refresh()
                    return
        raise ExperimentConflict("experiments are being changed by others all the time; repeat the request")


def next_batch_at(counted: int, allocation: Allocation) -> float:
    """Outcomes after which another batch begins, where the last one began after `counted`."""
    return max(counted + allocation.batch, counted * _BATCH_GROWTH)


def _change(name: str, kind: ChangeKind, period: int, details: bytes) -> ExperimentChange:
    return ExperimentChange(experiment=name, kind=kind, period=period, details=details, time_us=_now_us())


def _bucket_us(definition: Definition) -> int:
    return max(definition.window_us // BUCKETS_A_WINDOW, 1)


def _now_us() -> int:
    return time.time_ns() // 1_000
