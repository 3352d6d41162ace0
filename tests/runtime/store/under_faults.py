"""Programs that test_durability.py runs in a process of their own: `python under_faults.py NAME FOLDER`."""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np

from runtime.store import ContentItem, Interaction, StoreError
from runtime.store.sqlite import SqliteStore


def item(id, seed=0):
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


def event(id, user="ann"):
    return Interaction(event_id=id, user_id=user, content_id="barn", type="view", time_us=int(id))


def acknowledge_for_ever(folder):
    """Prints each event's id once it is acknowledged, until killed."""
    store = SqliteStore(folder, dimensions=4)
    store.put_content([item("barn")]).result()
    n = 0
    while True:
        futures = [store.add_interactions([event(str(n + i))]) for i in range(7)]
        for i, future in enumerate(futures):
            assert future.result() == ["stored"]
            print(n + i, flush=True)
        n += 7


def trace_acknowledgements(folder):
    """Standard error gets W and S from the preloaded library, A for each acknowledgement, and B for a group of 200."""
    store = SqliteStore(folder, dimensions=4)
    store.put_content([item("barn")]).result()
    library = ctypes.CDLL(None)
    library.faults_trace(1)
    for n in range(20):
        store.add_interactions([event(str(n))]).result()
        os.write(2, b"A")
    os.write(2, b"B")
    for future in [store.add_interactions([event(str(n))]) for n in range(100, 300)]:
        future.result()
    os.write(2, b"B")
    library.faults_trace(0)
    store.close()


def fail_each_call(folder):
    """The 1st, 2nd, … call fails, once and for good, until a run meets no fault. Prints how many runs met one."""
    library = ctypes.CDLL(None)
    library.faults_fired.restype = ctypes.c_long
    met = 0
    for for_good in (0, 1):
        nth = 1
        while True:
            run = Path(folder) / f"{for_good}-{nth}"
            SqliteStore(run, dimensions=4).close()
            library.faults_arm(ctypes.c_long(nth), for_good)
            acknowledged, deleted = work(run)
            fired = library.faults_fired()
            library.faults_arm(ctypes.c_long(0), 0)
            look(run, acknowledged, deleted)
            if not fired:
                break
            met += 1
            nth += 1
    print(met)


def work(run):
    """Writes of every kind. Returns what was acknowledged: ids of events, and users that were deleted."""
    acknowledged, deleted = set(), set()
    try:
        store = SqliteStore(run, dimensions=4)
    except StoreError:
        return acknowledged, deleted
    steps = [
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
            acknowledged.discard("2")  # its deletion is asked for: from here on it may be there or not
        try:
            result = step().result(timeout=20)
        except StoreError:
            continue  # the named error; the thread must live on for the next step
        if number in wrote and "unknown_content" not in result:
            acknowledged |= wrote[number]
        if number == 3:
            deleted.add("bob")
    store.close()
    return acknowledged, deleted


def look(run, acknowledged, deleted):
    """A start without faults: the file is whole, what was acknowledged is there, the sums are what the log says."""
    store = SqliteStore(run, dimensions=4)
    assert store.check() == []
    log = store.log()
    assert acknowledged <= {entry.event_id for entry in log}, (run, acknowledged, log)
    assert not deleted & {entry.user_id for entry in log}
    if deleted:
        assert not [file for file in run.iterdir() if b"bob" in file.read_bytes()]
    for user in ("ann", "bob"):
        state = store.get_user(user)
        mine = [entry for entry in log if entry.user_id == user]
        assert (state.interaction_count if state else 0) == len(mine)
        if state and not state.stale and state.sums:
            kept, rebuilt = state.sums, store.rebuild_user(user).result().sums
            np.testing.assert_allclose(kept.weighted, rebuilt.weighted, atol=1e-12)
    content = store.get_content("barn")
    if content:
        assert content.popularity == len(log)
    counts = store.counts()
    assert counts.interactions == len(log)
    store.close()


if __name__ == "__main__":
    programs = {program.__name__: program for program in (acknowledge_for_ever, trace_acknowledgements, fail_each_call)}
    programs[sys.argv[1]](Path(sys.argv[2]))
