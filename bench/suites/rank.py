"""Latency of a ranking by the number of candidates, given by id."""

import json
import os
import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.closed_loop import closed_loop
from bench.http_client import Connection, build_request
from bench.ranker_bundle import models_with_ranker
from bench.server import Server, serving
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite, percentile_difference, raw
from bench.texts import TextSource, load_tokenizer, text_source

CANDIDATES = (10, 100, 1_000)
EXPERIMENT_CANDIDATES = 100
SHARED_CLIENTS, SHARED_RANKS = 8, 10
SYNCED_BYTES = 12_288  # the pages that an exposure changes
HYBRID_EVENTS = (5, 256)  # of the user who is ranked for
SEQUENCE_EVENTS = (5, 50, 200)
TRAINED_ITEMS = Path("checkpoints/reference/items.json")
ITEMS_A_REQUEST = 250
TEXT_TOKENS = 12
RANKS_A_ROUND = 3


def measure(conditions: Conditions, samples: Samples) -> None:
    """Load a catalogue, give one user a few interactions, then rank candidates of it in interleaved rounds."""
    draw = random.Random(conditions.seed)
    ids = [f"item-{n}" for n in range(max(CANDIDATES))]
    source = text_source(conditions)
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
    source = text_source(conditions)
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
        load_catalogue(connection, ids, text_source(conditions))
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


def measure_with_sequence(conditions: Conditions, samples: Samples) -> None:
    """The hybrid model with the score of the sequence model and without it in turns, on two servers with one core, for
    users of few and of many events."""
    if not (conditions.models / "sequence" / "manifest.json").exists():
        raise NotMeasured(f"no sequence bundle in {conditions.models}: make one with `vows-edge export sequence`")
    draw = random.Random(conditions.seed)
    known = json.loads(TRAINED_ITEMS.read_text(encoding="utf-8"))["ids"][0]  # for which the model takes the catalogue
    ids = [f"item-{n}" for n in range(max(CANDIDATES))]
    tokenizer = load_tokenizer(conditions.models / "minilm")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        models = replace(conditions, models=models_with_ranker(conditions.models, Path(folder)))
        both: dict[str, tuple[Server, Connection]] = {}
        for name, setting in (("without", "0"), ("with", "1")):
            server = servers.enter_context(serving(models, settings={"VOWS_HYBRID_SEQUENCE": setting}))
            both[name] = server, servers.enter_context(server.connect())
            load_catalogue(both[name][1], [*ids, known], TextSource(tokenizer, conditions.seed))
        for user_events in SEQUENCE_EVENTS:
            user = f"user-of-{user_events}"
            events = [
                {"user_id": user, "content_id": draw.choice(ids), "type": draw.choice(("view", "save", "skip"))}
                for _ in range(user_events)
            ]
            for _, connection in both.values():
                connection.request_json(build_request("POST", "/interactions", events))
            rounds = conditions.rounds(full=300, quick=3)
            bodies = [{"user_id": user, "candidates": draw.sample(ids, EXPERIMENT_CANDIDATES)} for _ in range(rounds)]
            recommend = build_request("GET", f"/user/{user}/recommendations?exclude=")
            for body in bodies:
                _in_turns(both, build_request("POST", "/rank", body), f"rank_{{}}.{user_events}", samples)
            for _ in range(rounds):
                _in_turns(both, recommend, f"recommend_{{}}.{user_events}", samples)
            for body in bodies:
                by_sequence = build_request("POST", "/rank", {**body, "model": "sequence"})
                _in_turns(both, by_sequence, f"rank_by_sequence_{{}}.{user_events}", samples)
            for number, body in enumerate(bodies):
                event_id = f"{user}-{number}"
                event = {"event_id": event_id, "user_id": user, "content_id": draw.choice(ids), "type": "view"}
                for _, connection in both.values():
                    connection.request_json(build_request("POST", "/interactions", event))
                _in_turns(both, build_request("POST", "/rank", body), f"rank_after_event_{{}}.{user_events}", samples)
                for _, connection in both.values():
                    connection.request_json(build_request("DELETE", f"/interactions/{event_id}"))
        _expect_both_sets([connection for _, connection in both.values()], user)


def _in_turns(both: dict[str, tuple[Server, Connection]], request: bytes, series: str, samples: Samples) -> None:
    """What it took, and what the server's threads ran; each server is the first every other time."""
    turns = list(both.items())
    if len(samples.series.get(series.format("with_ms"), ())) % 2:
        turns.reverse()
    for name, (server, connection) in turns:
        ran_ms = server.cpu_ms()
        elapsed_ms, status = connection.timed(request)
        if status != 200:
            raise RuntimeError(f"a ranking answered {status}")
        samples.add(series.format(f"{name}_cpu_ms"), server.cpu_ms() - ran_ms)
        samples.add(series.format(f"{name}_ms"), elapsed_ms)


def _expect_both_sets(connections: list[Connection], user: str) -> None:
    body = {"user_id": user, "candidates": ["item-1"]}
    versions = [
        connection.request_json(build_request("POST", "/rank", body))["model_version"] for connection in connections
    ]
    if versions[0] != "bench" or not versions[1].startswith("bench+"):
        raise RuntimeError(f"expected a ranking without the sequence model and one with it, found {versions}")


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
    "and of 256 events. `with_sequence`: by the hybrid model with the score of the sequence model minus without, on "
    "two servers in turns, for users of 5, 50 and 200 events: of 100 candidates, right after an event of the user, "
    "whose history is then read again, and without one; and of a catalogue of 1,001 items; `cpu` is what the server's "
    "threads ran. `by_sequence`: 100 candidates by the sequence model alone, of a history that was read before.",
    cases=(
        Case("one client", measure),
        Case("experiment", measure_experiment),
        Case("hybrid", measure_hybrid),
        Case("with the sequence model", measure_with_sequence),
    ),
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
        *(
            Metric(f"rank.{what}_with_sequence_added{cpu}_ms.{events}", "with the sequence model", "ms", "higher",
                   percentile_difference(f"{what}_with{cpu}_ms.{events}", f"{what}_without{cpu}_ms.{events}", 50))
            for cpu in ("", "_cpu")
            for what in ("rank", "rank_after_event", "recommend")
            for events in SEQUENCE_EVENTS
        ),
        *(
            Metric(f"rank.by_sequence_p50_ms.{events}", "with the sequence model", "ms", "higher",
                   raw(f"rank_by_sequence_with_ms.{events}"))
            for events in SEQUENCE_EVENTS
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
