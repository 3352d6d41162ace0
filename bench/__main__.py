"""`python -m bench`: measure suites against their targets, keep the samples, draw the report."""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from bench import history
from bench.runner import default_conditions, run_suites
from bench.suites import NAMES, OPT_IN, load_suite, module_of
from bench.table import Row, aligned, missed_gates, rows_of
from bench.targets import TARGETS_FILE, load_targets
from runtime.models.installed import PACKAGED

EPILOG = """\
Each case runs in a fresh process; servers listen on 127.0.0.1 on a free port, with a fresh data folder, pinned to one
core, the client on another. Raw samples go to the history, one JSON line a run. Targets are in bench/targets.toml.

Examples:
  python -m bench                      every suite, printed as a table and kept
  python -m bench embed start          two suites
  python -m bench --check memory       exit 1 when a target that is a ratio or a size is missed
  python -m bench faults --case soak --soak-minutes 60
  python -m bench faults --case hostile --case stop
  python -m bench faults fuzz          half an hour of kills, faults, overload, long load and mutated requests
  VOWS_BENCH_TURN=/tmp/turn python -m bench search_peers --case "100,000 items, usearch"
                                       one case, its searches while no other run holds that file
  python -m bench report               draw bench/REPORT.md and bench/charts/ from the history
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = "\n".join(f"  {name:8} {load_suite(module_of(name)).purpose}" for name in (*NAMES, *OPT_IN))
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measure the runtime against its targets.\n\nSuites:\n{known}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help=f"suites to run (default: all but {', '.join(OPT_IN)}), a module that declares one, or `report`",
    )
    parser.add_argument("--list", action="store_true", help="list the suites, their cases and metrics, and exit")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target that is a ratio or a size is missed")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs, not what it measures")
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="begin no case after so many, and take them in the order declared"
    )
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="NAME",
        help="only this case; kept only where the cases of its suite are independent (repeatable)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of texts, traffic and order (default: %(default)s)")
    parser.add_argument(
        "--models",
        type=Path,
        default=Path(os.environ.get("VOWS_MODELS_DIR", PACKAGED)),
        help="folder of the model bundles (default: VOWS_MODELS_DIR, or else the package's)",
    )
    parser.add_argument(
        "--soak-minutes", type=float, default=20, metavar="M", help="in `faults` (default: %(default)s)"
    )
    parser.add_argument(
        "--targets", type=Path, default=TARGETS_FILE, help="file of targets (default: bench/targets.toml)"
    )
    parser.add_argument(
        "--history", type=Path, default=history.HISTORY_FILE, help="file of runs (default: bench/history.jsonl)"
    )
    parser.add_argument("--no-history", action="store_true", help="do not keep this run")
    return parser


def listing() -> str:
    """Suites with their cases and metrics as text."""
    lines: list[str] = []
    for name in (*NAMES, *OPT_IN):
        suite = load_suite(module_of(name))
        lines.append(f"{name}: {suite.purpose}")
        lines.append("  cases:   " + ", ".join(case.name for case in suite.cases))
        lines += [f"  {metric.name} [{metric.unit}, worse when {metric.worse}]" for metric in suite.metrics]
    return "\n".join(lines)


def row_as_dict(row: Row) -> dict[str, object]:
    """A row as plain values for `--json`."""
    target = row.target
    return {
        "metric": row.metric.name,
        "unit": row.metric.unit,
        "measured": row.measured,
        "min": row.low,
        "max": row.high,
        "n": row.count,
        "target": None if target is None else {"limit": target.limit, "direction": row.metric.limited_to},
        "kind": None if target is None else target.kind,
        "verdict": row.verdict,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 1 (a checked target is missed), 2 (wrong use)."""
    command = parser()
    chosen = command.parse_args(arguments)
    if chosen.list:
        print(listing())
        return 0
    if chosen.suites == ["report"]:
        from bench import readme, report  # matplotlib is needed to draw, not to measure

        runs, targets = history.read(chosen.history), load_targets(chosen.targets)
        for path in report.draw(runs, targets):
            print(path)
        suites = [load_suite(module_of(name)) for name in (*NAMES, *OPT_IN)]
        last = [(suite, run) for suite in suites for run in report.shown_runs(runs, suite)[:1]]
        readme.write_figures(readme.figures(last, targets))
        print(readme.README)
        for name in readme.TABLES:
            readme.write_figures(readme.table_of(name, last), readme.DEPLOYMENT, name)
        print(readme.DEPLOYMENT)
        return 0
    unknown = [name for name in chosen.suites if "." not in name and name not in (*NAMES, *OPT_IN)]
    if unknown:
        command.error(f"no suite called {', '.join(unknown)}; there are: {', '.join((*NAMES, *OPT_IN))}, and report")
    modules = [module_of(name) for name in chosen.suites or NAMES]
    known = {case.name for module in modules for case in load_suite(module).cases}
    if missing := set(chosen.case) - known:
        command.error(f"no case called {', '.join(sorted(missing))}; there are: {', '.join(sorted(known))}")
    targets = load_targets(chosen.targets)
    conditions = default_conditions(chosen.models, chosen.seed, quick=chosen.quick)
    conditions = replace(conditions, soak_s=60 * chosen.soak_minutes)
    run = run_suites(
        modules,
        conditions,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
        minutes=chosen.minutes,
        cases=chosen.case,
        keep=lambda one: None if chosen.no_history else history.append(one, chosen.history),
    )
    suites = [load_suite(module) for module in modules]
    whole = {suite.name: run.suites[suite.name] for suite in suites if not suite.independent}
    if whole and not chosen.no_history and not chosen.case:
        history.append(replace(run, suites=whole), chosen.history)
    rows = [
        row
        for suite in suites
        for row in rows_of(suite, run.suites[suite.name], targets)
        if not chosen.case or row.metric.case in chosen.case
    ]
    if chosen.json:
        print(
            json.dumps({"revision": run.revision, "machine": run.machine, "rows": [row_as_dict(row) for row in rows]})
        )
    else:
        print(f"{run.machine['cpu']}, {run.machine['cores']} cores, revision {run.revision}")
        for suite in suites:
            if suite.table is not None:
                print(suite.table(run.suites[suite.name]) + "\n")
        print(aligned(rows))
    missed = missed_gates(rows)
    if chosen.check and missed:
        print("missed: " + ", ".join(sorted({row.metric.name for row in missed})), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
