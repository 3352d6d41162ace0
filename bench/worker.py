"""The process of its own in which one case runs: `python -m bench.worker MODULE CASE CONDITIONS OUT`."""

import json
import os
import signal
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from bench.case_result import CaseResult
from bench.suite import Conditions, NotMeasured, Samples
from bench.suites import load_suite


def conditions_to_json(conditions: Conditions) -> str:
    """The conditions as one command-line argument."""
    return json.dumps({**asdict(conditions), "models": str(conditions.models)})


def conditions_from_json(text: str) -> Conditions:
    """The inverse of `conditions_to_json`."""
    fields = json.loads(text)
    return Conditions(**{**fields, "models": Path(fields["models"])})


def run_case(module: str, case_name: str, conditions: Conditions) -> CaseResult:
    """Measure one case in this process, pinned to the client's core; what breaks becomes part of the result."""
    os.sched_setaffinity(0, {conditions.client_core})
    samples = Samples()
    failed: str | None = None
    not_measured: str | None = None
    start = time.monotonic()
    try:
        load_suite(module).case(case_name).measure(conditions, samples)
    except NotMeasured as reason:
        not_measured = str(reason)
    except Exception as error:  # an engine that fails is a row that says so
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"[:500]
    seconds = round(time.monotonic() - start, 2)
    return CaseResult(samples.series, samples.notes, seconds, failed, not_measured)


def main(arguments: list[str]) -> None:
    """Run the case that the arguments name and write its result as JSON."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers end with this process
    module, case_name, conditions, out = arguments
    result = run_case(module, case_name, conditions_from_json(conditions))
    Path(out).write_text(json.dumps(asdict(result)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
