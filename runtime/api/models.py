"""The models that are served, the bundles on this machine, and the way back to the one before."""

from typing import Annotated

import msgspec
from starlette.requests import Request

from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.ids import path_id
from runtime.serving import served_models
from runtime.serving.served_models import ServedModel
from runtime.state import State


class BundleOnDisk(msgspec.Struct, frozen=True):
    """`folder`: within the models folder, or of the package. `installed`: the one to serve. `before`: the one that
    switching back serves."""

    folder: str
    model_version: str
    installed: bool
    before: bool


class ServedModelInfo(msgspec.Struct, frozen=True):
    """`model_version`: of what answers now, null for none. `before`: of what switching back serves, null where there is
    none before. `problem`: why the bundle that is installed does not answer."""

    name: Annotated[str, one_of("minilm", "sequence", "ranker")]
    model_version: str | None
    before: str | None
    problem: str | None
    bundles: list[BundleOnDisk]


class ModelsResponse(msgspec.Struct, frozen=True):
    """The text encoder, the sequence model and the ranker."""

    models: list[ServedModelInfo]


async def get_served_models(state: State, request: Request) -> ModelsResponse:
    """What each kind of model is served from on this machine; `/info` has their quality."""
    return ModelsResponse([_info(state, served) for served in await served_models.served_models(state)])


async def post_model_back(state: State, request: Request) -> ServedModelInfo:
    """Serve the bundle before the current one again, on this machine; a second time, and the current one is back. No
    request is dropped. `sequence` and `ranker` can be switched."""
    return _info(state, await served_models.switch_back(state, path_id(request)))


def _info(state: State, served: ServedModel) -> ServedModelInfo:
    bundles = [
        BundleOnDisk(one.place(state.settings.models_dir), one.model_version, one.installed, one.before)
        for one in served.bundles
    ]
    return ServedModelInfo(served.name, served.model_version, served.before, served.problem, bundles)


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint("GET", "/models", get_served_models, "The models that are served", response=ModelsResponse),
    Endpoint(
        "POST", "/models/{id}/back", post_model_back, "Serve the bundle before again", response=ServedModelInfo,
        access="admin", errors=(404, 409, 422, 503),
    ),
]  # fmt: skip
