"""Programs on the store alone, each for a process of its own: `python -m bench.faults.store_programs NAME FOLDER`."""

import asyncio
import ctypes
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.blocking_store import BlockingStore
from runtime.store import ContentItem, Interaction, StoreError
from runtime.store.sqlite import connection
from runtime.store.sqlite.backup import back_up, restore
from runtime.store.sqlite.connection import DATABASE
from runtime.store.sqlite.store import SqliteStore


@dataclass
class Promise:
    """What was acknowledged: ids of events, and users that were deleted."""

    events: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


def item(id: str, seed: int = 0) -> ContentItem:
    """An item with a vector drawn from the seed."""
    embedding = np.random.default_rng(seed).standard_normal(4).astype(np.float32)
    return ContentItem(
        id=id,
        fields=b"{}",
        embedding=embedding,
        model_version="v1",
        bundle_digest="bundle-1",
        tokens=1,
        truncated=False,
    )


def event(id: str, user: str = "ann") -> Interaction:
    """A view of the barn."""
    return Interaction(event_id=id, user_id=user, content_id="barn", type="view", time_us=int(id))


def acknowledge_for_ever(folder: Path) -> None:
    """Prints each event's id once it is acknowledged, until killed."""
    asyncio.run(_acknowledge_for_ever(SqliteStore(folder, dimensions=4)))


async def _acknowledge_for_ever(store: SqliteStore) -> None:
    await store.put_content([item("barn")])
    n = 0
    while True:
        writes = [asyncio.ensure_future(store.add_interactions([event(str(n + i))])) for i in range(7)]
        for i, write in enumerate(writes):
            assert await write == ["stored"]
            print(n + i, flush=True)
        n += 7


def trace_acknowledgements(folder: Path) -> None:
    """Standard error gets W and S from the preloaded library, A for each acknowledgement, and B for a group of 200."""
    asyncio.run(_trace_acknowledgements(SqliteStore(folder, dimensions=4)))


async def _trace_acknowledgements(store: SqliteStore) -> None:
    await store.put_content([item("barn")])
    library = ctypes.CDLL(None)
    library.faults_trace(1)
    for n in range(20):
        await store.add_interactions([event(str(n))])
        os.write(2, b"A")
    os.write(2, b"B")
    await asyncio.gather(*(store.add_interactions([event(str(n))]) for n in range(100, 300)))
    os.write(2, b"B")
    library.faults_trace(0)
    await store.close()


def note_acknowledgements(folder: Path) -> None:
    """The preloaded library records what the store asks of the system, and each event's id once it is acknowledged."""
    asyncio.run(_note_acknowledgements(SqliteStore(folder, dimensions=4)))


def note_acknowledgements_without_syncs(folder: Path) -> None:
    """The same with synchronous=NORMAL, which acknowledges what no sync has followed: a power cut has to lose it."""
    vars(connection)["_WRITER_PRAGMAS"]["synchronous"] = ("NORMAL", 1)
    note_acknowledgements(folder)


async def _note_acknowledgements(store: SqliteStore) -> None:
    library = ctypes.CDLL(None)
    await store.put_content([item("barn")])
    for n in range(1, 121):
        if n % 30 == 0:  # pages enough for a checkpoint now and then
            await store.put_content([item(f"item-{n}-{i}", i) for i in range(200)])
        if n % 50 == 0:
            await store.delete_user("bob")
        await store.add_interactions([event(str(n), "bob" if n % 7 == 0 else "ann")])
        library.faults_note(ctypes.c_long(n))
    await store.close()


def fail_each_call_of_writes(folder: Path) -> None:
    """Writes of every kind under each fault; prints how many runs met one."""
    print(_fail_each_call(folder, _new_store, _write, _look))


def fail_each_call_of_copies(folder: Path) -> None:
    """A backup, and a restore over another database, under each fault; prints how many runs met one."""
    print(_fail_each_call(folder, _two_stores, _back_up_and_restore, _look_at_copies))


def _fail_each_call(
    folder: Path,
    prepare: Callable[[Path], None],
    work: Callable[[Path], Promise],
    look: Callable[[Path, Promise], None],
) -> int:
    """The 1st, 2nd, … call fails, once and for good, until a run meets no fault. How many runs met one."""
    library = ctypes.CDLL(None)
    library.faults_fired.restype = ctypes.c_long
    met = 0
    prepare(folder / "new")
    for for_good in (0, 1):
        nth = 1
        while True:
            run = folder / f"{for_good}-{nth}"
            shutil.copytree(folder / "new", run)
            library.faults_arm(ctypes.c_long(nth), for_good)
            promise = work(run)
            fired = library.faults_fired()
            library.faults_arm(ctypes.c_long(0), 0)
            look(run, promise)
            shutil.rmtree(run)
            if not fired:
                break
            met += 1
            nth += 1
    return met


def _new_store(run: Path) -> None:
    BlockingStore(SqliteStore(run, dimensions=4)).close()


def _write(run: Path) -> Promise:
    promise = Promise()
    try:
        store = BlockingStore(SqliteStore(run, dimensions=4))
    except StoreError:
        return promise
    steps: list[Callable[[], Any]] = [
        lambda: store.put_content([item("barn")]),
        lambda: store.add_interactions([event("1"), event("2", "bob")]),
        lambda: store.add_interactions([event("3")]),
        lambda: store.delete_user("bob"),
        lambda: store.put_content([item("barn", 1)]),
        lambda: store.rebuild_user("ann"),
        lambda: store.add_interactions([event("4")]),
    ]
    wrote = {1: {"1", "2"}, 2: {"3"}, 6: {"4"}}
    for number, step in enumerate(steps):
        if number == 3:
            promise.events.discard("2")  # its deletion is requested: from here on it may be there or not
        try:
            result = step()  # a hang ends at the limit of whoever runs this
        except StoreError:
            continue  # the named error; the thread must live on for the next step
        if number in wrote and "unknown_content" not in result:
            promise.events |= wrote[number]
        if number == 3:
            promise.deleted.add("bob")
    store.close()
    return promise


def _look(run: Path, promise: Promise) -> None:
    """A start without faults: the file is whole, what was acknowledged is there, the sums are what the log says."""
    store = BlockingStore(SqliteStore(run, dimensions=4))
    assert store.check() == []
    log = store.log()[0]
    assert promise.events <= {entry.event_id for entry in log}, (run, promise, log)
    assert not promise.deleted & {entry.user_id for entry in log}
    if promise.deleted:
        assert not [file for file in run.iterdir() if b"bob" in file.read_bytes()]
    for user in ("ann", "bob"):
        state = store.get_user(user)
        mine = [entry for entry in log if entry.user_id == user]
        assert (state.interaction_count if state else 0) == len(mine)
        if state and not state.stale and state.sums:
            rebuilt = store.rebuild_user(user)
            assert rebuilt is not None
            assert rebuilt.sums is not None
            np.testing.assert_allclose(state.sums.weighted, rebuilt.sums.weighted, atol=1e-12)
    content = store.get_content("barn")
    if content:
        assert content.popularity == len(log)
    counts = store.counts()
    assert counts.interactions == len(log)
    store.close()


def _two_stores(run: Path) -> None:
    """One with events 1 and 2, and another with event 9."""
    for name, events in (("source", ("1", "2")), ("target", ("9",))):
        store = BlockingStore(SqliteStore(run / name, dimensions=4))
        store.put_content([item("barn")])
        for id in events:
            store.add_interactions([event(id)])
        store.close()


def _back_up_and_restore(run: Path) -> Promise:
    promise = Promise()
    copy = run / f"copy of {DATABASE}"
    with suppress(StoreError):  # the named error
        back_up(run / "source" / DATABASE, copy)
        promise.events.add("backup")
        restore(copy, run / "target", replace=True)
        promise.events.add("restore")
    return promise


def _look_at_copies(run: Path, promise: Promise) -> None:
    """Both databases are whole, the target one or the other, and nothing half made lies about."""
    names = {path.name for path in run.iterdir()}
    assert names - {f"copy of {DATABASE}"} == {"source", "target"}, names
    found = {}
    for name in ("source", "target"):
        store = BlockingStore(SqliteStore(run / name, dimensions=4))
        assert store.check() == []
        found[name] = {entry.event_id for entry in store.log()[0]}
        store.close()
        left = {path.name for path in (run / name).iterdir()}
        assert left == {"lock", DATABASE}, (run, promise, left)
    assert found["source"] == {"1", "2"}
    assert found["target"] in ({"9"}, {"1", "2"})
    if "restore" in promise.events:
        assert found["target"] == {"1", "2"}
    if "backup" in promise.events:
        restore(run / f"copy of {DATABASE}", run / "again", replace=False)


PROGRAMS: dict[str, Callable[[Path], None]] = {
    program.__name__: program
    for program in (
        acknowledge_for_ever,
        trace_acknowledgements,
        note_acknowledgements,
        note_acknowledgements_without_syncs,
        fail_each_call_of_writes,
        fail_each_call_of_copies,
    )
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
