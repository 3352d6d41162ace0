"""`python -m training study`: ablations, published models and simulated worlds, many trainings side by side."""

import argparse
import multiprocessing
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import msgspec
import numpy as np
import torch

from training.checkpoint import BEST
from training.data.command import add_sources
from training.experiments.study.data import KINDS, is_world, kind_of, load_world, world_key
from training.experiments.study.effort import EFFORTS, USUAL
from training.experiments.study.jobs import COMMITTED, OF_QUERIES, Arrays, Job, Place, Row, run
from training.experiments.study.page import FOLDER, write_page
from training.experiments.study.plan import PARTS_OF_STUDY, Size, plan
from training.experiments.study.records import (
    ARRAYS,
    KEPT,
    PAGE,
    ROWS,
    merged,
    read_arrays,
    read_kept,
    read_rows,
    write_kept,
)
from training.experiments.study.summary import summarise

_SAVE_EVERY_S, _LOOK_EVERY_S = 40.0, 60.0

DESCRIPTION = f"""\
Train and test: the model without each of its special parts, without all of them, without texts or ids (ablations),
published sequence models (published), and held-out simulated worlds of several kinds, from random weights and
pre-trained, beside the hybrid ranker and blends (worlds). Every result is a line in FOLDER/{ROWS} as it comes, with the
value of each event in FOLDER/{ARRAYS}. The most valuable comparisons come first: with --minutes the rest is left out. A
study that was stopped goes on when the same command is given again.

  python -m training study --data-dir DATA                     everything, a day on two cores
  python -m training study ablations published --data-dir DATA --effort small --sets deskdrop ml-100k --seeds 2 \\
      --worlds 1                                               an hour or two on one core
  python -m training study --data-dir DATA --device cuda --workers 14 --minutes 9
  python -m training study --summarise FOLDER...               intervals into training/{KEPT}, tables into {PAGE};
                                                               what was kept of other models and efforts stays"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    size = Size()
    parser = commands.add_parser(
        "study",
        help="ablations, published models and worlds, with intervals",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS_OF_STUDY)} (default: all)")
    add_sources(parser)
    parser.add_argument("--sets", nargs="*", default=list(size.sets), help="public sets (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=size.seeds, help="of every training (default: %(default)s)")
    parser.add_argument("--worlds", type=int, default=size.worlds, help="held-out, of each kind (default: %(default)s)")
    parser.add_argument("--first-world", type=int, default=size.first_world, help="their first seed (%(default)s)")
    parser.add_argument(
        "--pretraining", type=int, default=size.pretraining, help="worlds to pre-train on (%(default)s)"
    )
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="only these models or starts, as rows name them")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, metavar="KIND", help="only these: " + ", ".join(KINDS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="trainings at once (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no training starts later")
    parser.add_argument("--effort", choices=tuple(EFFORTS), default=USUAL, help="on each model (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/study"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument(
        "--summarise", type=Path, nargs="+", metavar="FOLDER", help="of earlier results; trains nothing"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.summarise:
        records = summarise(options.summarise)
        write_kept(FOLDER, merged(read_kept(FOLDER), records))
        write_page()
        print(f"{len(records)} comparisons in training/{KEPT}, tables in training/{PAGE}")
        return 0
    size = Size(options.seeds, options.worlds, options.first_world, options.pretraining, tuple(options.sets))
    jobs = chosen(plan(tuple(options.parts) or PARTS_OF_STUDY, size), options.only, options.kinds)
    place = Place(
        options.out, options.data_dir and Path(options.data_dir), options.device, machine(options.device),
        effort_name=options.effort,
    )  # fmt: skip
    results = Results(options.out, options.effort)
    ends = time.monotonic() + options.minutes * 60
    make_worlds([job for job in jobs if job not in results.done], place, options.workers)
    pending = [job for job in jobs if job not in results.done and not _is_trained(job, place)]
    for row, arrays in run_all(pending, place, options.workers, ends, first=len(results.rows)):
        results.add(row, arrays)
        print(
            f"{time.strftime('%H:%M:%S')} {row.data} | {row.model}, seed {row.seed} {row.start} | "
            f"ndcg {row.ndcg10 or 0:.4f} accuracy {row.accuracy or 0:.4f} {row.seconds} s {row.failed}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    results.save()
    print(f"{len(results.done)} of {len(jobs)} in {results.folder}")
    return 0


def chosen(jobs: Sequence[Job], models: Sequence[str] | None, kinds: Sequence[str] | None) -> list[Job]:
    """The jobs of these models, or from these pre-trainings, on worlds of these kinds, with the pre-trainings that they
    start from. None: of all."""
    wanted = {
        job
        for job in jobs
        if not job.pretraining
        and (models is None or job.model in models or job.start in models)
        and (kinds is None or job.data.endswith(tuple(f", {kind}" for kind in kinds)))
    }
    starts = {job.start for job in wanted}
    return [job for job in jobs if job in wanted or (job.pretraining and job.name in starts)]


class Results:
    """The rows and arrays of a folder, continued. done: what was measured with this effort."""

    def __init__(self, folder: Path, effort: str = USUAL) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = read_rows(folder)
        self.arrays = read_arrays(folder)
        self.done = {
            Job(row.data, row.model, row.seed, row.start): row
            for row in self.rows
            if row.queries and not row.failed and row.effort == effort
        }
        self._saved = time.monotonic()

    def add(self, row: Row, arrays: Arrays) -> None:
        """Append a row at once, and the arrays every now and then: users and events are stored once a data set."""
        with (self.folder / ROWS).open("ab") as file:
            file.write(msgspec.json.encode(row) + b"\n")
        self.rows.append(row)
        if row.queries and not row.failed:
            self.done[Job(row.data, row.model, row.seed, row.start)] = row
        for name, values in arrays.items():
            of = row.queries if name in OF_QUERIES else str(row.number)
            self.arrays[f"{of}/{name}"] = values
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write the arrays, replacing those before."""
        half_written = self.folder / "arrays.partial.npz"
        np.savez_compressed(half_written, **self.arrays)  # type: ignore[arg-type]
        half_written.replace(self.folder / ARRAYS)
        self._saved = time.monotonic()


def machine(device: str) -> str:
    """The machine in words, for every row."""
    cores = f"{os.cpu_count()} cores {platform.machine()}"
    return f"{torch.cuda.get_device_name()}, {cores}" if device == "cuda" else cores


def make_worlds(jobs: Sequence[Job], place: Place, workers: int) -> None:
    """Simulate every world that the jobs need, side by side."""
    keys = [world_key(kind_of(job.data), seed) for job in jobs for seed in job.pretraining]
    keys += [job.data for job in jobs if is_world(job.data)]
    with _pool(workers) as pool:
        for found in [pool.submit(_make_world, key, place) for key in dict.fromkeys(keys)]:
            found.result()


def _make_world(key: str, place: Place) -> None:
    load_world(key, place.folder, place.effort_name)


def run_all(
    jobs: Sequence[Job], place: Place, workers: int, ends: float, *, first: int
) -> Iterator[tuple[Row, Arrays]]:
    """Run the jobs in order, `workers` at once; one that is fine-tuned waits for its pre-training. None starts after
    `ends`, and what runs then is given up. first: number of the first row."""
    pending, running, number = list(jobs), dict[Future[tuple[Row, Arrays]], Job](), first
    trained = {folder.name for folder in (place.folder / "pretrained").glob("*") if _is_complete(folder)}
    pool = _pool(workers)
    while (pending or running) and time.monotonic() < ends:
        while len(running) < workers and (job := _next(pending, trained)) is not None:
            pending.remove(job)
            running[pool.submit(run, job, number, place)] = job
            number += 1
        if not running:
            break
        left_s = min(max(ends - time.monotonic(), 0.1), _LOOK_EVERY_S)
        finished, _ = wait(running, timeout=left_s, return_when=FIRST_COMPLETED)
        for future in finished:
            job = running.pop(future)
            try:
                row, arrays = future.result()
            except BrokenProcessPool:  # a process that died takes the others' work with it: all of it is done again
                pending[:0] = [job, *running.values()]
                running.clear()
                pool = _pool(workers)
                break
            if job.pretraining and not row.failed:
                trained.add(job.name)
            yield row, arrays
    pool.shutdown(wait=not running, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.terminate()


def _is_trained(job: Job, place: Place) -> bool:
    """Whether a pre-training was made by an earlier run of the study."""
    return bool(job.pretraining) and _is_complete(place.folder / "pretrained" / job.name)


def _is_complete(folder: Path) -> bool:
    return (folder / BEST).exists() and not any(folder.glob("run-*"))


def _next(pending: Sequence[Job], trained: set[str]) -> Job | None:
    """The first job that can start."""
    return next((job for job in pending if job.start in ("", COMMITTED) or job.start in trained), None)


def _one_thread() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Initializing zero-element tensors")  # of a part that is left out


def _pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes, one thread each: a GPU cannot be used in a fork."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread)
