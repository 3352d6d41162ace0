"""Tables of measured figures in the README and the documentation, each from the last run of its suite."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench.history import Run
from bench.machine import ROOT
from bench.suite import Suite
from bench.table import Row, figure, rows_of
from bench.targets import Target

README = ROOT / "README.md"
DEPLOYMENT = ROOT / "docs" / "deployment.md"
TABLES = ("sizing", "capacity")  # in it
KEY_FIGURES = (
    ("embed.http_p50_ms.32", "Embed a text of 32 tokens over HTTP, p50"),
    ("start.first_answer_s", "Process start to first embedding"),
    ("memory.peak_rss_mib.load", "Peak memory under mixed load, text encoder only"),
    ("sequence.peak_rss_mib.both", "Peak memory, text encoder and sequence model, 20,000 items"),
    ("quality.cosine_mean", "Mean cosine of int8 to float32 vectors"),
)


def figures(
    measured: Sequence[tuple[Suite, Run]],
    targets: Sequence[Target],
    key_figures: Sequence[tuple[str, str]] = KEY_FIGURES,
) -> str:
    """Markdown: the machine, a row for each key figure that was measured, and how many targets were reached."""
    machines: list[str] = []
    rows: list[Row] = []
    key_names = [name for name, _ in key_figures]
    for suite, run in measured:
        found = rows_of(suite, run.suites[suite.name], targets)
        rows += [row for row in found if row.measured is not None]
        if any(row.metric.name in key_names for row in found):
            machines.append(f"{run.machine['cpu']}, {_cores(run)}")
    table = ["| figure | measured | target |", "|---|---|---|"]
    for name, label in key_figures:
        row = next((row for row in rows if row.metric.name == name), None)  # the tightest target comes first
        if row is not None:
            table.append(f"| {label} | {figure(row.measured)}{_unit(row)} | {_target(row)} |")
    against = [row for row in rows if row.target is not None]
    reached = sum(not row.missed for row in against)
    return "\n".join(
        [*table, "", f"On {'; '.join(sorted(set(machines)))}. {reached} of {len(against)} targets are reached."]
    )


def _cores(run: Run) -> str:
    count = run.machine["cores"]
    return f"{count} core" if count == 1 else f"{count} cores"


def _unit(row: Row) -> str:
    return "" if row.metric.unit == "cosine" else f" {row.metric.unit}"


def _target(row: Row) -> str:
    if row.target is None:
        return "–"
    return f"{row.metric.limited_to} {row.target.limit:g}" + (", **missed**" if row.missed else "")


def table_of(name: str, measured: Sequence[tuple[Suite, Run]]) -> str:
    """Markdown: the table of a suite, how it was made, and the machine; what to run where nothing was measured."""
    for suite, run in measured:
        if suite.name == name and suite.table is not None:
            machine = f"{run.machine['cpu']}, {_cores(run)}, load average {run.load_average:g}"
            return f"{suite.table(run.suites[name])}\n\n{suite.reading} On {machine}."
    return f"Not measured yet: `python -m bench {name}`."


def write_figures(text: str, page: Path = README, name: str = "figures") -> None:
    """Put them between the page's marks of that name."""
    content = page.read_text(encoding="utf-8")
    page.write_text(block(name).sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", content), encoding="utf-8")


def block(name: str) -> re.Pattern[str]:
    """What is between a page's marks of that name, with the marks."""
    return re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
