"""`vows-edge doctor`: what this machine offers, what the server would take of it, and whether that is safe."""

import argparse
import os
import platform
import resource
import sqlite3
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from runtime.cli.doctor_clock import repair_clock
from runtime.cli.doctor_postgres import examine_postgres
from runtime.cli.findings import Finding
from runtime.environment import read_settings
from runtime.http.connections import SPARE_CONNECTIONS
from runtime.setting_fields import AUTO, MiB, SettingsError
from runtime.settings import Settings
from runtime.sizing import MAX_CONNECTIONS
from runtime.system.allocator import give_back_freed, one_heap
from runtime.system.host import (
    INTEGER_FLAGS,
    available_memory,
    cpu_flags,
    cpu_name,
    integer_encoding,
    memory_limit,
    process_memory,
    usable_cores,
)
from runtime.system.memory_budget import MemoryBudgetError

if TYPE_CHECKING:  # what loads a model is imported by the check that does
    from runtime.models.sequence_model import SequenceModel

MIN_FREE_BYTES = 64 * MiB  # on the volume: the write-ahead log, a migration's backup of a small database, and some air


def examine(settings: Settings) -> Iterator[Finding]:
    """Findings in order. Loads the model as the server would; writes nothing but the encoding for this CPU, where the
    bundle does not have it yet."""
    one_heap()  # as the server does
    yield from _machine()
    workers = settings.threads or usable_cores()
    yield Finding("worker threads", str(workers))
    models = yield from _models(settings)
    settings = yield from _memory(settings, workers)
    del models  # held until what the process holds was read
    yield _volume(settings)
    if settings.database_url:
        yield from examine_postgres(settings)
    else:
        yield _sqlite()
    yield _files(settings)
    yield _reach(settings)


def _machine() -> Iterator[Finding]:
    features = " ".join(sorted(cpu_flags() & INTEGER_FLAGS)) or "none of those that matter"
    yield Finding("processor", f"{cpu_name()}, {usable_cores()} usable cores")
    yield Finding("features", features)
    yield Finding("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
                  f"SQLite {sqlite3.sqlite_version}")  # fmt: skip


def _models(settings: Settings) -> Generator[Finding, None, list[object]]:
    """Imports the server whole, so that what this process holds is what the server will hold before it serves.

    Returns the models that would be served: the text encoder, and the sequence model where there is one.
    """
    import runtime.app  # noqa: F401
    from runtime.models.bundle import Bundle, BundleError
    from runtime.models.installed import SEQUENCE, TEXT_ENCODER, bundle_folders, find_bundle
    from runtime.models.text_encoder import load_encoder
    from runtime.serving.sequence import SequenceServing

    try:
        bundle = Bundle.load(
            find_bundle(settings.models_dir, TEXT_ENCODER), kind="text-encoder", cache=settings.derived_dir
        )
        encoder, test = load_encoder(bundle, settings.encoding, longest=None)
    except BundleError as error:
        yield Finding("model", str(error), "unsafe")
        return []
    yield Finding(
        "model", f"{encoder.model_version}, bundle {bundle.digest[:12]}, compiled by onnxruntime "
        f"{bundle.manifest.onnxruntime}", "ok",
    )  # fmt: skip
    yield Finding(
        "encoding", f"{encoder.encoding} (this processor is best with {integer_encoding()}); {test.texts} recorded "
        f"texts, cosine at least {test.min_cosine_to_recorded:.6f}", "ok",
    )  # fmt: skip
    sequence = SequenceServing(bundle_folders(settings.models_dir, SEQUENCE), encoder.model_version)
    model = sequence.load_at_start()
    sequence.close()
    if sequence.problem is not None:
        yield Finding("sequence model", sequence.problem, "unsafe")
    elif model is None:
        yield Finding("sequence model", "none is installed: the simple model ranks")
    else:
        yield Finding("sequence model", model.model_version, "ok")
    yield _ranker(settings, model)
    return [encoder] if model is None else [encoder, model]


def _ranker(settings: Settings, sequence: "SequenceModel | None") -> Finding:
    """sequence: the model that is served."""
    from runtime.models.bundle import MANIFEST, Bundle, BundleError
    from runtime.models.installed import RANKER, bundle_folders
    from runtime.models.ranker import load_ranker
    from runtime.personalization.hybrid import prior

    there = [folder for folder in bundle_folders(settings.models_dir, RANKER) if (folder / MANIFEST).exists()]
    if not there:
        return Finding("ranker", f"{prior().version}: no trained one is installed")
    try:
        loaded = load_ranker(Bundle.load(there[0].resolve(), kind="ranker"))
    except BundleError as error:
        return Finding("ranker", f"{error}; {prior().version} ranks", "unsafe")
    action = "no model of the next action"
    if loaded.next_action is not None:
        wanted = loaded.next_action.model.sequence
        action = "with a model of the next action"
        if wanted is not None:
            beside = sequence is not None and loaded.stacks_on(sequence)
            action += f" beside {wanted}" if beside else f" alone: {wanted} is not served"
    fitted, score = loaded.sequence, ""
    if fitted is not None and fitted.ranker is not None:
        if not settings.hybrid_sequence:
            score = f", without the score of {fitted.model_version}: VOWS_HYBRID_SEQUENCE is 0"
        elif sequence is not None and fitted.is_it(sequence):
            score = f", with the score of {sequence.model_version}"
        else:
            score = f", without the score of {fitted.model_version}, which is not served"
    return Finding("ranker", f"{loaded.ranker.version}, {action}{score}", "ok")


def _memory(settings: Settings, workers: int) -> Generator[Finding, None, Settings]:
    """Returns the settings in force: those that were open, chosen as the server would."""
    from runtime.sizing import Held, size

    give_back_freed()
    memory, limit, available = process_memory(), memory_limit(), available_memory()
    # The longest text was run once: one worker's scratch is held already. What is stored is not looked at.
    sizes = size(settings, available, Held(scratches=workers - 1))
    peak = memory.rss + sizes.budget.total
    yield Finding("memory limit", _mib(limit))
    yield Finding("memory available", _mib(available))
    yield Finding("held after loading", f"{_mib(memory.rss)}, of it {_mib(memory.anonymous)} anonymous")
    yield Finding("sizes", sizes.lines())
    if limit is None or available is None:
        yield Finding("predicted peak", f"{_mib(peak)}; the limit is unknown", "unsafe")
        return sizes.settings
    found = f"{_mib(peak)} of {_mib(limit)}"
    try:
        sizes.check()
    except MemoryBudgetError as error:
        yield Finding("predicted peak", f"{found}: {str(error).splitlines()[-1]}", "unsafe")
    else:
        yield Finding("predicted peak", found, "ok")
    return sizes.settings


def _volume(settings: Settings) -> Finding:
    """The folder of the data, or the nearest one above that exists and would hold it."""
    folder = settings.data_dir.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    system = os.statvfs(folder)
    free = system.f_bavail * system.f_frsize
    if not os.access(folder, os.W_OK | os.X_OK) or system.f_flag & os.ST_RDONLY:
        return Finding("data", f"{folder} cannot be written: make it writable, or set VOWS_DATA_DIR", "unsafe")
    if free < MIN_FREE_BYTES:
        return Finding("data", f"{folder} has {_mib(free)} free, {_mib(MIN_FREE_BYTES)} are needed", "unsafe")
    return Finding("data", f"{settings.data_dir.absolute()}, {_mib(free)} free", "ok")


def _sqlite() -> Finding:
    from runtime.store.sqlite.version import bugs_of

    found = bugs_of(sqlite3.sqlite_version_info)
    bad = [bug.name for bug in found if bug.exposed]
    if bad:
        return Finding("SQLite", f"{sqlite3.sqlite_version} can corrupt the database ({', '.join(bad)}): use a newer "
                       "Python or SQLite", "unsafe")  # fmt: skip
    known = "; ".join(f"it has the {bug.name} bug, fixed in {'.'.join(map(str, bug.fixed))}, which cannot strike: "
                      f"{bug.why_not}" for bug in found)  # fmt: skip
    return Finding("SQLite", f"{sqlite3.sqlite_version}; {known or 'no known bug that corrupts'}", "ok")


def check_database(settings: Settings) -> Iterator[Finding]:
    """Read all of the database, also while a server uses it, and list what is damaged."""
    from contextlib import closing

    from runtime.store import StoreError
    from runtime.store.sqlite.connection import DATABASE, open_reader
    from runtime.store.sqlite.integrity import problems

    file = settings.data_dir / DATABASE
    if not file.is_file():
        yield Finding("database", f"there is none at {file}: set VOWS_DATA_DIR to the folder the server uses", "unsafe")
        return
    found = 0
    try:
        with closing(open_reader(file)) as connection:
            for problem in problems(connection):
                found += 1
                yield Finding("damaged", problem, "unsafe")
    except StoreError as error:
        yield Finding("damaged", str(error), "unsafe")
        return
    if found:
        yield Finding(
            "remedy",
            "stop the server and restore a backup: `vows-edge restore FILE --replace`. Without one: store damaged "
            "items and preferences again, take damaged events back; vectors follow from the log",
        )
    else:
        yield Finding("database", f"{file}, {_mib(file.stat().st_size)}: whole", "ok")


def _files(settings: Settings) -> Finding:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    connections = MAX_CONNECTIONS if settings.max_connections == AUTO else settings.max_connections
    needed = connections + SPARE_CONNECTIONS + 32  # and what the process itself keeps open
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        return Finding("open files", f"{allowed}, {needed} are needed: raise `ulimit -n`", "unsafe")
    return Finding("open files", str(allowed), "ok")


def _reach(settings: Settings) -> Finding:
    if settings.api_keys:
        return Finding("reach", f"{settings.host}:{settings.port}, with API keys", "ok")
    if settings.host in ("127.0.0.1", "::1", "localhost"):
        return Finding("reach", f"{settings.host}:{settings.port}, this machine alone", "ok")
    if settings.auth == "disabled":
        return Finding("reach", f"{settings.host}:{settings.port}, anyone who reaches it (VOWS_AUTH=disabled)", "ok")
    return Finding("reach", f"{settings.host} without API keys: the server will not start", "unsafe")


def _mib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / MiB:.1f} MiB"


def report(findings: Iterator[Finding], say: Callable[[str], None]) -> int:
    """Say each finding as it is made, and the sum of them; 0 when the machine is safe, 1 when it is not."""
    unsafe: list[str] = []
    for finding in findings:
        say(f"{finding.verdict:6}  {finding.name:18}  {finding.found}")
        if finding.verdict == "unsafe":
            unsafe.append(finding.name)
    names = ", ".join(dict.fromkeys(unsafe))
    say(f"\nThis machine is not safe: {names}." if unsafe else "\nThis machine is safe.")
    return 1 if unsafe else 0


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="look at this machine: CPU, encoding, limits, predicted peak memory",
        description="Look at this machine with the settings of the environment: the CPU's features and the encoding of "
        "the model that it gets, the limits found, the memory that the server can come to hold, the volume and who can "
        "reach the port. Exit status 0: safe to serve here; 1: not, and why.",
    )
    parser.add_argument(
        "--check-database",
        action="store_true",
        help="instead, read the whole database and list what is damaged; a server may be using it",
    )
    parser.add_argument(
        "--repair-clock",
        action="store_true",
        help="instead, give events whose time was set by a clock that was ahead the time of their arrival; with SQLite "
        "the server must be stopped",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="with --repair-clock: list them and change nothing; it may be running"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        settings = read_settings()
    except SettingsError as error:
        return report(iter([Finding("settings", str(error), "unsafe")]), print)
    if options.repair_clock:
        return report(repair_clock(settings, dry_run=options.dry_run), print)
    if options.check_database:
        return report(check_database(settings), print)
    return report(examine(settings), print)
