"""The one runner: every case in a fresh process, in a seeded order, gathered into one run."""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.case_result import CaseResult
from bench.history import Run
from bench.machine import ROOT, read_machine, read_revision, read_versions
from bench.suite import Case, Conditions
from bench.suites import load_suite
from bench.worker import conditions_to_json

STOP_S = 15.0
BUSY_SHARE = 0.5  # of the cores; more than that is not ours


def default_conditions(models: Path, seed: int = 1, *, quick: bool = False) -> Conditions:
    """Conditions for this machine: server on the last usable core, client on the first (the same if there is one)."""
    cores = sorted(os.sched_getaffinity(0))
    return Conditions(
        seed=seed,
        models=models.resolve(),
        server_core=cores[-1],
        client_core=cores[0],
        quick=quick,
    )


def run_case(module: str, case: Case, conditions: Conditions) -> CaseResult:
    """One case in a process of its own, ended by its id when it outlives its limit."""
    with tempfile.TemporaryDirectory(prefix="vows-bench-") as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "bench.worker", module, case.name, conditions_to_json(conditions), str(out)]
        # One BLAS thread: the roofline is that of one core. It has to be set before numpy is imported.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
        environment.pop("OPENBLAS_CORETYPE", None)  # would slow the roofline down
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=2)
        try:
            code = process.wait(timeout=case.limit_s)
        except subprocess.TimeoutExpired:
            process.terminate()  # the worker's servers end with it
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return CaseResult(seconds=case.limit_s, failed=f"did not end within {case.limit_s:g} s")
        if code != 0 or not out.exists():
            return CaseResult(
                seconds=round(time.monotonic() - start, 2), failed=f"its process ended with status {code}"
            )
        return CaseResult(**json.loads(out.read_text(encoding="utf-8")))


def run_suites(
    modules: Sequence[str],
    conditions: Conditions,
    progress: Callable[[str], None],
    minutes: float | None = None,
    cases: Collection[str] = (),
    keep: Callable[[Run], None] = lambda run: None,
) -> Run:
    """Measure the suites that `modules` declare, one after another; their cases in an order drawn from the seed. With
    `cases`, those of these names alone. `keep` gets each case of an independent suite as a run of its own, as it ends.

    With `minutes`, in the order declared; a case that has not begun by then is not measured, and says so.
    """
    shuffle = random.Random(conditions.seed).sample
    revision, modified = read_revision()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    load_average = round(os.getloadavg()[0], 2)
    if load_average > BUSY_SHARE * len(os.sched_getaffinity(0)):
        progress(f"the machine is busy (load average {load_average}): times will be worse than the server's own")
    begun = time.monotonic()
    order: list[str] = []
    results: dict[str, dict[str, CaseResult]] = {}
    machine, versions = read_machine().as_dict(), read_versions()

    def run_of(order: list[str], results: dict[str, dict[str, CaseResult]], started: str) -> Run:
        return Run(
            at=started,
            revision=revision,
            modified=modified,
            machine=machine,
            versions=versions,
            load_average=load_average,
            seed=conditions.seed,
            quick=conditions.quick,
            order=order,
            suites=results,
        )

    for module in modules:
        suite = load_suite(module)
        results[suite.name] = {}
        for case in shuffle(suite.cases, len(suite.cases)) if minutes is None else suite.cases:
            if cases and case.name not in cases:
                continue
            if minutes is not None and time.monotonic() - begun > minutes * 60:
                late = f"the run had {minutes:g} minutes, and they were over"
                results[suite.name][case.name] = CaseResult(not_measured=late)
                continue
            progress(f"{suite.name}: {case.name} …")
            order.append(f"{suite.name}/{case.name}")
            at = datetime.now(UTC).isoformat(timespec="seconds")
            result = run_case(module, case, conditions)
            results[suite.name][case.name] = result
            if suite.independent:
                keep(run_of(order[-1:], {suite.name: {case.name: result}}, at))
            progress(f"{suite.name}: {case.name} {outcome(result)} after {result.seconds:.1f} s")
    return run_of(order, results, started)


def outcome(result: CaseResult) -> str:
    """How a case ended, in a few words."""
    if result.not_measured is not None:
        return f"not measured: {result.not_measured}"
    return f"failed: {result.failed}" if result.failed is not None else "done"
