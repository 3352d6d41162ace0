"""A flipped bit is reported, or changes nothing: never a wrong answer, and never a traceback."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from bench.blocking_store import BlockingStore
from bench.faults.bit_flips import EVENTS, ITEMS, everything, fill, flip_bits, item, plain
from runtime.store import Exposure, Interaction, StoreCorrupt, StoreIOError
from runtime.store.sqlite import acknowledged
from runtime.store.sqlite.connection import DATABASE, LOCK, open_writer
from runtime.store.sqlite.store import SqliteStore


@pytest.fixture
def folder(tmp_path):
    store = BlockingStore(SqliteStore(tmp_path / "data", dimensions=4))
    fill(store)
    before = everything(store)
    store.close()
    return tmp_path / "data", before


def test_no_flipped_bit_of_the_database_gives_a_wrong_answer(tmp_path):
    found = flip_bits(tmp_path, 60, seed=11)
    assert found.silent == []
    assert found.refused_starts


def test_damage_of_one_row_is_found_by_every_check_and_the_rest_is_served(folder, caplog):
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
    store.put_content([item("item-2", 2, b'{"text":"2"}' * 20)])
    assert plain(store.get_content("item-2").embedding) == before["item-2"]["embedding"]
    assert store.rebuild_user("user-3") is not None
    assert not store.get_user("user-3").stale
    store.delete_user("user-1")
    store.delete_interaction("e-4")
    assert store.check() == []
    store.close()


def test_a_text_that_is_no_longer_utf_8_takes_its_own_row_alone(folder, caplog):
    data, _ = folder
    connection = open_writer(data / DATABASE)
    connection.execute("UPDATE interactions SET device = CAST(x'ff' AS TEXT) WHERE sequence = 5")
    connection.execute("UPDATE content_ids SET id = CAST(x'69fe' AS TEXT) WHERE id = 'item-9'")
    connection.close()
    store = BlockingStore(SqliteStore(data, dimensions=4))
    left_out = 1 + EVENTS // ITEMS
    assert len(store.log(limit=EVENTS)[0]) == EVENTS - left_out
    assert caplog.text.count("is not UTF-8") == EVENTS // ITEMS
    assert [len(page.ids) for page in store.vectors("bundle-1", rows=100)] == [ITEMS - 1]
    assert [what for what in store.check() if "e-4" in what]
    store.close()


def test_damaged_counts_of_an_item_are_left_out_until_its_next_event_computes_them_again(folder, caplog):
    data, before = folder
    connection = open_writer(data / DATABASE)
    connection.execute("UPDATE content_ids SET counts = zeroblob(length(counts)) WHERE id IN ('item-3', 'item-4')")
    connection.execute("UPDATE content_ids SET counts = substr(counts, 1, length(counts) - 4) WHERE id = 'item-5'")
    connection.close()
    store = BlockingStore(SqliteStore(data, dimensions=4))
    assert set(before["item counts"]) - set(store.item_counts(list(before["item counts"]))) == {"item-3", "item-4"}
    assert "what is popular of item 'item-3' is left out" in caplog.text
    late = Interaction(event_id="late", user_id="late", content_id="item-3", type="save", time_us=5_000)
    assert store.add_interactions([late]) == ["stored"]
    assert store.delete_interaction("e-4")  # of item-4
    assert store.delete_interaction("late")
    assert plain(store.item_counts(["item-5"])) == {"item-5": before["item counts"]["item-5"]}
    assert set(store.item_counts(["item-3", "item-4"])) == {"item-3", "item-4"}
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


def test_an_event_of_a_type_that_is_none_keeps_no_window_open_and_can_be_sent_again(folder):
    """It counts nowhere, as for every other reader."""
    data, _ = folder
    store = BlockingStore(SqliteStore(data, dimensions=4))
    event = Interaction(event_id="odd", user_id="ann", content_id="item-1", type="save", time_us=1_500)
    others = [
        Interaction(event_id=f"new-{n}", user_id=user, content_id="item-1", type="save", time_us=1_500)
        for n, user in enumerate(("bob", "cyd"))
    ]
    for user in ("ann", "bob"):
        shown = Exposure(
            ranking_id=user, user_id=user, experiment="feed", period=1, arm="control", model_version="v",
            time_us=1_000, items=b"[]", closes_us=2_000, bucket_us=1_000,
        )  # fmt: skip
        store.add_exposures([shown])
    assert store.add_interactions([event, others[0]]) == ["stored", "stored"]
    connection = open_writer(data / DATABASE)
    connection.execute("UPDATE interactions SET type = 9 WHERE event_id = 'odd'")
    connection.close()
    assert store.close_windows(3_000) == 2
    buckets = store.experiment_counts("feed", 1)
    assert (sum(one.closed for one in buckets), sum(one.engaged for one in buckets)) == (2, 1)
    assert store.add_interactions([event, others[1]]) == ["duplicate", "stored"]
    store.close()
