"""Fuzzing guided by coverage: `python -m bench.fuzz.coverage TARGET REPORT --runs N --seconds S --seed N`.

Atheris (libFuzzer) changes inputs, keeps those that reach new branches of `runtime`, and changes these further. What is
found wrong is noted, once a place in the code, and the run goes on.
"""

import argparse
import json
import sys
import tempfile
import traceback
from pathlib import Path

LONGEST_INPUT = 4096
_REPORT_EVERY = 1_000
_MOST_FINDINGS = 50


class Findings:
    """What was wrong, by the place that raised it, with the first input; written to a file now and then."""

    def __init__(self, report: Path) -> None:
        self.inputs = 0
        self._report = report
        self._found: dict[str, str] = {}

    def note(self, error: Exception, data: bytes) -> None:
        """Keep an error, unless its place has one already."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno} {type(error).__name__}"
        if place not in self._found and len(self._found) < _MOST_FINDINGS:
            self._found[place] = f"{error!s:.300} from {data!r:.1000}"
            self.write()

    def write(self) -> None:
        """Replace the file."""
        new = self._report.with_suffix(".new")
        new.write_text(json.dumps({"inputs": self.inputs, "found": self._found}), encoding="utf-8")
        new.replace(self._report)


def main() -> None:
    """Run the command line until there were enough inputs or the time is over."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz.coverage", description=__doc__)
    parser.add_argument("target", choices=("parsers", "http"))
    parser.add_argument("report", type=Path)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    import atheris

    with atheris.instrument_imports(include=["runtime"], enable_loader_override=False):
        from bench.fuzz.targets import target

    chosen = target(options.target)
    findings = Findings(options.report)

    def one_input(data: bytes) -> None:
        try:
            chosen.run(data)
        except Exception as error:
            findings.note(error, data)
        findings.inputs += 1
        if findings.inputs % _REPORT_EVERY == 0 or findings.inputs >= options.runs:
            findings.write()

    corpus = tempfile.mkdtemp(prefix="vows-corpus-")
    for number, seed in enumerate(chosen.seeds):
        (Path(corpus) / f"seed-{number}").write_bytes(seed)
    limits = (f"-runs={options.runs}", f"-max_total_time={options.seconds}", f"-max_len={LONGEST_INPUT}")
    atheris.Setup([sys.argv[0], corpus, *limits, f"-seed={options.seed}", "-rss_limit_mb=0", "-verbosity=0"], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
