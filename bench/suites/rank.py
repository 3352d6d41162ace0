"""Latency of a ranking by the number of candidates, given by id."""

from __future__ import annotations

import os
import random
import tempfile
import time

from bench.closed_loop import closed_loop
from bench.http_client import Connection, build_request
from bench.server import serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, percentile_difference, raw
from bench.texts import TextSource, load_tokenizer

CANDIDATES = (10, 100, 1_000)
EXPERIMENT_CANDIDATES = 100
SHARED_CLIENTS, SHARED_RANKS = 8, 10
SYNCED_BYTES = 12_288  # the pages that an exposure changes
HYBRID_EVENTS = (5, 256)  # of the user who is ranked for
ITEMS_A_REQUEST = 250
TEXT_TOKENS = 12
RANKS_A_ROUND = 3


def measure(conditions: Conditions, samples: Samples) -> None:
    """Load a catalogue, give one user a few interactions, then rank candidates of it in interleaved rounds."""
    draw = random.Random(conditions.seed)
    ids = [f"item-{n}" for n in range(max(CANDIDATES))]
    source = TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed)
    with serving(conditions) as server, server.connect() as connection:
        load_catalogue(connection, ids, source)
        events = [{"user_id": "ana", "content_id": content, "type": "save"} for content in ids[:5]]
        connection.request_json(build_request("POST", "/interactions", events))
        for _ in range(conditions.rounds(full=60, quick=3)):
            for size in draw.sample(CANDIDATES, len(CANDIDATES)):
                body = {"user_id": "ana", "candidates": draw.sample(ids, size)}
                request = build_request("POST", "/rank", body)
                for _ in range(RANKS_A_ROUND):
                    elapsed_ms, status = connection.timed(request)
                    if status != 200:
                        raise RuntimeError(f"/rank answered {status}")
                    samples.add(f"rank_ms.{size}", elapsed_ms)


def measure_experiment(conditions: Conditions, samples: Samples) -> None:
    """The same ranking by a model that is named, and as an arm of a running experiment, in turns on one server."""
    ids = [f"item-{n}" for n in range(EXPERIMENT_CANDIDATES)]
    source = TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed)
    arms = [{"name": name, "model": "hybrid"} for name in ("control", "treatment")]
    with serving(conditions) as server, server.connect() as connection:
        load_catalogue(connection, ids, source)
        events = [{"user_id": "ana", "content_id": content, "type": "save"} for content in ids[:5]]
        connection.request_json(build_request("POST", "/interactions", events))
        body = {"user_id": "ana", "candidates": ids}
        named = build_request("POST", "/rank", {**body, "model": "hybrid"})
        auto = build_request("POST", "/rank", body)
        before_mib = server.memory().anonymous_mib
        for running in (False, True):
            if running:
                connection.request_json(build_request("PUT", "/experiments/bench", {"arms": arms}))
            for _ in range(conditions.rounds(full=300, quick=3)):
                for name, request in (("named", named), ("auto", auto)):
                    elapsed_ms, status = connection.timed(request)
                    if status != 200:
                        raise RuntimeError(f"/rank answered {status}")
                    samples.add(f"{name}_ms.{'running' if running else 'none'}", elapsed_ms)
                if running:
                    samples.add("sync_ms", _sync_ms())
        samples.add("experiment_mib", server.memory().anonymous_mib - before_mib)
        for _ in range(conditions.rounds(full=20, quick=1)):
            for name, request in (("named", named), ("auto", auto)):
                clients = [iter([request] * SHARED_RANKS) for _ in range(SHARED_CLIENTS)]
                seconds, answers = closed_loop(server.port, clients, limit_s=30)
                if {answer.status for answer in answers} != {200}:
                    raise RuntimeError("/rank did not answer all of several clients")
                samples.add(f"{name}_shared_ms", seconds / len(answers) * 1e3)


def _sync_ms() -> float:
    """What the disk takes to sync as much as a ranking's exposure: the least that its durability costs."""
    with tempfile.NamedTemporaryFile() as file:
        os.pwrite(file.fileno(), bytes(SYNCED_BYTES), 0)
        os.fsync(file.fileno())
        os.pwrite(file.fileno(), bytes(SYNCED_BYTES), 0)
        started = time.perf_counter()
        os.fdatasync(file.fileno())
        return (time.perf_counter() - started) * 1e3


def measure_hybrid(conditions: Conditions, samples: Samples) -> None:
    """The hybrid model and the simple one in turns on one server, for a user of few events and one of many."""
    draw = random.Random(conditions.seed)
    ids = [f"item-{n}" for n in range(max(CANDIDATES))]
    with serving(conditions) as server, server.connect() as connection:
        load_catalogue(connection, ids, TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed))
        for user_events in HYBRID_EVENTS:
            user = f"user-of-{user_events}"
            events = [
                {"user_id": user, "content_id": draw.choice(ids), "type": draw.choice(("view", "save", "skip"))}
                for _ in range(user_events)
            ]
            connection.request_json(build_request("POST", "/interactions", events))
            for _ in range(conditions.rounds(full=500, quick=3)):
                body = {"user_id": user, "candidates": draw.sample(ids, EXPERIMENT_CANDIDATES)}
                for model in ("simple", "hybrid"):
                    elapsed_ms, status = connection.timed(build_request("POST", "/rank", {**body, "model": model}))
                    if status != 200:
                        raise RuntimeError(f"/rank answered {status}")
                    samples.add(f"{model}_ms.{user_events}", elapsed_ms)


def load_catalogue(connection: Connection, ids: list[str], source: TextSource) -> None:
    """Store an item of `TEXT_TOKENS` tokens under each id. Raises RuntimeError when one is rejected."""
    for start in range(0, len(ids), ITEMS_A_REQUEST):
        items = [
            {"id": content, "type": "content", "text": source.text(TEXT_TOKENS)}
            for content in ids[start : start + ITEMS_A_REQUEST]
        ]
        rejected = connection.request_json(build_request("POST", "/content/batch", items))["rejected"]
        if rejected:
            raise RuntimeError(f"{rejected} of {len(items)} items were rejected")


SUITE = Suite(
    name="rank",
    purpose="POST /rank with 10, 100 and 1,000 candidates given by id",
    reading="Candidates given by id, the user by id. `experiment`: medians of 100 candidates by the hybrid model, with "
    "model=auto minus with the model named; `auto_added_ms` while no experiment runs, `experiment_added_ms` within "
    "one, where the exposure is synced before the answer; MiB of anonymous memory after 300 rankings within it. "
    "`sync_ms`: what the disk takes to sync as many bytes, in turns; `experiment_shared_added_ms`: more time a ranking "
    f"where {SHARED_CLIENTS} clients rank at once and share syncs. "
    "`hybrid`: median of 100 candidates by the hybrid model minus that by the simple one, in turns, for a user of 5 "
    "and of 256 events.",
    cases=(Case("one client", measure), Case("experiment", measure_experiment), Case("hybrid", measure_hybrid)),
    metrics=(
        *(
            Metric(f"rank.{statistic}_ms.{size}", "one client", "ms", "higher", raw(f"rank_ms.{size}"),
                   "median" if statistic == "p50" else "p95")
            for size in CANDIDATES
            for statistic in ("p50", "p95")
        ),
        *(
            Metric(f"rank.hybrid_added_ms.{events}", "hybrid", "ms", "higher",
                   percentile_difference(f"hybrid_ms.{events}", f"simple_ms.{events}", 50))
            for events in HYBRID_EVENTS
        ),
        Metric("rank.auto_added_ms", "experiment", "ms", "higher",
               percentile_difference("auto_ms.none", "named_ms.none", 50)),
        Metric("rank.experiment_added_ms", "experiment", "ms", "higher",
               percentile_difference("auto_ms.running", "named_ms.running", 50)),
        Metric("rank.experiment_shared_added_ms", "experiment", "ms", "higher",
               percentile_difference("auto_shared_ms", "named_shared_ms", 50)),
        Metric("rank.sync_ms", "experiment", "ms", "higher", raw("sync_ms")),
        Metric("rank.experiment_added_mib", "experiment", "MiB", "higher", raw("experiment_mib")),
    ),
)  # fmt: skip
