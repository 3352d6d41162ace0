"""Our search formats and other libraries' indexes on the same vectors: recall, time, memory, building, disk."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.case_result import CaseResult, Series
from bench.catalogue import realistic_vectors
from bench.indexes.engines import INDEXES, IndexEngine
from bench.indexes.measure import BUILD_LIMIT_MIN, write_data
from bench.indexes.results import ENOUGH, SIZES, case_name, chosen, comparison
from bench.machine import ROOT
from bench.peers.engines import default_places
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite

QUERIES, SEARCHES = 250, 200
_QUICK_ITEMS, _QUICK_SEARCHES = 2_000, 25
_LIMIT_S = 3 * 3600


def measure(engine: IndexEngine, items: int, conditions: Conditions, samples: Samples) -> None:
    """Write vectors and exact answers to a folder, then have a fresh process build the index and search it."""
    engine.wrapper()  # here, where a missing package is noticed before a million vectors are made
    if conditions.quick:
        items = _QUICK_ITEMS
    data = _data(conditions, items)
    with tempfile.TemporaryDirectory(prefix="vows-index-") as folder:
        searches = conditions.rounds(full=SEARCHES, quick=_QUICK_SEARCHES)
        command = [sys.executable, "-m", "bench.indexes.measure", engine.name, str(data), folder]
        process = subprocess.Popen(
            [*command, str(conditions.server_core), str(searches)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that it can be put ahead of other work: see bench.turn
        )
        try:
            out, _ = process.communicate()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise RuntimeError(f"the process of the index ended with status {process.returncode}")
    measured = json.loads(out)
    if why := measured["notes"].get("not_built"):
        raise NotMeasured(why)
    for name, values in measured["series"].items():
        samples.add(name, *values)


def _data(conditions: Conditions, items: int) -> Path:
    """The folder of the vectors and the exact answers, made once: every index, whenever it is measured, has the same.
    They are of the text encoder that made them first."""
    folder = default_places().root / "vectors" / f"{items}-{conditions.seed}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        vectors = realistic_vectors(conditions, items + QUERIES)
        new = Path(tempfile.mkdtemp(dir=folder.parent))
        write_data(new, vectors[:items], vectors[items:])
        new.rename(folder)
    return folder


def _metrics(engine: IndexEngine, items: int) -> tuple[Metric, ...]:
    def read(quantity: str, kind: str, series: Series) -> Sequence[float]:
        setting = chosen(series, kind)
        return () if setting is None else series[f"{quantity}.{kind}.{setting}"]

    case, name = case_name(engine, items), f"{engine.name}.{items}"
    return (
        Metric(f"search_peers.recall.{name}", case, "share", "lower", partial(read, "recall", "plain")),
        Metric(f"search_peers.p95_ms.{name}", case, "ms", "higher", partial(read, "ms", "plain"), "p95"),
    )


def _table(results: Mapping[str, CaseResult]) -> str:
    return "\n\n".join(comparison(results, items) for items in SIZES)


SUITE = Suite(
    name="search_peers",
    purpose="our search formats and other indexes on the same vectors",
    reading="- **Place.** Each index is built and searched in a process of its own: no HTTP, and no model. pgvector "
    "is asked over a socket, and its memory is that of the server's processes, shared pages counted once.\n"
    "- **Data.** The vectors of `search`: mixtures of three of 300 embedded texts, with noise, 384 "
    "dimensions. The queries are drawn in the same way, and not stored.\n"
    "- **Searches.** 200, one after another on one core, or as many as fit in 20 s. Recall@10 is the share of "
    "the exact ten nearest by float32. An approximate index starts at its fastest setting, which is raised "
    f"until recall is {ENOUGH} or there is no more; times are those of the setting shown. `filtered`: among "
    "the 1 % of the items that are in one group. pgvector's HNSW is searched as its documentation advises for "
    "filters: scans go on in relaxed order until there are enough candidates, which are then sorted. "
    "`pgvector, exact` has an ordinary index on the group, which the documentation advises for filters that few "
    "rows pass, and which the planner can take where there are both.\n"
    f"- **Building.** One thread, {BUILD_LIMIT_MIN:g} minutes at most. What it took is shown as CPU time, because "
    "others worked on the machine.\n"
    "- **Memory.** What the index, its library included, adds to its process: the peak while it was built; "
    "what is resident after the searches, mapped files included; and what of it is anonymous, so that it "
    "cannot be given back.",
    cases=tuple(
        Case(case_name(engine, items), partial(measure, engine, items), limit_s=_LIMIT_S)
        for items in SIZES
        for engine in INDEXES
    ),
    metrics=tuple(metric for items in SIZES for engine in INDEXES if engine.ours for metric in _metrics(engine, items)),
    table=_table,
    independent=True,
    per_cpu=True,
)
