"""One index built and searched in a process of its own.

`python -m bench.indexes.measure NAME DATA FILES CORE SEARCHES`: DATA holds the files that `write_data` made, FILES is
an empty folder for the index. The result is one line of JSON: series and notes as `Samples` has them.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.indexes.engines import index_engine
from bench.indexes.index import DIMENSIONS, GROUPS, RESULTS, Index, Numbers, StoredVectors, Vectors
from bench.indexes.results import ENOUGH
from bench.process_memory import ProcessMemory, read_process_memory
from bench.suite import Samples
from bench.turn import measuring_turn

KINDS = ("plain", "filtered")
_WARM_UP, _LEAST, _LIMIT_S = 5, 20, 20.0  # searches before those that count, at least so many that do, and for how long
BUILD_LIMIT_MIN = 25.0
_LOOK_S = 2.0  # between readings of other processes' memory, for which the kernel walks through all of it
_PROGRESS_S = 30.0
NOTHING = ProcessMemory(0.0, 0.0, 0.0, 0.0, 0.0)


class NotBuilt(Exception):
    """The index was not built within the limit; the message says how far it came."""


def write_data(folder: Path, vectors: Vectors, queries: Vectors) -> None:
    """The vectors [n, 384], the queries, and the numbers of the exact nearest ten of each, of all and of its group."""
    vectors.tofile(folder / "vectors.f32")
    np.save(folder / "queries.npy", queries)
    nearest: dict[str, list[Numbers]] = {kind: [] for kind in KINDS}
    numbers = np.arange(len(vectors))
    for n, query in enumerate(queries):
        scores = vectors @ query
        nearest["plain"].append(np.argpartition(-scores, RESULTS)[:RESULTS])
        scores[numbers % GROUPS != group_of(n)] = -np.inf
        nearest["filtered"].append(np.argpartition(-scores, RESULTS)[:RESULTS])
    for kind in KINDS:
        np.save(folder / f"{kind}.npy", np.stack(nearest[kind]))


def group_of(query: int) -> int:
    """The group in which the n-th query searches when it is filtered."""
    return 37 * query % GROUPS


def setting_name(setting: dict[str, int]) -> str:
    """As the series and the table have it; "exact" for the only one of an index without."""
    return ", ".join(f"{name} {value}" for name, value in setting.items()) or "exact"


def measure(
    index: Index,
    folder: Path,
    core: int,
    searches: int,
    samples: Samples,
    without: ProcessMemory = NOTHING,
    limit_min: float = BUILD_LIMIT_MIN,
) -> None:
    """Build it, then search with one setting after another until recall is enough.

    without: the memory of this process before the index's library was imported; what is kept is the difference.
    Raises NotBuilt after `limit_min` minutes.
    """
    stored = StoredVectors(folder / "vectors.f32", (folder / "vectors.f32").stat().st_size // (4 * DIMENSIONS))
    with _watched(index, stored, limit_min) as peak:
        began, ran = time.monotonic(), cpu_s(index)
        index.build(stored)
        samples.add("build_s", time.monotonic() - began)
        samples.add("build_cpu_s", cpu_s(index) - ran)
        print("built", file=sys.stderr, flush=True)
    samples.add("added_peak_mib", peak[0] - without.rss_mib)
    samples.add("disk_mib", index.disk_bytes() / (1 << 20))
    queries = np.load(folder / "queries.npy")
    reached: set[str] = set() if index.filters else {"filtered"}
    for setting in index.settings:
        index.use(setting)
        for kind in KINDS:
            if kind in reached:
                continue
            exact = np.load(folder / f"{kind}.npy")
            found = _search(index, kind, setting, queries, exact, core, searches, samples)
            print(f"{setting_name(setting)}, {kind}: recall {found:.4f}", file=sys.stderr, flush=True)
            if found >= ENOUGH:
                reached.add(kind)
    memory = [read_process_memory(process) for process in index.processes()]
    samples.add("added_resident_mib", sum(one.pss_mib for one in memory) - without.pss_mib)
    samples.add("added_anonymous_mib", sum(one.anonymous_mib for one in memory) - without.anonymous_mib)


def _search(
    index: Index,
    kind: str,
    setting: dict[str, int],
    queries: Vectors,
    exact: Numbers,
    core: int,
    searches: int,
    samples: Samples,
) -> float:
    """Time up to so many searches, and compare what they find; the mean recall."""
    times: list[float] = []
    found: list[Sequence[int]] = []
    with measuring_turn({os.getpid(), *index.processes()}, core):
        for n in range(_WARM_UP):
            index.search(queries[-1 - n], group_of(n) if kind == "filtered" else None)
        end = time.monotonic() + _LIMIT_S
        for n, query in enumerate(queries[:searches]):
            group = group_of(n) if kind == "filtered" else None
            began = time.perf_counter_ns()
            found.append(index.search(query, group))
            times.append((time.perf_counter_ns() - began) / 1e6)
            if time.monotonic() > end and len(times) >= _LEAST:
                break
    recalls = [len(set(one).intersection(best)) / RESULTS for one, best in zip(found, exact.tolist(), strict=False)]
    samples.add(f"ms.{kind}.{setting_name(setting)}", *times)
    samples.add(f"recall.{kind}.{setting_name(setting)}", float(np.mean(recalls)))
    return float(np.mean(recalls))


@contextmanager
def _watched(index: Index, stored: StoredVectors, limit_min: float) -> Iterator[list[float]]:
    """The most memory that its processes held together while the block ran, in MiB; of this one as the kernel knows it.

    Prints how far the build is, now and then, and raises NotBuilt in the block when its time is over.
    """
    peak, over, late = [0.0], threading.Event(), [""]
    own = index.processes() == [os.getpid()]
    ran, began = cpu_s(index), time.monotonic()
    shown = began

    def stop(signal_number: int, frame: object) -> None:
        raise NotBuilt(late[0])

    def progress() -> str:
        return index.progress() or f"{stored.read:,} of {stored.count:,} vectors read"

    def look() -> None:
        nonlocal shown
        while not over.wait(_LOOK_S):
            try:
                if not own:
                    peak[0] = max(peak[0], sum(read_process_memory(process).pss_mib for process in index.processes()))
                minutes = (cpu_s(index) - ran) / 60
            except OSError:  # one has ended
                continue
            if time.monotonic() - began > 60 * limit_min:
                late[0] = f"not built within {limit_min:g} minutes, {minutes:.1f} of them CPU time: {progress()}"
                os.kill(os.getpid(), signal.SIGUSR1)
                return
            if time.monotonic() - shown > _PROGRESS_S:
                shown = time.monotonic()
                print(f"{progress()}; {minutes:.1f} minutes of CPU time", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGUSR1, stop)
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    if own:
        peak[0] = read_process_memory(os.getpid()).peak_rss_mib


def cpu_s(index: Index) -> float:
    """What its processes ran until now, in seconds."""
    ticks = 0
    for process in index.processes():
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # its own, and that of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


def main(name: str, data: str, files: str, core: str, searches: str) -> None:
    """Measure, and print what was measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that a server ends with this process
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the one thread that builds goes where there is room
    samples, without = Samples(), read_process_memory(os.getpid())
    index: Index = index_engine(name).wrapper()(Path(files))
    if index.processes() != [os.getpid()]:
        without = NOTHING
    try:
        measure(index, Path(data), int(core), int(searches), samples, without)
    except NotBuilt as reason:
        samples.note("not_built", str(reason))
    finally:
        index.close()
    print(json.dumps(asdict(samples)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
