"""Behaviour under failure: SIGKILL, storage and model faults call by call, overload in little memory, a long load."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.case_result import Series
from bench.cgroup import forget_cached, memory_limit
from bench.closed_loop import closed_loop
from bench.faults import KILLS, damage_cases, hostile_cases, shim
from bench.faults.hostile_cases import CATALOGUE, load_catalogue
from bench.faults.kills import kill_repeatedly
from bench.faults.model_runs import fail_each_run
from bench.faults.power_cuts import cut_power
from bench.http_client import build_request
from bench.machine import ROOT
from bench.server import Server, serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, growth, raw, share
from bench.suites.load import VALID_STATUSES
from bench.texts import TextSource, text_source
from bench.threads import in_threads
from bench.traffic import EXPECTED_STATUS_SHARE, MixedTraffic, send_checked

PROGRAMS = ("fail_each_call_of_writes", "fail_each_call_of_copies")
OVERLOAD_CLIENTS, OVERLOAD_S, OVERLOAD_MIB, OVERLOAD_DEADLINE_S = 64, 60.0, 180, 10.0
READ_EVERY_S = 5.0
STOPS = 10
POWER_CUTS = 1_000


def measure_kills(conditions: Conditions, samples: Samples) -> None:
    """SIGKILL under write load; a lost or duplicated event fails the case."""
    kills = conditions.rounds(full=KILLS, quick=6)
    ledger, found = kill_repeatedly(conditions, kills, lambda number, now: None)
    samples.add("kills", kills)
    samples.add("acknowledged", len(ledger.acknowledged))
    samples.add("stored", found.stored)
    samples.add("lost", found.lost)
    samples.add("duplicated", found.duplicated + found.unsent)
    samples.add("undeleted_users", found.undeleted)
    samples.note("deleted_users", len(ledger.deleted))


def measure_calls(conditions: Conditions, samples: Samples) -> None:
    """The N-th write, sync, truncation or rename of the store fails, N = 1, 2, …; then the N-th run of the model."""
    with tempfile.TemporaryDirectory(prefix="vows-calls-") as name:
        folder = Path(name)
        environment = {**os.environ, "LD_PRELOAD": str(shim.build(folder)), "PYTHONPATH": str(ROOT)}
        for program in PROGRAMS[conditions.rounds(full=0, quick=1) :]:
            command = [sys.executable, "-m", "bench.faults.store_programs", program, str(folder / program)]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{program}: {done.stderr[-400:]}")
            samples.add("storage_faults", int(done.stdout))
            samples.note(program, int(done.stdout))
    samples.add("model_faults", fail_each_run(conditions))


def measure_power_cuts(conditions: Conditions, samples: Samples) -> None:
    """Power cuts of a store by playing back what it wrote: unsynced writes are dropped, torn and reordered."""
    cuts = conditions.rounds(full=POWER_CUTS, quick=20)
    with tempfile.TemporaryDirectory(prefix="vows-cuts-") as name:
        found = cut_power(Path(name), cuts, conditions.seed)
        mutant = cut_power(Path(name), cuts, conditions.seed, "note_acknowledgements_without_syncs")
    samples.add("power_cuts", found.cuts)
    samples.add("power_cuts_lost", found.lost + found.broken)
    samples.add("lost_without_sync", mutant.lost)
    samples.note("first_lost", found.first)


def measure_stops(conditions: Conditions, samples: Samples) -> None:
    """SIGTERM while clients write and long batches wait; seconds until the process has ended, and its status."""
    source = text_source(conditions)
    items = [{"text": text} for text in source.texts(256, 100)]
    batch = build_request("POST", "/embed/batch", {"items": items})
    event = build_request("POST", "/interactions", {"user_id": "ada", "content_id": "item-0", "type": "view"})
    for _ in range(conditions.rounds(full=STOPS, quick=1)):
        with serving(conditions, settings={"VOWS_SHUTDOWN_S": "1"} if conditions.quick else {}) as server:
            load_catalogue(server)
            with in_threads(partial(_send_until_disconnected, server, one) for one in [batch] * 2 + [event] * 4):
                time.sleep(1)
                terminated = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                samples.add("exit_status", server.process.wait(timeout=60))
                samples.add("stop_s", time.monotonic() - terminated)


def measure_overload(conditions: Conditions, samples: Samples) -> None:
    """64 clients on one core, in a memory cgroup: every response is 200, or 429 or 503 with Retry-After."""
    seconds = conditions.rounds(full=int(OVERLOAD_S), quick=3)
    with memory_limit(OVERLOAD_MIB) as group:
        forget_cached([conditions.models])
        deadline = str(OVERLOAD_DEADLINE_S)
        settings = {"VOWS_REQUEST_TIMEOUT_S": deadline, "VOWS_BATCH_TIMEOUT_S": deadline}
        with serving(conditions, group, settings) as server:
            load_catalogue(server)
            source = text_source(conditions)
            clients = [_overload_requests(source, conditions.seed, n) for n in range(OVERLOAD_CLIENTS)]
            _, answers = closed_loop(server.port, clients, seconds)
            samples.add("peak_rss_mib", server.memory().peak_rss_mib)
            samples.add("anonymous_mib", group.anonymous_mib())
            server.first_answer(build_request("GET", "/readyz"), limit_s=120)
        samples.add("oom_kills", group.oom_kills())
    for answer in answers:
        samples.count("answers")
        samples.count(f"answers.{answer.status}")
        refused = answer.status in VALID_STATUSES and answer.status != 200
        samples.count("valid_status", int(answer.status == 200 or (refused and answer.retry_after)))
        if answer.status == 200:
            samples.add("accepted_ms", answer.elapsed_ms)


def measure_soak(conditions: Conditions, samples: Samples) -> None:
    """Mixed traffic for `soak_s`, every answer checked, anonymous memory read every five seconds."""
    every = 0.2 if conditions.quick else READ_EVERY_S
    source = text_source(conditions)
    with serving(conditions) as server, server.connect() as connection:
        next_reading = time.monotonic()
        end = next_reading + (4.0 if conditions.quick else conditions.soak_s)
        for checked in MixedTraffic(source, conditions.seed):
            now = time.monotonic()
            if now >= next_reading:
                samples.add("soak_anonymous_mib", server.memory().anonymous_mib)
                next_reading += every
            if now >= end:
                break
            send_checked(connection, checked, samples)
        samples.add("soak_peak_rss_mib", server.memory().peak_rss_mib)
    samples.note("soak_s", conditions.soak_s)


def p95_to_deadline(series: Series) -> Sequence[float]:
    """p95 of the accepted requests as a share of the deadline."""
    accepted = series.get("accepted_ms", ())
    return [float(np.percentile(np.asarray(accepted), 95)) / (OVERLOAD_DEADLINE_S * 1e3)] if accepted else []


def _overload_requests(source: TextSource, seed: int, client: int) -> Iterator[bytes]:
    """Endless requests of one client, all of which deserve a 200: texts of every length, batches, events, rankings."""
    draw = random.Random(seed * 1000 + client)
    for n in itertools.count():
        match draw.choices(("text", "batch", "event", "rank", "user"), (50, 5, 25, 10, 10))[0]:
            case "text":
                yield build_request("POST", "/embed", {"text": source.text(draw.choice((8, 16, 32, 64, 256)))})
            case "batch":
                yield build_request("POST", "/embed/batch", {"items": [{"text": t} for t in source.texts(64, 8)]})
            case "event":
                event = {"user_id": f"user-{client}", "content_id": f"item-{draw.randrange(CATALOGUE)}"}
                yield build_request("POST", "/interactions", {**event, "type": "save", "event_id": f"{client}-{n}"})
            case "rank":
                ids = [f"item-{i}" for i in range(CATALOGUE)]
                yield build_request("POST", "/rank", {"user_id": f"user-{client}", "candidates": ids})
            case "user":
                yield build_request("GET", f"/user/user-{client}/embedding")


def _send_until_disconnected(server: Server, request: bytes) -> None:
    try:
        with server.connect() as connection:
            while True:
                status, body = connection.send(request)
                if status != 200 and json.loads(body)["error"]["code"] not in ("shutting_down", "overloaded"):
                    return
    except OSError:
        return


SUITE = Suite(
    name="faults",
    purpose="SIGKILL, storage and model faults, overload in 180 MiB, a long load",
    reading="`kills`: SIGKILL at random moments while eight clients write, also while starting and stopping; `lost` "
    "are events that were acknowledged and not stored, `duplicated` events stored or counted twice. `calls`: the N-th "
    "write, sync, truncation or rename of the store, and the N-th run of the model, fails once and for good, until a "
    "run meets no fault; each must return the right result or the named error, and keep everything acknowledged. "
    f"`overload`: {OVERLOAD_CLIENTS} clients, one core, a hard limit of {OVERLOAD_MIB} MiB; p95 is relative "
    f"to the deadline of {OVERLOAD_DEADLINE_S:g} s. "
    + hostile_cases.READING
    + damage_cases.READING
    + "`soak`: mixed traffic; growth is the last quarter's median of "
    "anonymous memory minus the second quarter's. `stop`: SIGTERM under load. `power_cuts`: what a store wrote is "
    "played back up to a moment, unsynced writes dropped, torn and reordered; `lost` had less than was acknowledged "
    "or were damaged, and with synchronous=NORMAL some have to.",
    cases=(
        Case("kills", measure_kills, limit_s=3600),
        Case("calls", measure_calls, limit_s=900),
        Case("power_cuts", measure_power_cuts, limit_s=1800),
        Case("stop", measure_stops),
        Case("overload", measure_overload),
        Case("soak", measure_soak, limit_s=7200),
        *hostile_cases.CASES,
        *damage_cases.CASES,
    ),
    metrics=(
        Metric("faults.kills", "kills", "kills", "lower", raw("kills")),
        Metric("faults.acknowledged_events", "kills", "events", "lower", raw("acknowledged")),
        Metric("faults.lost_events", "kills", "events", "higher", raw("lost")),
        Metric("faults.duplicated_events", "kills", "events", "higher", raw("duplicated")),
        Metric("faults.undeleted_users", "kills", "users", "higher", raw("undeleted_users")),
        Metric("faults.storage_faults", "calls", "faults", "lower", lambda s: [sum(s.get("storage_faults", ()))]),
        Metric("faults.model_faults", "calls", "faults", "lower", raw("model_faults")),
        Metric("faults.power_cuts", "power_cuts", "cuts", "lower", raw("power_cuts")),
        Metric("faults.power_cuts_lost", "power_cuts", "cuts", "higher", raw("power_cuts_lost")),
        Metric("faults.power_cuts_lost_without_sync", "power_cuts", "cuts", "lower", raw("lost_without_sync")),
        Metric("faults.stop_s", "stop", "s", "higher", raw("stop_s"), "max"),
        Metric("faults.stop_status", "stop", "status", "higher", raw("exit_status"), "max"),
        Metric("faults.overload_valid_status_share", "overload", "share", "lower", share("valid_status", "answers")),
        Metric("faults.overload_accepted_share", "overload", "share", "lower", share("answers.200", "answers")),
        Metric("faults.overload_p95_to_deadline", "overload", "of deadline", "higher", p95_to_deadline),
        Metric("faults.overload_oom_kills", "overload", "processes", "higher", raw("oom_kills")),
        Metric("faults.overload_anonymous_mib", "overload", "MiB", "higher", raw("anonymous_mib")),
        Metric("faults.soak_growth_mib", "soak", "MiB", "higher", growth("soak_anonymous_mib")),
        Metric("faults.soak_requests", "soak", "requests", "lower", raw("requests")),
        Metric("faults.soak_expected_status_share", "soak", "share", "lower", EXPECTED_STATUS_SHARE),
        Metric("faults.soak_peak_rss_mib", "soak", "MiB", "higher", raw("soak_peak_rss_mib")),
        *hostile_cases.METRICS,
        *damage_cases.METRICS,
    ),
)
