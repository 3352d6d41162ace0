"""Memory of the server: after each step of a mixed load, under hard limits, and over thousands of requests."""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path

import numpy as np

from bench.case_result import Series
from bench.cgroup import forget_cached, memory_limit
from bench.http_client import Connection
from bench.process_memory import MiB, ProcessMemory
from bench.server import Server, ServerError, serving, text_encoder_alone
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite, raw
from bench.suites.embed import LENGTHS
from bench.texts import TextSource, load_tokenizer, text_source
from bench.traffic import EXPECTED_STATUS_SHARE, CheckedRequest, MixedTraffic, send_checked

STEPS = ("start", "warm", "load")
FLAT_REQUESTS = 3_000  # over which memory has to stay flat
LOAD_REQUESTS = 500  # mixed requests over every endpoint, then one batch of 32 texts of 256 tokens
LIMITS_MIB = (180, 256)  # 180: what a machine of 256 MiB leaves beside its kernel
READ_EVERY = 100  # requests between two readings while flatness is measured
SETTLING_REQUESTS = 3000  # before that: long enough for the bounded caches to fill, so that only a leak still grows
READINGS = [field.name for field in fields(ProcessMemory)]


def measure_both_models(conditions: Conditions, samples: Samples) -> None:
    """Readings after the same load with the sequence model served beside the text encoder."""
    if not (conditions.models / "sequence" / "manifest.json").exists():
        raise NotMeasured("no sequence model: vows-edge export sequence")
    with serving(conditions) as server, server.connect() as connection:
        _warm_up(conditions, connection)
        traffic = MixedTraffic(text_source(conditions), conditions.seed)
        _send_all(connection, itertools.islice(iter(traffic), conditions.rounds(full=LOAD_REQUESTS, quick=60)), samples)
        _send_all(connection, [traffic.large_batch()], samples)
        _read(server, "both", samples)


def measure_steps(conditions: Conditions, samples: Samples) -> None:
    """Readings after start, warm-up and load; then, once caches are full, over FLAT_REQUESTS more."""
    note_model_file(conditions.models / "minilm", samples)
    with text_encoder_alone(conditions) as alone, serving(alone) as server:
        _read(server, "start", samples)
        traffic = MixedTraffic(text_source(conditions), conditions.seed)
        stream = iter(traffic)
        with server.connect() as connection:
            _warm_up(conditions, connection)
            _read(server, "warm", samples)
            requests = conditions.rounds(full=LOAD_REQUESTS, quick=60)
            _send_all(connection, itertools.islice(stream, requests), samples)
            _send_all(connection, [traffic.large_batch()], samples)
            _read(server, "load", samples)
            for phase, count in (
                ("settling", conditions.rounds(full=SETTLING_REQUESTS, quick=READ_EVERY)),
                ("flat", conditions.rounds(full=FLAT_REQUESTS, quick=2 * READ_EVERY)),
            ):
                for _ in range(count // READ_EVERY):
                    _send_all(connection, itertools.islice(stream, READ_EVERY), samples)
                    reading = server.memory()
                    samples.add(f"{phase}_anonymous_mib", reading.anonymous_mib)
                    samples.add(f"{phase}_rss_mib", reading.rss_mib)


def measure_limit(limit_mib: int, conditions: Conditions, samples: Samples) -> None:
    """The same load inside a memory cgroup, both models served, with the default settings; files are dropped from the
    page cache before, so that they count too."""
    with memory_limit(limit_mib) as group:
        forget_cached([conditions.models, *imported_folders()])
        wanted = conditions.rounds(full=LOAD_REQUESTS, quick=60) + 1
        try:
            with serving(conditions, group) as server:
                traffic = MixedTraffic(text_source(conditions), conditions.seed)
                with server.connect() as connection:
                    _warm_up(conditions, connection)
                    _send_all(connection, itertools.islice(iter(traffic), wanted - 1), samples)
                    _send_all(connection, [traffic.large_batch()], samples)
                samples.add("charged_anonymous_mib", group.anonymous_mib())
        except (ServerError, ConnectionError) as error:
            samples.note("ended", str(error)[-300:])
        samples.count(
            "requests", wanted - int(sum(samples.series.get("requests", ())))
        )  # requests that were not sent count as failed
        samples.add("oom_kills", group.oom_kills())


def note_model_file(bundle: Path, samples: Samples) -> None:
    """Sizes of the `.ort` files, of which a server maps one; a derived one may not have been made yet."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    derived = manifest.get("derived", {})
    for encoding, name in manifest["encodings"].items():
        size_bytes = derived[name]["bytes"] if name in derived else (bundle / name).stat().st_size
        samples.add("model_file_mib", size_bytes / MiB)
        samples.note(f"file.{encoding}", name)


def growth_per_10000(series: Series) -> Sequence[float]:
    """Theil-Sen slope of anonymous memory, MiB in 10,000 requests: the median over all pairs of readings."""
    readings = np.asarray(series.get("flat_anonymous_mib", ()), dtype=np.float64)
    if len(readings) < 2:
        return []
    first, second = np.triu_indices(len(readings), 1)
    slopes = (readings[second] - readings[first]) / ((second - first) * READ_EVERY)
    return [float(np.median(slopes)) * 10_000]


def imported_folders() -> list[Path]:
    """Folders of the packages whose files a start reads most of."""
    root = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    return [path for name in ("onnxruntime", "tokenizers", "numpy", "numpy.libs") if (path := root / name).exists()]


def _warm_up(conditions: Conditions, connection: Connection) -> None:
    source = TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed + 1)
    traffic = MixedTraffic(source, conditions.seed + 1)
    for tokens in LENGTHS:
        connection.request_json(traffic.large_batch(items=1, tokens=tokens).request)


def _send_all(
    connection: Connection, checked_requests: Iterator[CheckedRequest] | Sequence[CheckedRequest], samples: Samples
) -> None:
    for checked in checked_requests:
        send_checked(connection, checked, samples)


def _read(server: Server, step: str, samples: Samples) -> None:
    for name, value in zip(READINGS, astuple(server.memory()), strict=True):
        samples.add(f"{name}.{step}", value)


_STEPS_CASE = "no limit"
_BOTH_CASE = "with the sequence model"
SUITE = Suite(
    name="memory",
    purpose="resident, anonymous and peak memory by step, under hard limits, and over mixed traffic",
    reading="`start`: ready. `warm`: one text of each length. `load`: mixed requests over every endpoint and one batch "
    "of 32 texts of 256 tokens. `growth_mib_per_10000` is the slope of anonymous memory, caches full, over "
    "further mixed traffic. `expected_status_share`: requests that returned the right status. Under a hard limit (180 "
    "MiB stands for a machine of 256) and in the rows called `both`, both models are served, with default settings; "
    "in the others the text encoder alone.",
    cases=(
        Case(_STEPS_CASE, measure_steps, limit_s=1800),
        Case(_BOTH_CASE, measure_both_models),
        *(Case(f"limit {limit} MiB", partial(measure_limit, limit)) for limit in LIMITS_MIB),
    ),
    metrics=(
        Metric("memory.model_file_mib", _STEPS_CASE, "MiB", "higher", raw("model_file_mib"), "max"),
        *(
            Metric(f"memory.{reading}.{step}", _STEPS_CASE, "MiB", "higher", raw(f"{reading}.{step}"))
            for step in STEPS
            for reading in READINGS
        ),
        *(
            Metric(f"memory.{reading}.both", _BOTH_CASE, "MiB", "higher", raw(f"{reading}.both"))
            for reading in ("anonymous_mib", "peak_rss_mib")
        ),
        Metric("memory.expected_status_share", _STEPS_CASE, "share", "lower", EXPECTED_STATUS_SHARE),
        Metric("memory.growth_mib_per_10000", _STEPS_CASE, "MiB/10,000", "higher", growth_per_10000),
        *(
            Metric(f"memory.expected_status_share.{limit}_mib", f"limit {limit} MiB", "share", "lower",
                   EXPECTED_STATUS_SHARE)
            for limit in LIMITS_MIB
        ),
        *(
            Metric(f"memory.charged_anonymous_mib.{limit}_mib", f"limit {limit} MiB", "MiB", "higher",
                   raw("charged_anonymous_mib"))
            for limit in LIMITS_MIB
        ),
    ),
)  # fmt: skip
