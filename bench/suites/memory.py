"""What the server holds: after each step of a mixed load, under hard limits, and over thousands of requests."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path

import numpy as np

from bench.cgroup import forget_cached, memory_limit
from bench.http_client import Connection
from bench.process_memory import MB, ProcessMemory
from bench.server import Server, ServerError, serving, text_encoder_alone
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Series, Suite, raw, share
from bench.suites.embed import LENGTHS
from bench.texts import TextSource, load_tokenizer
from bench.traffic import Ask, MixedTraffic

STEPS = ("start", "warm", "load")
LOAD_REQUESTS = 500  # mixed requests over every endpoint, then one batch of 32 texts of 256 tokens
LIMITS_MB = (192, 256)
READ_EVERY = 100  # requests between two readings while flatness is measured
SETTLING_REQUESTS = 3000  # before that: long enough for the bounded caches to fill, so that only a leak still grows
AS_EXPECTED = share("as_expected", "asked")  # of the requests, those answered by the status they had to have
READINGS = [field.name for field in fields(ProcessMemory)]


def measure_both_models(conditions: Conditions, samples: Samples) -> None:
    """Readings after the same load with the sequence model served beside the text encoder."""
    if not (conditions.models / "sequence" / "manifest.json").exists():
        raise NotMeasured("no sequence model: python -m export sequence")
    with serving(conditions) as server, server.connect() as connection:
        _warm_up(conditions, connection)
        traffic = _traffic(conditions)
        _ask_all(connection, itertools.islice(iter(traffic), conditions.rounds(full=LOAD_REQUESTS, quick=60)), samples)
        _ask_all(connection, [traffic.large_batch()], samples)
        _read(server, "both", samples)


def measure_steps(conditions: Conditions, samples: Samples) -> None:
    """Readings after start, warm-up and load; then, once caches are full, over `conditions.mixed_requests` more."""
    note_model_file(conditions.models / "minilm", samples)
    with text_encoder_alone(conditions) as alone, serving(alone) as server:
        _read(server, "start", samples)
        traffic = _traffic(conditions)
        stream = iter(traffic)
        with server.connect() as connection:
            _warm_up(conditions, connection)
            _read(server, "warm", samples)
            requests = conditions.rounds(full=LOAD_REQUESTS, quick=60)
            _ask_all(connection, itertools.islice(stream, requests), samples)
            _ask_all(connection, [traffic.large_batch()], samples)
            _read(server, "load", samples)
            for phase, count in (
                ("settling", conditions.rounds(full=SETTLING_REQUESTS, quick=READ_EVERY)),
                ("flat", conditions.rounds(full=conditions.mixed_requests, quick=2 * READ_EVERY)),
            ):
                for _ in range(count // READ_EVERY):
                    _ask_all(connection, itertools.islice(stream, READ_EVERY), samples)
                    reading = server.memory()
                    samples.add(f"{phase}_anonymous_mb", reading.anonymous_mb)
                    samples.add(f"{phase}_rss_mb", reading.rss_mb)


def measure_limit(limit_mb: int, conditions: Conditions, samples: Samples) -> None:
    """The same load inside a memory cgroup; files are dropped from the page cache before, so that they count too."""
    with memory_limit(limit_mb) as group:
        forget_cached([conditions.models / "minilm", *_imported_folders()])
        wanted = conditions.rounds(full=LOAD_REQUESTS, quick=60) + 1
        try:
            with text_encoder_alone(conditions) as alone, serving(alone, group) as server:
                traffic = _traffic(conditions)
                with server.connect() as connection:
                    _warm_up(conditions, connection)
                    _ask_all(connection, itertools.islice(iter(traffic), wanted - 1), samples)
                    _ask_all(connection, [traffic.large_batch()], samples)
                samples.add("charged_anonymous_mb", group.anonymous_mb())
        except (ServerError, ConnectionError) as error:
            samples.note("ended", str(error)[-300:])
        samples.count(
            "asked", wanted - int(sum(samples.series.get("asked", ())))
        )  # what was not asked was not answered
        samples.add("oom_kills", group.oom_kills())


def note_model_file(bundle: Path, samples: Samples) -> None:
    """Sizes of the `.ort` files, of which a server maps one."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    for encoding, name in manifest["encodings"].items():
        samples.add("model_file_mb", (bundle / name).stat().st_size / MB)
        samples.note(f"file.{encoding}", name)


def growth_per_10000(series: Series) -> Sequence[float]:
    """Theil-Sen slope of anonymous memory, MB in 10,000 requests: the median over all pairs of readings."""
    readings = np.asarray(series.get("flat_anonymous_mb", ()), dtype=np.float64)
    if len(readings) < 2:
        return []
    first, second = np.triu_indices(len(readings), 1)
    slopes = (readings[second] - readings[first]) / ((second - first) * READ_EVERY)
    return [float(np.median(slopes)) * 10_000]


def _imported_folders() -> list[Path]:
    root = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    return [path for name in ("onnxruntime", "tokenizers", "numpy", "numpy.libs") if (path := root / name).exists()]


def _traffic(conditions: Conditions) -> MixedTraffic:
    source = TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed)
    return MixedTraffic(source, conditions.seed)


def _warm_up(conditions: Conditions, connection: Connection) -> None:
    source = TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed + 1)
    traffic = MixedTraffic(source, conditions.seed + 1)
    for tokens in LENGTHS:
        connection.ask_json(traffic.large_batch(items=1, tokens=tokens).request)


def _ask_all(connection: Connection, asks: Iterator[Ask] | Sequence[Ask], samples: Samples) -> None:
    for ask in asks:
        samples.count("asked")
        status, body = connection.ask(ask.request)
        samples.count("as_expected", int(status in ask.expected))
        if status not in ask.expected:
            samples.note(f"unexpected.{ask.name}", f"{status}: {body[:200]!r}")


def _read(server: Server, step: str, samples: Samples) -> None:
    for name, value in zip(READINGS, astuple(server.memory()), strict=True):
        samples.add(f"{name}.{step}", value)


_STEPS_CASE = "no limit"
_BOTH_CASE = "with the sequence model"
SUITE = Suite(
    name="memory",
    purpose="resident, anonymous and peak memory by step, under hard limits, and over mixed traffic",
    reading="`start`: ready. `warm`: one text of each length. `load`: mixed requests over every endpoint and one batch "
    "of 32 texts of 256 tokens. `growth_mb_per_10000` is the slope of anonymous memory, caches full, over "
    "further mixed traffic. `answered` is the share of requests answered by the status they had to have. MB are 2^20 "
    "bytes. The text encoder serves alone, except where it says `both`: there the sequence model does beside it.",
    cases=(
        Case(_STEPS_CASE, measure_steps, limit_s=1800),
        Case(_BOTH_CASE, measure_both_models),
        *(Case(f"limit {limit} MB", partial(measure_limit, limit)) for limit in LIMITS_MB),
    ),
    metrics=(
        Metric("memory.model_file_mb", _STEPS_CASE, "MB", "higher", raw("model_file_mb"), "max"),
        *(
            Metric(f"memory.{reading}.{step}", _STEPS_CASE, "MB", "higher", raw(f"{reading}.{step}"))
            for step in STEPS
            for reading in READINGS
        ),
        *(
            Metric(f"memory.{reading}.both", _BOTH_CASE, "MB", "higher", raw(f"{reading}.both"))
            for reading in ("anonymous_mb", "peak_rss_mb")
        ),
        Metric("memory.answered", _STEPS_CASE, "share", "lower", AS_EXPECTED),
        Metric("memory.growth_mb_per_10000", _STEPS_CASE, "MB/10,000", "higher", growth_per_10000),
        *(
            Metric(f"memory.answered_{limit}", f"limit {limit} MB", "share", "lower", AS_EXPECTED)
            for limit in LIMITS_MB
        ),
        *(
            Metric(f"memory.charged_anonymous_mb_{limit}", f"limit {limit} MB", "MB", "higher",
                   raw("charged_anonymous_mb"))
            for limit in LIMITS_MB
        ),
    ),
)  # fmt: skip
