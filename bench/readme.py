"""The README's table of figures: every metric with a target, from the last run of its suite."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.history import Run
from bench.machine import ROOT
from bench.suite import Suite
from bench.table import cells, rows_of
from bench.targets import Target

README = ROOT / "README.md"
_BLOCK = re.compile(r"(<!-- figures:[^\n]*-->\n).*?(<!-- /figures -->)", re.DOTALL)


def figures(measured: Sequence[tuple[Suite, Run]], targets: Sequence[Target]) -> str:
    """Markdown: the machine of each run, the tables that are read side by side, how many targets were reached, which
    were not, and a row a target to unfold."""
    machines = sorted({f"{run.machine['cpu']}, {run.machine['cores']} cores" for _, run in measured})
    parts = [f"On {'; '.join(machines)}."]
    for suite, run in measured:
        if suite.table is not None:
            parts.append(f"{suite.purpose[:1].upper()}{suite.purpose[1:]}:")
            parts.append(suite.table(run.suites[suite.name]))
    rows = [
        row
        for suite, run in measured
        for row in rows_of(suite, run.suites[suite.name], targets)
        if row.target is not None and row.measured is not None
    ]
    missed = [f"`{row.metric.name}`" for row in rows if row.missed]
    parts.append(f"{len(rows) - len(missed)} of {len(rows)} targets are reached" + (
        f". Missed: {', '.join(missed)}." if missed else "."
    ))  # fmt: skip
    table = ["| metric | unit | target | measured (min-max) | |", "|---|---|---|---|---|"]
    for row in rows:
        name, unit, target, value, _, verdict = cells(row)
        table.append(f"| {name} | {unit} | {target} | {value} | {verdict} |")
    parts.append("<details><summary>All targets</summary>")
    parts += ["\n".join(table), "</details>"]
    return "\n\n".join(parts) + "\n"


def write_figures(text: str, readme: Path = README) -> None:
    """Put them between the README's marks."""
    content = readme.read_text(encoding="utf-8")
    readme.write_text(_BLOCK.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", content), encoding="utf-8")
