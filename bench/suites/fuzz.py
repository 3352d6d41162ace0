"""Generated requests: none may cause a 500, a hang or a lost event."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.faults.ledger import Ledger, compare
from bench.fuzz.document import check_document
from bench.machine import ROOT
from bench.server import serving
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite, raw

EXAMPLES = 200
REQUESTS, INPUTS = 100_000, 1_000_000
COVERAGE_S = 3_000  # most for each target


def measure_document(conditions: Conditions, samples: Samples) -> None:
    """schemathesis, every check, from the document alone."""
    with serving(conditions) as server:
        outcome = check_document(server.port, examples=conditions.rounds(full=EXAMPLES, quick=5), seed=conditions.seed)
    samples.add("document_requests", outcome.requests)
    samples.add("document_failures", outcome.failures)
    if outcome.failures:
        samples.note("report", outcome.report)


def measure_mutations(conditions: Conditions, samples: Samples) -> None:
    """Mutated requests through hypothesis, with events between them that have to be there at the end."""
    try:
        from bench.fuzz.bombardment import bombard, prepare
    except ImportError as error:
        raise NotMeasured(f"needs {error.name}: pip install '.[test]'") from error
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="vows-fuzz-") as folder:
        data = Path(folder) / "data"
        with serving(conditions, settings={"VOWS_DATA_DIR": str(data)}) as server:
            prepare(server.port)
            statuses = bombard(
                server.port,
                ledger,
                count=conditions.rounds(full=REQUESTS, quick=500),
                first_seed=conditions.seed,
                progress=lambda sent: samples.add("anonymous_mib", server.memory().anonymous_mib),
            )
            samples.add("peak_rss_mib", server.memory().peak_rss_mib)
        found = compare(data / "vows.db", ledger, thorough=True)
    samples.add("requests", statuses.total())
    samples.add("server_errors", sum(count for status, count in statuses.items() if status >= 500 and status != 503))
    samples.add("acknowledged", len(ledger.acknowledged))
    samples.add("lost", found.lost + found.duplicated + len(found.problems))
    for status, count in sorted(statuses.items()):
        samples.note(f"answers.{status}", count)


def measure_coverage(conditions: Conditions, samples: Samples) -> None:
    """Inputs that atheris makes, guided by the branches that they reach: for the parsers, and for connections."""
    if importlib.util.find_spec("atheris") is None:
        raise NotMeasured("needs atheris, for x86-64 and up to Python 3.13: pip install '.[fuzz]'")
    inputs = conditions.rounds(full=INPUTS, quick=2_000)
    shares = {"parsers": inputs * 7 // 10, "http": inputs * 3 // 10}
    for target, runs in shares.items():
        with tempfile.TemporaryDirectory(prefix="vows-fuzz-") as folder:
            report = Path(folder) / "report.json"
            limits = ["--runs", str(runs), "--seconds", str(COVERAGE_S), "--seed", str(conditions.seed)]
            command = [sys.executable, "-m", "bench.fuzz.coverage", target, str(report), *limits]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=COVERAGE_S + 300)
            if not report.exists():
                raise RuntimeError(f"{target}: {done.stderr[-400:]}")
            found = json.loads(report.read_text(encoding="utf-8"))
        samples.add(f"coverage_inputs.{target}", found["inputs"])
        samples.count("coverage_findings", len(found["found"]))
        for place, what in found["found"].items():
            samples.note(f"{target}: {place}", what)


SUITE = Suite(
    name="fuzz",
    purpose="requests drawn from the OpenAPI document, and requests that work, mutated",
    reading="`document`: schemathesis with every check on; the exceptions are in bench/fuzz/schemathesis.toml, each "
    "with its reason. `mutations`: hypothesis changes requests that work in their JSON, bytes, path, headers and "
    "method; a 500, an error without a code, no answer or a closed connection fails the case with a smallest example, "
    "and events stored in between have to be there at the end, once. `coverage`: atheris keeps the inputs "
    "that reach new branches of the parsers and of the HTTP layer, and changes these further; findings are exceptions "
    "that nothing declares, 500s, answers that do not come, and tokens other than those of the whole text.",
    cases=(
        Case("document", measure_document, limit_s=3600),
        Case("mutations", measure_mutations, limit_s=7200),
        Case("coverage", measure_coverage, limit_s=2 * COVERAGE_S + 700),
    ),
    metrics=(
        Metric("fuzz.document_requests", "document", "requests", "lower", raw("document_requests")),
        Metric("fuzz.document_failures", "document", "failures", "higher", raw("document_failures")),
        Metric("fuzz.mutated_requests", "mutations", "requests", "lower", raw("requests")),
        Metric("fuzz.server_errors", "mutations", "answers", "higher", raw("server_errors")),
        Metric("fuzz.acknowledged_events", "mutations", "events", "lower", raw("acknowledged")),
        Metric("fuzz.lost_events", "mutations", "events", "higher", raw("lost")),
        Metric("fuzz.coverage_parser_inputs", "coverage", "inputs", "lower", raw("coverage_inputs.parsers")),
        Metric("fuzz.coverage_http_inputs", "coverage", "inputs", "lower", raw("coverage_inputs.http")),
        Metric("fuzz.coverage_findings", "coverage", "places", "higher", raw("coverage_findings")),
        Metric("fuzz.peak_rss_mib", "mutations", "MiB", "higher", raw("peak_rss_mib")),
    ),
)
