"""For operators and machines: alive, ready, what runs here and within which limits."""

import math
import os
import time
from collections import Counter
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from runtime import VERSION
from runtime.http.endpoint import Endpoint
from runtime.http.errors import ApiError
from runtime.models.session import onnxruntime_version
from runtime.personalization.action_features import NAMES
from runtime.state import State
from runtime.store import StoreUnreachable
from runtime.system.host import INTEGER_FLAGS, cpu_flags, cpu_name, memory_limit, process_memory, usable_cores
from runtime.system.logs import dropped_lines
from runtime.system.metrics import Sample, family, renamed_family

METRICS_PER_SECOND = 8

_STARTED = time.time()


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


class RankerInfo(msgspec.Struct, frozen=True):
    """The hybrid ranker. `weights`: of its features. `log`, `bundle_sha256`: null where it ranks with the weights that
    come with the server. `next_action`: null where the bundle has no such model: the sequence model then answers."""

    model_version: str
    bundle_sha256: str | None
    source: str | None
    quality: dict[str, Any]
    weights: dict[str, float]
    log: LogInfo | None
    next_action: NextActionInfo | None


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
    if (reason := state.store.unavailable()) is not None:
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
    )


async def stored_counts(state: State) -> dict[str, int]:
    """None of them while the database cannot be reached."""
    try:
        return msgspec.structs.asdict(await state.store.counts())
    except StoreUnreachable:
        return {}


async def get_metrics(state: State, request: Request) -> PlainTextResponse:
    """For Prometheus: requests, latencies, rejections, stages, cache, queue, memory, disk, rows stored, versions."""
    return PlainTextResponse(await metrics_text(state), media_type="text/plain; version=0.0.4")


async def metrics_text(state: State) -> bytes:
    """All metrics in the text format of Prometheus. At most METRICS_PER_SECOND: making it takes as long as answering
    three cached texts, and a client can ask for it thousands of times at once."""
    return await state.metrics_page.get(lambda: _metrics_text(state))


async def _metrics_text(state: State) -> bytes:
    cache, memory, manifest = state.embedder.cache, process_memory(), state.embedder.encoder.bundle.manifest
    version = {"model_version": manifest.model_version, "bundle": state.embedder.encoder.bundle.digest[:12]}
    singles = [
        ("vows_cache_hits_total", "counter", "Texts whose vector was in the cache.", cache.hits),
        ("vows_cache_misses_total", "counter", "Texts that the model had to read.", cache.misses),
        ("vows_cache_bytes", "gauge", "Bytes held by the cache.", cache.bytes),
        ("vows_texts_truncated_total", "counter", "Texts longer than the model reads.", state.embedder.truncated),
        (
            "vows_unknown_tokens_total",
            "counter",
            "Tokens for words not in the vocabulary.",
            state.embedder.unknown,
        ),
        ("vows_queue_tokens", "gauge", "Tokens that wait for a worker.", state.embedder.pool.waiting_tokens),
        ("vows_bulk_waiting_tokens", "gauge", "Tokens of batches that wait in line.", state.embedder.lined_up_tokens),
        ("vows_catalog_bytes", "gauge", "Bytes of the catalogue's vectors.", state.catalog.used_bytes),
        (
            "vows_items_without_room",
            "gauge",
            "Items that are stored and in no ranking, for want of memory.",
            state.catalog.without_room,
        ),
        (
            "vows_label_bytes",
            "gauge",
            "Bytes of the catalogue's tags, vendors and categories.",
            state.catalog.label_bytes,
        ),
        ("vows_memory_rss_bytes", "gauge", "Resident memory.", memory.rss),
        ("vows_memory_anonymous_bytes", "gauge", "Resident memory that no file backs.", memory.anonymous),
        ("vows_memory_file_bytes", "gauge", "Resident memory that files back.", memory.file),
        ("vows_memory_peak_rss_bytes", "gauge", "Highest resident memory so far.", memory.peak),
        ("vows_memory_limit_bytes", "gauge", "Memory of the machine or of its cgroup.", memory_limit() or math.nan),
        ("vows_queue_tokens_limit", "gauge", "Tokens that may wait.", state.settings.queue_tokens),
        ("vows_writes_waiting", "gauge", "Writes that wait for the disk.", state.store.waiting_writes()),
        (
            "vows_unreadable_rows_total",
            "counter",
            "Stored rows that were met and left out because they cannot be read.",
            state.store.unreadable_rows(),
        ),
        ("vows_volume_free_bytes", "gauge", "Room on the volume of the database.", _free_bytes(state)),
        ("http_connections", "gauge", "Connections that are open.", len(state.connections)),
        ("log_lines_dropped_total", "counter", "Log lines dropped because their reader was too slow.", dropped_lines()),
        ("process_cpu_seconds_total", "counter", "Processor time.", time.process_time()),
        ("process_start_time_seconds", "gauge", "When the process began, since 1970.", _STARTED),
    ]
    lines = state.metrics.text()
    dropped: list[Sample] = [("", {"reason": reason}, n) for reason, n in state.connections.dropped.items()]
    lines += family("http_connections_dropped_total", "counter", "Connections closed because of their client, or for "
                    "capacity.", dropped)  # fmt: skip
    for name, kind, help, value in singles:
        lines += family(name, kind, help, [("", {}, value)])
    lines += renamed_family(
        "http_request_body_reserved_bytes", "vows_held_bytes", "gauge",
        "Bytes reserved for request bodies and large responses in flight.", [("", {}, state.bodies.held_bytes)],
    )  # fmt: skip
    rows: list[Sample] = [("", {"table": name}, count) for name, count in (await stored_counts(state)).items()]
    lines += family("vows_stored_rows", "gauge", "Rows stored.", rows)
    lines += family("vows_model_info", "gauge", "The model that is served.", [("", version, 1)])
    found = state.experiments.state.by_name.values()
    lines += family(
        "vows_experiments", "gauge", "Experiments, by state.",
        [("", {"state": name}, n) for name, n in Counter(one.state for one in found).items()],
    )  # fmt: skip
    lines += family(
        "vows_experiment_rankings_total", "counter", "Rankings since the start, by experiment, arm and result.",
        [
            ("", {"experiment": experiment, "arm": arm, "result": result}, n)
            for (experiment, arm, result), n in state.experiments.rankings.items()
        ],
    )  # fmt: skip
    unavailable = state.store.unavailable()
    reachable: list[Sample] = [("", {}, int(not unavailable))]
    lines += family("vows_store_available", "gauge", "Whether the database can be reached.", reachable)
    schema = "unknown" if unavailable else (await state.store.schema())[-1]
    data = {"schema": schema, "decay_per_day": repr(state.settings.decay_per_day)}
    lines += family("vows_data_info", "gauge", "The database's last migration, and λ of its sums.", [("", data, 1)])
    return ("\n".join(lines) + "\n").encode()


def _free_bytes(state: State) -> float:
    try:
        found = os.statvfs(state.settings.data_dir)
    except OSError:  # the volume is missing, which is worth a metric and no more
        return math.nan
    return found.f_bavail * found.f_frsize


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint("GET", "/healthz", get_healthz, "The process is alive", response=Health, access="health"),
    Endpoint("GET", "/readyz", get_readyz, "The service can answer", response=Health, access="health", errors=(503,)),
    Endpoint("GET", "/info", get_info, "Models, machine, memory and limits in force", response=Info),
    Endpoint(
        "GET", "/metrics", get_metrics, "Metrics for Prometheus",
        response=str, response_media="text/plain", access="metrics",
    ),
]  # fmt: skip
