"""What operators measure of models, catalogue, store and process."""

import math
import os
import time
from collections import Counter

import msgspec

from runtime.serving.resources import Resources
from runtime.store import StoreUnreachable
from runtime.system.host import memory_limit, process_memory
from runtime.system.logs import dropped_lines
from runtime.system.metrics import Sample, family

_STARTED = time.time()


def catalog_capacity(resources: Resources) -> int:
    """Items that the catalogue has room for."""
    return resources.catalog.capacity


def store_unavailable(resources: Resources) -> str | None:
    """Why the database cannot be reached at the moment; None while it can."""
    return resources.store.unavailable()


async def stored_counts(resources: Resources) -> dict[str, int]:
    """Rows stored by kind; none of them while the database cannot be reached."""
    try:
        return msgspec.structs.asdict(await resources.store.counts())
    except StoreUnreachable:
        return {}


async def measurements(resources: Resources) -> list[str]:
    """The metrics of models, catalogue, store, experiments and the process, as lines of Prometheus' text format."""
    embedder, memory = resources.embedder, process_memory()
    cache, bundle = embedder.cache, embedder.encoder.bundle
    version = {"model_version": bundle.manifest.model_version, "bundle": bundle.digest[:12]}
    singles = [
        ("vows_cache_hits_total", "counter", "Texts whose vector was in the cache.", cache.hits),
        ("vows_cache_misses_total", "counter", "Texts that the model had to read.", cache.misses),
        ("vows_cache_bytes", "gauge", "Bytes held by the cache.", cache.bytes),
        ("vows_texts_truncated_total", "counter", "Texts longer than the model reads.", embedder.truncated),
        ("vows_unknown_tokens_total", "counter", "Tokens for words not in the vocabulary.", embedder.unknown),
        ("vows_queue_tokens", "gauge", "Tokens that wait for a worker.", embedder.pool.waiting_tokens),
        ("vows_bulk_waiting_tokens", "gauge", "Tokens of batches that wait in line.", embedder.lined_up_tokens),
        ("vows_catalog_bytes", "gauge", "Bytes of the catalogue's vectors.", resources.catalog.used_bytes),
        (
            "vows_items_without_room",
            "gauge",
            "Items that are stored and in no ranking, because memory is short.",
            resources.catalog.without_room,
        ),
        (
            "vows_label_bytes",
            "gauge",
            "Bytes of the catalogue's tags, vendors and categories.",
            resources.catalog.label_bytes,
        ),
        ("vows_memory_rss_bytes", "gauge", "Resident memory.", memory.rss),
        ("vows_memory_anonymous_bytes", "gauge", "Resident memory that no file backs.", memory.anonymous),
        ("vows_memory_file_bytes", "gauge", "Resident memory that files back.", memory.file),
        ("vows_memory_peak_rss_bytes", "gauge", "Highest resident memory so far.", memory.peak),
        ("vows_memory_limit_bytes", "gauge", "Memory of the machine or of its cgroup.", memory_limit() or math.nan),
        ("vows_queue_tokens_limit", "gauge", "Tokens that may wait.", resources.settings.queue_tokens),
        ("vows_writes_waiting", "gauge", "Writes that wait for the disk.", resources.store.waiting_writes()),
        (
            "vows_unreadable_rows_total",
            "counter",
            "Stored rows that were met and left out because they cannot be read.",
            resources.store.unreadable_rows(),
        ),
        ("vows_volume_free_bytes", "gauge", "Room on the volume of the database.", _free_bytes(resources)),
        ("log_lines_dropped_total", "counter", "Log lines dropped because their reader was too slow.", dropped_lines()),
        ("process_cpu_seconds_total", "counter", "Processor time.", time.process_time()),
        ("process_start_time_seconds", "gauge", "When the process began, since 1970.", _STARTED),
    ]
    lines: list[str] = []
    for name, kind, help, value in singles:
        lines += family(name, kind, help, [("", {}, value)])
    rows: list[Sample] = [("", {"table": name}, count) for name, count in (await stored_counts(resources)).items()]
    lines += family("vows_stored_rows", "gauge", "Rows stored.", rows)
    lines += family("vows_model_info", "gauge", "The model that is served.", [("", version, 1)])
    found = resources.experiments.state.by_name.values()
    lines += family(
        "vows_experiments", "gauge", "Experiments, by state.",
        [("", {"state": name}, n) for name, n in Counter(one.state for one in found).items()],
    )  # fmt: skip
    lines += family(
        "vows_experiment_rankings_total", "counter", "Rankings since the start, by experiment, arm and result.",
        [
            ("", {"experiment": experiment, "arm": arm, "result": result}, n)
            for (experiment, arm, result), n in resources.experiments.rankings.items()
        ],
    )  # fmt: skip
    unavailable = resources.store.unavailable()
    reachable: list[Sample] = [("", {}, int(not unavailable))]
    lines += family("vows_store_available", "gauge", "Whether the database can be reached.", reachable)
    schema = "unknown" if unavailable else (await resources.store.schema())[-1]
    data = {"schema": schema, "decay_per_day": repr(resources.settings.decay_per_day)}
    lines += family("vows_data_info", "gauge", "The database's last migration, and λ of its sums.", [("", data, 1)])
    return lines


def _free_bytes(resources: Resources) -> float:
    try:
        found = os.statvfs(resources.settings.data_dir)
    except OSError:  # the volume is missing, which is worth a metric and no more
        return math.nan
    return found.f_bavail * found.f_frsize
