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
    """Markdown: the machine of each run, a row a target, and the tables that are read side by side."""
    machines = sorted({f"{run.machine['cpu']}, {run.machine['cores']} cores" for _, run in measured})
    lines = [
        f"On {'; '.join(machines)}:",
        "",
        "| metric | unit | target | measured (min-max) | |",
        "|---|---|---|---|---|",
    ]
    for suite, run in measured:
        for row in rows_of(suite, run.suites[suite.name], targets):
            if row.target is not None and row.measured is not None:
                name, unit, target, value, _, verdict = cells(row)
                lines.append(f"| {name} | {unit} | {target} | {value} | {verdict} |")
    for suite, run in measured:
        if suite.table is not None:
            lines += ["", f"{suite.purpose[:1].upper()}{suite.purpose[1:]}:", "", suite.table(run.suites[suite.name])]
    return "\n".join(lines) + "\n"


def write_figures(text: str, readme: Path = README) -> None:
    """Put them between the README's marks."""
    content = readme.read_text(encoding="utf-8")
    readme.write_text(_BLOCK.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", content), encoding="utf-8")
