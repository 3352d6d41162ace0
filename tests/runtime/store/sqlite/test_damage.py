"""A flipped bit is reported, or changes nothing: never a wrong answer, and never a traceback."""

import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from bench.blocking_store import BlockingStore
from runtime.store import StoreCorrupt, StoreError, StoreIOError
from runtime.store.sqlite import acknowledged
from runtime.store.sqlite.connection import DATABASE, LOCK, open_writer
from runtime.store.sqlite.store import SqliteStore


def fill(store, item, event, preferences):
    store.put_content([item(f"item-{n}", n, fields=b'{"text":"%d"}' % n * 20) for n in range(40)])
    for n in range(200):
        store.add_interactions([event(f"e-{n}", user=f"user-{n % 9}", content=f"item-{n % 40}", time_us=1_000 + n)])
    for n in range(9):
        store.put_preferences(f"user-{n}", preferences(n, texts=[f"preference {n}"]))


def everything(store):
    """What every reader says; a refusal in the place of what it refuses."""

    def read(call, *arguments, **options):
        try:
            return call(*arguments, **options)
        except StoreError:
            return "refused"

    found = {}
    for n in range(40):
        found[f"item-{n}"] = read(lambda n=n: store.get_content(f"item-{n}"))
    for n in range(9):
        found[f"user-{n}"] = read(lambda n=n: store.get_user(f"user-{n}"))
        found[f"preferences-{n}"] = read(lambda n=n: store.get_preferences(f"user-{n}"))
    found["log"] = read(lambda: store.log(limit=500)[0])
    found["vectors"] = read(lambda: [(list(v.ids), v.embeddings.tolist()) for v in store.vectors("bundle-1", rows=100)])
    found["counts"] = read(store.counts)
    return {name: plain(value) for name, value in found.items()}


def plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "__struct_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if hasattr(value, "encode") and not isinstance(value, str):  # sums
        return value.encode()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def silently_wrong(before, after, log):
    """Names of what is read otherwise than before, and neither refused nor reported."""
    reported = "left out" in log or "damaged" in log
    wrong = [name for name in before if after[name] not in (before[name], "refused")]
    return [] if reported else wrong


@pytest.fixture
def folder(tmp_path, item, event, preferences):
    store = BlockingStore(SqliteStore(tmp_path / "data", dimensions=4))
    fill(store, item, event, preferences)
    before = everything(store)
    store.close()
    return tmp_path / "data", before


def test_no_flipped_bit_of_the_database_gives_a_wrong_answer(folder, tmp_path, caplog):
    data, before = folder
    rng = random.Random(11)
    size = (data / DATABASE).stat().st_size
    outcomes = {"start refused": 0, "reported": 0, "harmless": 0}
    for number in range(60):
        copy = tmp_path / f"flipped-{number}"
        shutil.copytree(data, copy)
        place = rng.randrange(size)
        with (copy / DATABASE).open("r+b") as file:
            byte = os.pread(file.fileno(), 1, place)[0]
            os.pwrite(file.fileno(), bytes([byte ^ (1 << rng.randrange(8))]), place)
        caplog.clear()
        try:
            store = BlockingStore(SqliteStore(copy, dimensions=4))
        except StoreError:
            outcomes["start refused"] += 1
            continue
        after = everything(store)
        store.close()
        assert silently_wrong(before, after, caplog.text) == [], f"byte {place}"
        outcomes["harmless" if after == before else "reported"] += 1
    assert outcomes["start refused"]


def test_damage_of_one_row_is_found_by_every_check_and_the_rest_is_served(folder, item, caplog):
    data, before = folder
    connection = open_writer(data / DATABASE)
    connection.execute("UPDATE content SET embedding = zeroblob(16) WHERE key = 3")
    connection.execute("UPDATE preferences SET preferences = '[\"x\"]' WHERE key = 2")
    connection.execute("UPDATE user_sums SET sums = zeroblob(48) WHERE key = 4")
    connection.execute("UPDATE interactions SET duration_ms = 7 WHERE sequence = 5")
    connection.close()
    store = BlockingStore(SqliteStore(data, dimensions=4))
    assert caplog.text.count("it is damaged on the disk") == 5  # the vector is under two checksums
    with pytest.raises(StoreCorrupt, match=r"the item 'item-2' is damaged .* store it again, or stop .* restore"):
        store.get_content("item-2")
    with pytest.raises(StoreCorrupt, match="the vector of the item"):
        store.embeddings(["item-1", "item-2"])
    with pytest.raises(StoreCorrupt, match="send the preferences again"):
        store.get_preferences("user-1")
    assert store.get_user("user-3").stale
    assert len(store.log(limit=500)[0]) == 199
    assert [len(page.ids) for page in store.vectors("bundle-1", rows=100)] == [39]
    assert len(store.check()) == 5
    store.put_content([item("item-2", 2, fields=b'{"text":"2"}' * 20)])
    assert plain(store.get_content("item-2").embedding) == before["item-2"]["embedding"]
    assert store.rebuild_user("user-3") is not None
    assert not store.get_user("user-3").stale
    store.delete_user("user-1")
    store.delete_interaction("e-4")
    assert store.check() == []
    store.close()


@pytest.mark.parametrize(
    "damage", ["a flipped bit", "cut off", "emptied", "removed", "its header", "an older copy of both"]
)
def test_a_log_that_lost_what_was_acknowledged_refuses_the_start(tmp_path, damage):
    """Killed with commits in the log alone; SQLite would take the damage for the end of the log."""
    data = tmp_path / "data"
    command = [sys.executable, "-m", "bench.faults.store_programs", "acknowledge_for_ever", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while int(process.stdout.readline()) < 20:
        pass
    older = tmp_path / "older"
    shutil.copytree(data, older)
    while int(process.stdout.readline()) < 60:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    log = data / f"{DATABASE}-wal"
    match damage:
        case "a flipped bit":
            content = bytearray(log.read_bytes())
            content[4152 * 5 + 500] ^= 4
            log.write_bytes(content)
        case "cut off":
            os.truncate(log, 4152 * 4)
        case "emptied":
            os.truncate(log, 0)
        case "removed":
            log.unlink()
        case "its header":
            content = bytearray(log.read_bytes())
            content[9] ^= 1
            log.write_bytes(content)
        case _:
            for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
                shutil.copyfile(older / name, data / name)
    with pytest.raises(StoreCorrupt, match=r"commits and \d+ were acknowledged|damaged"):
        SqliteStore(data, dimensions=4)
    (data / LOCK).unlink()  # what the message says, to go on without them
    if damage != "its header":
        BlockingStore(SqliteStore(data, dimensions=4)).close()


def test_a_record_that_is_torn_refuses_nothing(tmp_path, open_store, data_dir, item):
    store = open_store()
    store.put_content([item("barn")])
    store.close()
    for torn in (b"", b"\xff" * 20, b"VOWSACK1" + b"\xff" * 12):
        (data_dir / LOCK).write_bytes(b" " * 64 + torn)
        open_store().close()
    with (data_dir / LOCK).open("r+b") as lock:
        acknowledged.write(lock.fileno(), 10**6)
    with pytest.raises(StoreCorrupt, match="1000000 were acknowledged"):
        open_store()


@pytest.mark.parametrize("gone", ["database", "log", "folder", "replaced"])
def test_files_that_are_deleted_under_the_server_fail_its_writes(open_store, data_dir, item, gone):
    store = open_store()
    store.put_content([item("barn")])
    match gone:
        case "database":
            (data_dir / DATABASE).unlink()
        case "log":
            (data_dir / f"{DATABASE}-wal").unlink()
        case "folder":
            data_dir.rename(data_dir.with_name("elsewhere"))
        case _:
            shutil.copyfile(data_dir / DATABASE, data_dir / "other")
            (data_dir / "other").rename(data_dir / DATABASE)
    for n in range(3):
        with pytest.raises(StoreIOError, match="under the server; nothing written from now on would be kept"):
            store.put_content([item(f"hall-{n}")])
    assert store.get_content("barn") is not None
    store.close()
