"""The history of runs: one JSON object a line, raw samples included. Tables and charts only read it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.case_result import CaseResult

HISTORY_FILE = Path(__file__).with_name("history.jsonl")


@dataclass(frozen=True)
class Run:
    """One invocation: where, of what, in which order, and every suite's cases.

    load_average: of the machine over the minute before the first case; above its cores, others had work too.
    """

    at: str
    revision: str
    modified: bool
    machine: dict[str, Any]
    versions: dict[str, str]
    seed: int
    quick: bool
    order: list[str]
    suites: dict[str, dict[str, CaseResult]]
    load_average: float = 0.0

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))


def from_json(line: str) -> Run:
    """A run as it was written by `Run.to_json`. Raises ValueError when a field is missing or unknown."""
    try:
        fields: dict[str, Any] = json.loads(line)
        suites: Mapping[str, Mapping[str, dict[str, Any]]] = fields.pop("suites")
        cases = {name: {case: CaseResult(**body) for case, body in suite.items()} for name, suite in suites.items()}
        return Run(**fields, suites=cases)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a benchmark run: {error}") from error


def append(run: Run, path: Path = HISTORY_FILE) -> None:
    """Add a run at the end of the file, which is made if it is not there."""
    with path.open("a", encoding="utf-8") as file:
        file.write(run.to_json() + "\n")


def read(path: Path = HISTORY_FILE) -> list[Run]:
    """All runs, oldest first; [] when there is no file. Raises ValueError naming the line that cannot be read."""
    if not path.exists():
        return []
    runs: list[Run] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            runs.append(from_json(line))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    return runs
