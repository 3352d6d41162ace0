"""Experiments of another server: what was done to them, and what they showed, taken over as it was."""

from asyncio import shield
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from runtime.serving.experiment_state import Definition, Done, Experiments, InvalidExperiment, counted_arm
from runtime.serving.experiments import MAX_EXPERIMENTS, ExperimentConflict, bucket_us
from runtime.serving.resources import Resources
from runtime.store import ExperimentChange, Exposure, MovedOutcome

_DAY_US = 86_400_000_000
_encode = msgspec.json.Encoder().encode

# too_old: from before VOWS_EXPOSURE_DAYS. unknown_experiment: nothing says what its window is.
ExposureOutcome = MovedOutcome | Literal["too_old", "unknown_experiment"]


class MovedExposure(NamedTuple):
    """A ranking as another server exports it. shown: ids and propensities, best first."""

    ranking_id: str
    user_id: str
    experiment: str
    period: int
    arm: str
    batch: int
    model_version: str
    time_us: int
    shown: Sequence[tuple[str, float]]
    not_shown: Sequence[str]
    arm_propensity: float | None


def check_change(change: ExperimentChange) -> None:
    """Raises InvalidExperiment where the details are none of its kind."""
    try:
        if change.kind == "defined":
            msgspec.json.decode(change.details, type=Definition).check()
        else:
            msgspec.json.decode(change.details, type=Done)
    except msgspec.DecodeError as error:
        raise InvalidExperiment(f"the details are none of a change that is {change.kind}: {error}", "details") from None


async def move_change(resources: Resources, change: ExperimentChange) -> Literal["stored", "duplicate"]:
    """Append a change of another server, made as it was then. Raises ExperimentConflict where later ones are here, or
    where two experiments would share users; or StoreError."""
    return await shield(_move_change(resources, change))


async def move_exposures(
    resources: Resources, exposures: Sequence[MovedExposure], *, now_us: int
) -> list[ExposureOutcome]:
    """Record rankings of another server, each once, with their users' windows as they were. The users' events have to
    be here before: a window that is over is measured within a second. Raises StoreError."""
    return await shield(_move_exposures(resources, exposures, now_us))


async def _move_change(resources: Resources, change: ExperimentChange) -> Literal["stored", "duplicate"]:
    known = await resources.store.experiment_changes()
    if any(_same(one, change) for one in known):
        return "duplicate"
    last = known[-1] if known else None
    if last is not None and last.time_us > change.time_us:
        raise ExperimentConflict(
            f"{last.experiment!r} was {last.kind} here after that: experiments are moved to a server that has none of "
            "its own, or only what came from the same one"
        )
    after = 0 if last is None else last.sequence
    state = Experiments({}).after([*known, msgspec.structs.replace(change, sequence=after + 1)])
    running = state.running
    for n, one in enumerate(running):
        for other in running[:n]:
            if one.definition.overlaps(other.definition):
                raise ExperimentConflict(
                    f"{other.name!r} runs here and can have the same users as {one.name!r}: stop it"
                )
    if len(state.by_name) > MAX_EXPERIMENTS:
        raise ExperimentConflict(f"there are {MAX_EXPERIMENTS} experiments here, the limit")
    if await resources.store.change_experiment(change, after=after) is None:
        raise ExperimentConflict("experiments are being changed here: repeat the request")
    await resources.experiments.refresh()
    return "stored"


async def _move_exposures(
    resources: Resources, exposures: Sequence[MovedExposure], now_us: int
) -> list[ExposureOutcome]:
    changes = await resources.store.experiment_changes()
    definitions = {
        (change.experiment, change.period): msgspec.json.decode(change.details, type=Definition)
        for change in changes
        if change.kind == "defined"
    }
    batches = Counter((change.experiment, change.period) for change in changes if change.kind == "reweighted")
    oldest_us = now_us - resources.settings.exposure_days * _DAY_US
    outcomes: list[ExposureOutcome] = []
    kept: list[Exposure] = []
    for one in exposures:
        period = one.experiment, one.period
        definition = definitions.get(period)
        if definition is None or one.arm not in [arm.name for arm in definition.arms] or one.batch > batches[period]:
            outcomes.append("unknown_experiment")
        elif one.time_us < oldest_us:  # it would be deleted at once, and count again with the next copy
            outcomes.append("too_old")
        else:
            outcomes.append("stored")
            kept.append(_exposure(one, definition))
    stored = iter(await resources.store.move_exposures(kept) if kept else [])
    return [next(stored) if outcome == "stored" else outcome for outcome in outcomes]


def _exposure(one: MovedExposure, definition: Definition) -> Exposure:
    return Exposure(
        ranking_id=one.ranking_id,
        user_id=one.user_id,
        experiment=one.experiment,
        period=one.period,
        arm=counted_arm(one.arm, one.batch),
        model_version=one.model_version,
        time_us=one.time_us,
        items=_encode([*one.shown, *((id,) for id in one.not_shown)]),
        closes_us=one.time_us + definition.window_us,
        bucket_us=bucket_us(definition),
        arm_propensity=one.arm_propensity,
    )


def _same(one: ExperimentChange, other: ExperimentChange) -> bool:
    named = (one.experiment, one.kind, one.period, one.time_us) == (
        other.experiment, other.kind, other.period, other.time_us,
    )  # fmt: skip
    return named and msgspec.json.decode(one.details) == msgspec.json.decode(other.details)
