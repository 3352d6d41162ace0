"""`bench/REPORT.md` and its charts, drawn from the history alone: nothing is measured or typed here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import charts
from bench.history import CaseResult, Run
from bench.peer_charts import latency_of_peers, memory_of_peers
from bench.peers.compare import SPEED
from bench.suite import Suite
from bench.suites import MODULES, load_suite
from bench.table import Row, cells, rows_of
from bench.targets import Target

REPORT_FILE = Path(__file__).with_name("REPORT.md")
TREND_RUNS = 30

OPENING = """\
# What was measured

Drawn by `python -m bench report` from `bench/history.jsonl`. Do not edit: run the suites, then draw it again.

## What this cannot show

- **The author's bias.** The people who wrote the server chose the texts, the lengths, the load and the targets. Measure
  your own traffic before you rely on a figure.
- **A quiet machine.** The runs were made on shared virtual machines with few cores. Neighbours move every time by tens
  of per cent, and now and then by a factor. Figures of one suite were taken interleaved, so their ratios hold better
  than their times; a time from one run is not comparable with a time from another. Minima and maxima are printed.
  The load average is that of the minute before the run: above half the cores, others were at work.
- **Your CPU.** The integer kernel depends on the instruction set. The CPU stands beside every table.
- **A network.** Client and server talk over the loopback interface, each on a core of its own.
- **Real memory pressure.** A memory cgroup is not a machine: the kernel of a 256 MB machine takes its part first.

A target that is a ratio or a size makes `python -m bench --check` fail when it is missed; an absolute time never does.
"""


def latest(runs: Sequence[Run], suite: str) -> Run | None:
    """The last full run that has the suite; a quick one when there is no other."""
    having = [run for run in runs if suite in run.suites]
    full = [run for run in having if not run.quick]
    return next(reversed(full or having), None)


def draw(
    runs: Sequence[Run],
    targets: Sequence[Target],
    report: Path = REPORT_FILE,
    modules: Sequence[str] = MODULES,
) -> list[Path]:
    """Write the report of the suites that `modules` declare and, beside it, `charts/`; the paths written.

    Raises ValueError when there is no run to draw from.
    """
    if not runs:
        raise ValueError("the history is empty; measure something first: python -m bench")
    folder = report.parent / "charts"
    written: list[Path] = [report]
    parts = [OPENING]
    suites = [load_suite(module) for module in modules]
    for suite in suites:
        run = latest(runs, suite.name)
        if run is None:
            parts.append(f"## {suite.name}\n\nNot measured yet.\n")
            continue
        parts.append(_section(suite, run, rows_of(suite, run.suites[suite.name], targets)))
        for title, path in _charts(suite.name, run, folder):
            parts.append(f"![{title}](charts/{path.name})\n")
            written.append(path)
    figures = [(run, _measured(run, suites)) for run in runs if not run.quick]
    shown = [(run, known) for run, known in figures if charts.TREND_METRICS & known.keys()][-TREND_RUNS:]
    if len(shown) > 1:
        path = folder / "trend.svg"
        charts.trend([run.revision for run, _ in shown], [known for _, known in shown], path)
        parts.append(f"## Over revisions\n\n![Key figures over revisions](charts/{path.name})\n")
        written.append(path)
    parts.append(_sources(targets))
    report.write_text("\n".join(parts), encoding="utf-8")
    return written


def _section(suite: Suite, run: Run, rows: Sequence[Row]) -> str:
    machine = run.machine
    modified = ", with uncommitted changes" if run.modified else ""
    quick = " A quick run: it shows that the suite works, not how fast the server is." if run.quick else ""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    lines = [
        f"## {suite.name}: {suite.purpose}",
        "",
        suite.reading,
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {' '.join(machine['flags'])}; {run.at}, revision "
        f"`{run.revision}`{modified}, seed {run.seed}, load average {run.load_average:g}; {versions}.{quick}",
        "",
        *([suite.table(run.suites[suite.name]), ""] if suite.table is not None else []),
        "| metric | unit | target | measured (min-max) | n | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        metric, unit, target, measured, count, verdict = cells(row)
        shown = f"**{verdict}**" if row.missed else verdict
        lines.append(f"| {metric} | {unit} | {target} | {measured} | {count} | {shown} |")
    return "\n".join(lines) + "\n"


def _charts(name: str, run: Run, folder: Path) -> list[tuple[str, Path]]:
    """The charts of a suite, drawn where their samples are there."""
    drawn: list[tuple[str, Path]] = []
    cases: dict[str, CaseResult] = run.suites[name]
    if name == "embed" and (result := cases.get("one client")) and result.series.get("floor_ms.16"):
        path = folder / "latency.svg"
        charts.latency_by_length(result, path)
        drawn.append(("Latency of one text by length, against the float32 floor", path))
    if name == "memory" and (result := cases.get("no limit")):
        if result.series.get("rss_mb.start"):
            path = folder / "memory.svg"
            charts.memory_staircase(result, path)
            drawn.append(("Memory after each step, against 256 MB", path))
        if result.series.get("flat_anonymous_mb"):
            path = folder / "flatness.svg"
            charts.memory_over_requests(result, path)
            drawn.append(("Anonymous memory over mixed requests", path))
    if name == "peers" and (result := cases.get(SPEED)) and result.series.get("floor_ms.16"):
        for title, file, draw_chart in (
            ("Time of one text by engine and length, over the float32 floor", "peers-latency.svg", latency_of_peers),
            ("Memory by engine, against 256 MB", "peers-memory.svg", memory_of_peers),
        ):
            draw_chart(cases, folder / file)
            drawn.append((title, folder / file))
    return drawn


def _measured(run: Run, suites: Sequence[Suite]) -> dict[str, float]:
    """Every measured value of a run, by metric name."""
    rows = [row for suite in suites if suite.name in run.suites for row in rows_of(suite, run.suites[suite.name], ())]
    return {row.metric.name: row.measured for row in rows if row.measured is not None}


def _sources(targets: Sequence[Target]) -> str:
    lines = ["## Where the targets come from", "", "| metric | target | kind | source |", "|---|---|---|---|"]
    lines += [
        f"| {target.metric} | {target.direction} {target.limit:g} {target.unit} | {target.kind} | {target.source} |"
        for target in targets
    ]
    return "\n".join(lines) + "\n"
