"""Which bundles are served and could be, and the way back to the one before."""

import asyncio
from dataclasses import dataclass

from runtime.models.installed import (
    DEFAULT,
    RANKER,
    SEQUENCE,
    TEXT_ENCODER,
    FoundBundle,
    SwitchError,
    back,
    back_needs_no_bundle,
    found_bundles,
)
from runtime.personalization.hybrid import prior
from runtime.serving.resources import Resources


class UnknownModel(Exception):
    """There is no model of that name, or it cannot be switched while the server runs."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`model_version`: of what answers now, None for none. `before`: of what `switch_back` serves, None where there is
    nothing. `problem`: why the bundle that is installed does not answer."""

    name: str
    model_version: str | None
    before: str | None
    problem: str | None
    bundles: list[FoundBundle]


async def served_models(resources: Resources) -> list[ServedModel]:
    """The text encoder, the sequence model and the ranker."""
    return [await _served(resources, name) for name in (TEXT_ENCODER, SEQUENCE, RANKER)]


async def switch_back(resources: Resources, name: str) -> ServedModel:
    """Serve the bundle before the current one, which becomes the one before.

    Raises UnknownModel, and SwitchError where there is none before or it cannot be served: then nothing is changed.
    """
    if name not in (SEQUENCE, RANKER):
        raise UnknownModel(f"no model {name!r} can be switched back; {SEQUENCE} and {RANKER} can")
    async with resources.model_turn.hold():
        if (await _served(resources, name)).before is None:
            raise SwitchError(
                f"no other {name} bundle was served before: `vows-edge models install` serves another one"
            )
        await _back(resources, name)
        served = await _served(resources, name)
        if served.problem is not None:
            await _back(resources, name)
            raise SwitchError(f"{served.problem}; {served.model_version} is still served")
        return served


async def _served(resources: Resources, name: str) -> ServedModel:
    bundles = await asyncio.to_thread(found_bundles, resources.settings.models_dir, name)
    before = next((one.model_version for one in bundles if one.before), None)
    if name == TEXT_ENCODER:
        return ServedModel(name, resources.embedder.encoder.model_version, None, None, bundles)
    if name == SEQUENCE:
        served = resources.sequence.served
        version = None if served is None else served.model.model_version
        return ServedModel(name, version, before, resources.sequence.problem, bundles)
    if before is None and back_needs_no_bundle(resources.settings.models_dir, name):
        before = prior().version
    return ServedModel(name, resources.ranker.served.ranker.version, before, resources.ranker.problem, bundles)


async def _back(resources: Resources, name: str) -> None:
    try:
        await asyncio.to_thread(back, resources.settings.models_dir or DEFAULT, name)
    except OSError as error:
        raise SwitchError(f"the folder of the bundles cannot be changed: {error}") from error
    if name == SEQUENCE:
        await resources.sequence.take_over()
    else:
        resources.ranker.take_over()
