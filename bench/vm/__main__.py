"""`python -m bench.vm`: boot the image as a machine of 256 MiB, load it, and check what memory is left."""

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import history
from bench.case_result import CaseResult
from bench.history import Run
from bench.machine import read_machine, read_revision, read_versions
from bench.runner import default_conditions
from bench.suite import NotMeasured, Samples
from bench.table import aligned, missed_gates, rows_of
from bench.targets import load_targets
from bench.vm.guest import Hardware
from bench.vm.suite import CASE, SUITE, Image, Options, measure
from runtime.models.installed import PACKAGED

CAVEAT = "Memory figures carry over to a real machine of this size; times of this emulated one do not."
EPILOG = """\
Needs qemu-system-x86 and e2fsprogs, and once apt-get download for a kernel (or --parts). Everything is emulated in
software, one CPU, no swap: it takes minutes.

The files of an image, unpacked into a folder, and its configuration:
  with a container engine
    docker build -t vows-edge . && mkdir -p build/image
    docker export $(docker create vows-edge) | sudo tar x -C build/image
    docker inspect vows-edge > build/image.json
  without one (buildah, as root)
    buildah build -t vows-edge . && container=$(buildah from vows-edge)
    cp -a $(buildah mount $container) build/image
    buildah inspect --type image vows-edge > build/image.json
then
  python -m bench.vm --root build/image --config build/image.json

Without --root it boots what is installed here: this Python, the locked packages, the runtime and the bundle. That shows
the same server, but not the image, so its figures are printed and not kept. Unpack as root, or the image's files lose
their owners (which matters to nothing but the check of them).
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m bench.vm", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("--root", type=Path, metavar="FOLDER", help="an image's files (default: what is installed)")
    command.add_argument("--config", type=Path, metavar="FILE", help="the image's configuration as JSON")
    command.add_argument("--memory-mib", type=int, default=256, help="memory of the machine (default: %(default)s)")
    command.add_argument(
        "--cpu", default="max", help="CPU model as qemu names it, e.g. Haswell (default: all it can emulate)"
    )
    command.add_argument("--requests", type=int, default=100, help="mixed requests (default: %(default)s)")
    command.add_argument(
        "--batch-items", type=int, default=32, help="texts of 256 tokens in one batch (default: %(default)s)"
    )
    command.add_argument("--seed", type=int, default=1, help="seed of texts and traffic (default: %(default)s)")
    command.add_argument("--parts", type=Path, metavar="FOLDER", help="kernel and busybox (default: fetched once)")
    command.add_argument(
        "--models",
        type=Path,
        default=Path(os.environ.get("VOWS_MODELS_DIR", PACKAGED)),
        help="bundles for a machine without an image (default: VOWS_MODELS_DIR, or else the package's)",
    )
    command.add_argument("--no-history", action="store_true", help="do not keep this run")
    return command


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 1 (a target is missed), 2 (wrong use, or something is not there)."""
    command = parser()
    chosen = command.parse_args(arguments)
    if (chosen.root is None) != (chosen.config is None):
        command.error("--root and --config belong together")
    for path in (chosen.root, chosen.config):
        if path is not None and not path.exists():
            command.error(f"{path} is not there; python -m bench.vm --help says how to make it")
    image = None if chosen.root is None else Image(chosen.root.resolve(), chosen.config.resolve())
    hardware = Hardware(memory_mib=chosen.memory_mib, cpu=chosen.cpu)
    options = Options(image, chosen.parts, hardware, chosen.requests, chosen.batch_items)
    try:
        run = measured(options, chosen.models, chosen.seed)
    except NotMeasured as reason:
        print(f"cannot check: {reason}", file=sys.stderr)
        return 2
    result = run.suites[SUITE.name][CASE]
    rows = rows_of(SUITE, run.suites[SUITE.name], load_targets())
    print(aligned(rows))
    print("\n".join(f"{name}: {value}" for name, value in result.notes.items()))
    print(CAVEAT)
    if image is not None and hardware == Hardware() and not chosen.no_history:
        history.append(run)
    missed = missed_gates(rows)
    if missed:
        print("missed: " + ", ".join(sorted({row.metric.name for row in missed})), file=sys.stderr)
    return int(bool(missed))


def measured(options: Options, models: Path, seed: int) -> Run:
    """One run of the suite in this process, as the history keeps it. Raises NotMeasured when it cannot be made."""
    conditions = default_conditions(models, seed)
    revision, modified = read_revision()
    started, start, samples = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic(), Samples()

    def progress(line: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {line}", file=sys.stderr, flush=True)

    measure(options, conditions, samples, progress)
    seconds = round(time.monotonic() - start, 2)
    return Run(
        at=started,
        revision=revision,
        modified=modified,
        machine=read_machine().as_dict(),
        versions=read_versions(),
        seed=seed,
        quick=False,
        order=[f"{SUITE.name}/{CASE}"],
        suites={SUITE.name: {CASE: CaseResult(samples.series, samples.notes, seconds)}},
    )


if __name__ == "__main__":
    sys.exit(main())
