"""What happens to experiments by itself: outcomes are counted, decisions made, old records deleted."""

import asyncio
import logging
import time
from contextlib import suppress

from runtime.experiments.exploration import thompson_weights
from runtime.serving.experiment_report import Report
from runtime.serving.experiment_state import Allocation
from runtime.serving.experiments import ExperimentConflict, ExperimentServing
from runtime.settings import Settings
from runtime.store import Store, StoreError

log = logging.getLogger("vows")

TICK_S = 0.5  # between looks at windows that ended and at what other machines did
DECIDE_S = 1.0  # least time between two decisions
MAX_BATCHES = 64  # of users with weights of their own; a hundred million users need 50
_BATCH_GROWTH = 1.25
_TRIM_EVERY_S = 60.0
_DECIDE_AT_LATEST_S = 60.0  # what other machines counted, and what was counted before a start
_ENDED_FOR_US = 3_600_000_000  # longer than any request that began before a period ended
_DAY_US = 86_400_000_000


class ExperimentWatch:
    """Event-loop thread only. Every machine watches; what several do at once happens once."""

    def __init__(self, experiments: ExperimentServing, store: Store, settings: Settings) -> None:
        self._experiments = experiments
        self._store = store
        self._settings = settings
        self._outcomes = asyncio.Event()  # there may be some that no decision has seen
        self._outcomes.set()  # counted before a start

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
        await self._experiments.refresh()
        if failed := self._experiments.take_failed():
            await self._store.add_exposures([], failed)
        if not self._experiments.state.by_name:
            return
        while closed := await self._store.close_windows(_now_us()):
            self._outcomes.set()
            if closed < 256:
                break

    async def decide(self) -> None:
        """Do what the counts of each running experiment say, where it decides by itself. Raises StoreError."""
        for experiment in list(self._experiments.running):
            auto, adaptive = experiment.definition.promote == "auto", experiment.definition.adaptive
            if not auto and not adaptive:
                continue
            found = await self._experiments.report(experiment.name, series=False)
            decision = found.decision
            try:
                if adaptive and (not auto or decision.action == "continue"):
                    await self._reweight(found)
                    continue
                if decision.action == "promote" and decision.arm is not None:
                    arm = experiment.definition.arms[decision.arm].name
                    await self._experiments.promote(experiment.name, arm, decision.reason)
                elif decision.action == "stop":
                    await self._experiments.stop(experiment.name, decision.reason)
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
        await self._experiments.begin_batch(experiment, weights, counted)
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
            for one in self._experiments.state.by_name.values()
            if one.changed_us <= long_ago_us
        }


def next_batch_at(counted: int, allocation: Allocation) -> float:
    """Outcomes after which another batch begins, where the last one began after `counted`."""
    return max(counted + allocation.batch, counted * _BATCH_GROWTH)


def _now_us() -> int:
    return time.time_ns() // 1_000
