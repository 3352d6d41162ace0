"""For operators and machines: alive, ready, what runs here and within which limits."""

import os
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from runtime import VERSION
from runtime.http.endpoint import Endpoint
from runtime.http.errors import ApiError
from runtime.models.session import onnxruntime_version
from runtime.personalization.action_features import NAMES
from runtime.serving.measurements import catalog_capacity, measurements, store_unavailable, stored_counts
from runtime.state import State
from runtime.system.host import INTEGER_FLAGS, cpu_flags, cpu_name, memory_limit, process_memory, usable_cores
from runtime.system.metrics import Sample, family, renamed_family

METRICS_PER_SECOND = 8


class Health(msgspec.Struct, frozen=True):
    """`status`: alive or ready."""

    status: str


class SelfTestInfo(msgspec.Struct, frozen=True):
    """How the model embedded the texts that were recorded at export, against those vectors and against float32."""

    texts: int
    min_cosine_to_recorded: float
    mean_cosine_to_fp32: float


class ModelInfo(msgspec.Struct, frozen=True):
    """`encoding` is the integer encoding chosen for this CPU; `self_test` how it reproduces recorded vectors."""

    model_version: str
    bundle_sha256: str
    source: str
    recipe: dict[str, Any]
    quality: dict[str, Any]
    encoding: str
    self_test: SelfTestInfo
    dimensions: int
    max_tokens: int


class SequenceInfo(msgspec.Struct, frozen=True):
    """`item_vectors`: how many items have the model's vector; the others get theirs when they are ranked.

    `trained_items`: how many items the model was trained on. `known_items`: how many of them are in this catalogue;
    with none, the simple model answers in its place."""

    model_version: str
    bundle_sha256: str
    source: str
    recipe: dict[str, Any]
    quality: dict[str, Any]
    dimensions: int
    max_events: int
    min_events: int
    item_vectors: int
    trained_items: int
    known_items: int


class LogInfo(msgspec.Struct, frozen=True):
    """The log that a ranker was fitted to; `first` and `last` are RFC 3339."""

    name: str
    events: int
    users: int
    items: int
    first: str
    last: str


class NextActionInfo(msgspec.Struct, frozen=True):
    """`features`: how many the model reads. `sequence`: the sequence model that it was fitted with, and answers with
    where that one is served."""

    features: int
    sequence: str | None


class RankerSequenceInfo(msgspec.Struct, frozen=True):
    """The sequence model that the ranker was fitted beside. `weights`: the second set, with its score as a feature;
    empty where it was not better. `served`: whether they rank now, and `reason` why not. `catalogue`: whether they also
    rank the whole catalogue (recommendations), and `catalogue_reason` why not."""

    model_version: str
    weights: dict[str, float]
    served: bool
    reason: str | None
    catalogue: bool
    catalogue_reason: str | None


class RankerInfo(msgspec.Struct, frozen=True):
    """The hybrid ranker. `weights`: of its features; with `met.` before its name, what one is more for a candidate that
    the user has met, and with `few.` or `few16.` before either, for a user without events, fading up to 5 or 16 of
    them. `log`, `bundle_sha256`: null where it ranks with the weights that come with the server.
    `next_action`: null where the bundle has no such model: the sequence model then answers. `sequence`: null where it
    was fitted without a sequence model."""

    model_version: str
    bundle_sha256: str | None
    source: str | None
    quality: dict[str, Any]
    weights: dict[str, float]
    log: LogInfo | None
    next_action: NextActionInfo | None
    sequence: RankerSequenceInfo | None = None


class MachineInfo(msgspec.Struct, frozen=True):
    """The processor with its instructions for integers, the cores that may be used, and the memory of the machine or
    its cgroup."""

    cpu: str
    cpu_features: list[str]
    cores: int
    memory_limit_bytes: int | None


class MemoryInfo(msgspec.Struct, frozen=True):
    """Resident memory of the process now, with and without what files back, and the highest so far."""

    rss_bytes: int
    anonymous_bytes: int
    file_bytes: int
    peak_rss_bytes: int


class Info(msgspec.Struct, frozen=True):
    """What runs here: versions, models, the machine, memory, the limits in force, and rows stored by kind."""

    version: str
    onnxruntime: str
    pid: int
    models: list[ModelInfo]
    sequence: SequenceInfo | None
    ranker: RankerInfo
    machine: MachineInfo
    memory: MemoryInfo
    limits: dict[str, float]
    stored: dict[str, int]


async def get_healthz(state: State, request: Request) -> Health:
    """The process answers; it says nothing of the database."""
    return Health("alive")


async def get_readyz(state: State, request: Request) -> Health:
    """The port opens only after the model embedded its recorded texts and the database was opened and checked. 503
    while a database on another machine cannot be reached: embeddings and searches are answered all the same."""
    if (reason := store_unavailable(state)) is not None:
        raise ApiError(503, "storage_unavailable", reason, retry_after_s=1)
    return Health("ready")


async def get_info(state: State, request: Request) -> Info:
    """For people and for the pages. `/metrics` has what changes."""
    encoder, settings, memory = state.embedder.encoder, state.settings, process_memory()
    manifest = encoder.bundle.manifest
    return Info(
        version=VERSION,
        onnxruntime=onnxruntime_version(),
        pid=os.getpid(),
        models=[
            ModelInfo(
                model_version=manifest.model_version,
                bundle_sha256=encoder.bundle.digest,
                source=manifest.source.id,
                recipe=manifest.recipe,
                quality=manifest.quality,
                encoding=encoder.encoding,
                self_test=SelfTestInfo(*state.self_test),
                dimensions=encoder.dimensions,
                max_tokens=encoder.max_tokens,
            )
        ],
        sequence=_sequence(state),
        ranker=_ranker(state),
        machine=MachineInfo(cpu_name(), sorted(cpu_flags() & INTEGER_FLAGS), usable_cores(), memory_limit()),
        memory=MemoryInfo(memory.rss, memory.anonymous, memory.file, memory.peak),
        limits={
            "worker_threads": state.embedder.pool.workers,
            "queue_tokens": settings.queue_tokens,
            "max_body_bytes": settings.max_body_bytes,
            "body_budget_bytes": settings.body_budget_bytes,
            "max_requests": settings.max_requests,
            "max_connections": settings.max_connections,
            "catalog_bytes": settings.catalog_bytes,
            "catalog_items": catalog_capacity(state),
            "cache_bytes": settings.cache_bytes,
            "request_timeout_s": settings.request_timeout_s,
            "batch_timeout_s": settings.batch_timeout_s,
        },
        stored=await stored_counts(state),
    )


def _sequence(state: State) -> SequenceInfo | None:
    served = state.sequence.served
    if served is None:
        return None
    model = served.model
    manifest = model.bundle.manifest
    return SequenceInfo(
        model_version=manifest.model_version,
        bundle_sha256=model.bundle.digest,
        source=manifest.source.id,
        recipe=manifest.recipe,
        quality=manifest.quality,
        dimensions=model.dimensions,
        max_events=model.max_events,
        min_events=model.min_events,
        item_vectors=state.sequence.item_vectors,
        trained_items=model.trained_items,
        known_items=state.sequence.known_items,
    )


def _ranker(state: State) -> RankerInfo:
    served = state.ranker.served
    manifest = None if served.bundle is None else served.bundle.manifest
    action = None if served.next_action is None else served.next_action.model
    return RankerInfo(
        model_version=served.ranker.version,
        bundle_sha256=None if served.bundle is None else served.bundle.digest,
        source=None if manifest is None else manifest.source.id,
        quality={} if manifest is None else manifest.quality,
        weights=served.ranker.named_weights,
        log=None if served.log is None else LogInfo(**msgspec.structs.asdict(served.log)),
        next_action=None if action is None else NextActionInfo(len(NAMES), action.sequence),
        sequence=_beside(state),
    )


def _beside(state: State) -> RankerSequenceInfo | None:
    if (fitted := state.ranker.served.sequence) is None:
        return None
    apart = state.ranker.apart
    without = apart or state.sequence.catalogue_lacks
    return RankerSequenceInfo(
        fitted.model_version, fitted.named_weights, apart is None, apart, without is None, without
    )


async def get_metrics(state: State, request: Request) -> PlainTextResponse:
    """For Prometheus: requests, latencies, rejections, stages, cache, queue, memory, disk, rows stored, versions."""
    return PlainTextResponse(await metrics_text(state), media_type="text/plain; version=0.0.4")


async def metrics_text(state: State) -> bytes:
    """All metrics in the text format of Prometheus. At most METRICS_PER_SECOND: making it takes as long as answering
    three cached texts, and a client can ask for it thousands of times at once."""
    return await state.metrics_page.get(lambda: _metrics_text(state))


async def _metrics_text(state: State) -> bytes:
    lines = state.metrics.text()
    lines += family("http_connections", "gauge", "Connections that are open.", [("", {}, len(state.connections))])
    dropped: list[Sample] = [("", {"reason": reason}, n) for reason, n in state.connections.dropped.items()]
    lines += family("http_connections_dropped_total", "counter", "Connections closed because of their client, or for "
                    "capacity.", dropped)  # fmt: skip
    lines += renamed_family(
        "http_request_body_reserved_bytes", "vows_held_bytes", "gauge",
        "Bytes reserved for request bodies and large responses in flight.", [("", {}, state.bodies.held_bytes)],
    )  # fmt: skip
    lines += await measurements(state)
    return ("\n".join(lines) + "\n").encode()


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint("GET", "/healthz", get_healthz, "The process is alive", response=Health, access="health"),
    Endpoint("GET", "/readyz", get_readyz, "The service can answer", response=Health, access="health", errors=(503,)),
    Endpoint("GET", "/info", get_info, "Models, machine, memory and limits in force", response=Info),
    Endpoint(
        "GET", "/metrics", get_metrics, "Metrics for Prometheus",
        response=str, response_media="text/plain", access="metrics",
    ),
]  # fmt: skip
