"""The sequence model: time to encode a history, time from an event to a changed ranking, memory of both models."""

import os
import random
import tempfile
import time
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path
from typing import Any

from bench.http_client import Connection, build_request
from bench.process_memory import ProcessMemory
from bench.ranker_bundle import models_with_ranker
from bench.server import TRAINED_ITEM, serving
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite, raw, share
from bench.suites.rank import load_catalogue
from bench.texts import text_source
from runtime.personalization.actions import InteractionType

LENGTHS = (10, 64, 200)
CANDIDATES = 100
ITEMS = 20_000
ITEMS_A_WRITE = 500
EVENTS = 200
OTHER_USERS, OTHER_EVENTS = 1_000, 50
DEEP: dict[str, Any] = {"layers": 12, "width": 128, "heads": 8}  # what a model may grow to
DEEP_EVENTS = 256
_KINDS: tuple[InteractionType, ...] = ("view", "save", "share", "skip")
_EXPORT = "vows-edge export sequence"
READINGS = [field.name for field in fields(ProcessMemory)]


def require_bundle(models: Path) -> None:
    """Raises NotMeasured where there is no sequence bundle."""
    if not (models / "sequence" / "manifest.json").exists():
        raise NotMeasured(f"no sequence bundle in {models}: make one with `{_EXPORT}`")


def measure_model(conditions: Conditions, samples: Samples) -> None:
    """The runtime's model in this process on one core: features and graph, from arrays to the user's vector."""
    require_bundle(conditions.models)
    os.sched_setaffinity(0, {conditions.server_core})
    from runtime.models.bundle import Bundle
    from runtime.models.sequence_model import SequenceModel, golden_history

    model = SequenceModel(Bundle.load((conditions.models / "sequence").resolve(), kind="sequence"))
    samples.note("bundle", model.bundle.digest[:12])
    draw = random.Random(conditions.seed)
    histories = {length: golden_history(length) for length in LENGTHS}
    candidates = golden_history(CANDIDATES).content
    for number in range(2 + conditions.rounds(full=100, quick=3)):
        for length in draw.sample(LENGTHS, len(LENGTHS)):
            history = histories[length]
            start = time.perf_counter()
            user = model.user(history, int(history.time_us[-1]) + 1, 1)
            encoded = time.perf_counter()
            model.actions(user, candidates)
            end = time.perf_counter()
            if number >= 2:
                samples.add(f"encode_ms.{length}", (encoded - start) * 1e3)
                samples.add(f"actions_ms.{length}", (end - encoded) * 1e3)


def measure_deep(conditions: Conditions, samples: Samples) -> None:
    """A model of `DEEP` size with random weights: time does not depend on them."""
    try:
        import torch

        from export.encodings import compile_ort
        from export.sequence_graphs import sequence_graphs
        from training.model import SequenceModel
        from training.model_config import ModelConfig
    except ImportError as error:
        raise NotMeasured(f"making the graph needs the export extra: {error}") from error
    import numpy as np

    from runtime.models.session import create_session
    from runtime.personalization.sequence_features import EVENT, QUERY_CONTEXT

    os.sched_setaffinity(0, {conditions.server_core})
    torch.manual_seed(conditions.seed)
    graph = sequence_graphs(SequenceModel(ModelConfig(items=1, **DEEP)))["user"]
    draw = np.random.default_rng(conditions.seed)
    n = DEEP_EVENTS
    feed = {
        "content": draw.normal(size=(n, 384)).astype(np.float32),
        "item": draw.normal(size=(n, 128)).astype(np.float32),
        "action": draw.integers(0, 4, n, np.int32),
        "device": draw.integers(0, 5, n, np.int32),
        "events": draw.normal(size=(n, EVENT)).astype(np.float32),
        "seconds": np.sort(draw.integers(0, 10**7, n, np.int32)),
        "moment": draw.normal(size=(1, QUERY_CONTEXT)).astype(np.float32),
        "now_device": np.ones(1, np.int32),
        "stated": np.zeros((1, 384), np.float32),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "user.ort"
        compile_ort(graph, file)
        session = create_session(file, prepacking=False)
        for number in range(2 + conditions.rounds(full=40, quick=3)):
            start = time.perf_counter()
            session.run(None, feed)
            if number >= 2:
                samples.add("encode_ms.12_layers", (time.perf_counter() - start) * 1e3)


def measure_change(conditions: Conditions, samples: Samples) -> None:
    """Over HTTP: an event of a user with `EVENTS` of them is stored, and a ranking requested; the time of both."""
    require_bundle(conditions.models)
    draw = random.Random(conditions.seed)
    ids = [f"item-{n}" for n in range(500)]
    source = text_source(conditions)
    with serving(conditions) as server, server.connect() as connection:
        load_catalogue(connection, [*ids, TRAINED_ITEM["id"]], source)
        past = [{"user_id": "ana", "content_id": draw.choice(ids), "type": draw.choice(_KINDS)} for _ in range(EVENTS)]
        connection.request_json(build_request("POST", "/interactions", past))
        body = {"user_id": "ana", "candidates": ids[:CANDIDATES], "model": "sequence"}
        rank = build_request("POST", "/rank", body)
        before = connection.request_json(rank)
        if before["model_version"] == "simple-v1":
            raise RuntimeError(f"the simple model answered: {before.get('fallback')}")
        for _ in range(conditions.rounds(full=100, quick=3)):
            event = {"user_id": "ana", "content_id": draw.choice(ids), "type": draw.choice(_KINDS[:3])}
            stored_ms, status = connection.timed(build_request("POST", "/interactions", event))
            ranked_ms, ranked_status = connection.timed(rank)
            if (status, ranked_status) != (200, 200):
                raise RuntimeError(f"answers {status}, {ranked_status}")
            samples.add("stored_ms", stored_ms)
            samples.add("ranked_ms", ranked_ms)
            samples.add("event_to_ranking_ms", stored_ms + ranked_ms)
            after = connection.request_json(rank)
            samples.count("requests")
            samples.count("changed", int(after["scores"] != before["scores"]))
            before = after


def measure_memory(with_sequence: bool, conditions: Conditions, samples: Samples) -> None:
    """`ITEMS` items with made-up vectors in the database before the start, then every kind of request.

    Once with both models and once with the text encoder alone: the difference is what the sequence model costs.
    """
    require_bundle(conditions.models)
    with tempfile.TemporaryDirectory() as folder:
        models, data = Path(folder) / "models", Path(folder) / "data"
        models.mkdir()
        if with_sequence:
            models_with_ranker(conditions.models, models)
        else:
            (models / "minilm").symlink_to(conditions.models / "minilm")
        _store(data, conditions)
        settings = {"VOWS_MODELS_DIR": str(models), "VOWS_DATA_DIR": str(data), "VOWS_CATALOG_VECTORS": "int8"}
        with serving(conditions, settings=settings) as server, server.connect() as connection:
            if with_sequence:
                _until_complete(connection)
            for candidates in (10, 100, 1_000):
                for model in ("simple", "hybrid", "sequence") if with_sequence else ("simple",):
                    body = {"user_id": "ana", "candidates": [f"item-{n}" for n in range(candidates)], "model": model}
                    for _ in range(3):
                        connection.request_json(build_request("POST", "/rank", body))
            if with_sequence:
                body = {"candidates": [f"item-{n}" for n in range(CANDIDATES)]}
                connection.request_json(build_request("POST", "/user/ana/next-action", body))
                _rank_for_many(connection, conditions.rounds(full=OTHER_USERS, quick=3))
            connection.request_json(build_request("POST", "/embed", {"text": "a barn with string lights " * 80}))
            for name, value in zip(READINGS, astuple(server.memory()), strict=True):
                samples.add(name, value)


def _rank_for_many(connection: Connection, users: int) -> None:
    """More users than are kept, each with some events, by the ranker that reads the sequence model's score. Raises
    RuntimeError where it does not."""
    for user in range(users):
        events = [
            {"user_id": f"user-{user}", "content_id": f"item-{(user + 7 * n) % 1_000}", "type": _KINDS[n % 3]}
            for n in range(OTHER_EVENTS)
        ]
        connection.request_json(build_request("POST", "/interactions", events))
        body = {"user_id": f"user-{user}", "candidates": [f"item-{n}" for n in range(CANDIDATES)]}
        version = connection.request_json(build_request("POST", "/rank", body))["model_version"]
        if not version.startswith("bench+"):
            raise RuntimeError(f"{version} ranked, not the set of weights with the sequence model's score")
        if user % 50 == 0:
            connection.request_json(build_request("GET", f"/user/user-{user}/recommendations?top_k=100"))


def _store(data: Path, conditions: Conditions) -> None:
    """Content and a history, written by the store itself: embedding so many texts would take minutes."""
    import numpy as np

    from bench.blocking_store import BlockingStore
    from runtime.models.bundle import Bundle
    from runtime.store import ContentItem, Interaction
    from runtime.store.sqlite.store import SqliteStore

    bundle = Bundle.load(conditions.models / "minilm", kind="text-encoder")
    draw = np.random.default_rng(conditions.seed)
    items = conditions.rounds(full=ITEMS, quick=1_000)
    store = BlockingStore(SqliteStore(data))
    ids = [TRAINED_ITEM["id"], *(f"item-{n}" for n in range(items - 1))]  # the model knows the first
    for start in range(0, items, ITEMS_A_WRITE):
        vectors = draw.normal(size=(ITEMS_A_WRITE, bundle.manifest.dimensions)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.put_content(
            [
                ContentItem(
                    id=ids[start + n], fields=b'{"type":"content","text":"made up"}', embedding=vector,
                    model_version=bundle.manifest.model_version, bundle_digest=bundle.digest, tokens=4, truncated=False,
                )
                for n, vector in enumerate(vectors)
            ]
        )  # fmt: skip
    now_us = time.time_ns() // 1_000
    store.add_interactions(
        [
            Interaction(
                event_id=f"e-{n}", user_id="ana", content_id=f"item-{n % (items - 1)}", type=_KINDS[n % 4],
                time_us=now_us - (2 * EVENTS - n) * 3_600_000_000, duration_ms=1_000, device="phone",
            )
            for n in range(2 * EVENTS)
        ]
    )  # fmt: skip
    store.close()


def _until_complete(connection: Connection) -> None:
    """Wait until every item has its vector. Raises RuntimeError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        info = connection.request_json(build_request("GET", "/info"))
        if info["sequence"]["item_vectors"] == info["stored"]["content"]:
            return
        time.sleep(0.1)
    raise RuntimeError("the item vectors were not complete after a minute")


_MODEL, _DEEP, _CHANGE, _BOTH, _TEXT = "model", "deep model", "event to ranking", "both models", "text encoder alone"


SUITE = Suite(
    name="sequence",
    purpose="the sequence model: encoding, from an event to a changed ranking, and memory beside the text encoder",
    reading=f"`encode_ms.N`: features and graph of N events, in process. `12_layers`: {DEEP['layers']} layers of "
    f"{DEEP['width']} with random weights over {DEEP_EVENTS} events. `event_to_ranking`: over HTTP, an event stored "
    f"(synced) and then {CANDIDATES} candidates ranked, of a user with {EVENTS} events and more. Memory with "
    f"{ITEMS:,} items (held as int8) after rankings by every model, the hybrid ranker with the sequence model's score "
    f"for {OTHER_USERS:,} users among them, action probabilities and a long text; the second case is the same server "
    "without the sequence model.",
    cases=(
        Case(_MODEL, measure_model),
        Case(_DEEP, measure_deep),
        Case(_CHANGE, measure_change),
        Case(_BOTH, partial(measure_memory, True)),
        Case(_TEXT, partial(measure_memory, False)),
    ),
    metrics=(
        *(
            Metric(f"sequence.encode_{statistic}_ms.{length}", _MODEL, "ms", "higher", raw(f"encode_ms.{length}"),
                   "median" if statistic == "p50" else "p95")
            for length in LENGTHS for statistic in ("p50", "p95")
        ),
        *(
            Metric(f"sequence.actions_p95_ms.{length}", _MODEL, "ms", "higher", raw(f"actions_ms.{length}"), "p95")
            for length in LENGTHS
        ),
        Metric("sequence.encode_p95_ms.12_layers", _DEEP, "ms", "higher", raw("encode_ms.12_layers"), "p95"),
        *(
            Metric(f"sequence.{series}_{statistic}_ms", _CHANGE, "ms", "higher", raw(f"{series}_ms"),
                   "median" if statistic == "p50" else "p95")
            for series in ("stored", "ranked", "event_to_ranking") for statistic in ("p50", "p95")
        ),
        Metric("sequence.changed_ranking_share", _CHANGE, "share", "lower", share("changed", "requests")),
        *(
            Metric(f"sequence.{reading}.{name}", case, "MiB", "higher", raw(reading))
            for case, name in ((_BOTH, "both"), (_TEXT, "text_only")) for reading in READINGS
        ),
    ),
)  # fmt: skip
