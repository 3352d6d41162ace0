"""A clock that was ahead: what it stamped is found, shown, and repaired once."""

import time

import msgspec
import pytest

from bench.blocking_store import BlockingStore
from bench.faults.bit_flips import item, preferences
from runtime.cli.main import main
from runtime.store import Interaction
from runtime.store.sqlite.clock_repair import events_ahead
from runtime.store.sqlite.connection import DATABASE
from runtime.store.sqlite.store import SqliteStore

YEARS_US = 20 * 365 * 86_400_000_000
SKEW_US = 300_000_000


def event(id, time_us, user="ann"):
    return Interaction(event_id=id, user_id=user, content_id="barn", type="save", time_us=time_us)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A store whose clock was 20 years ahead for a while; its events, an item and preferences."""
    now_us = time.time_ns() // 1000
    clock = [now_us - 10_000_000]
    store = BlockingStore(SqliteStore(tmp_path, dimensions=384, clock_us=lambda: clock[0]))
    vectors = {"embedding": preferences(0).embedding.repeat(96) / 96**0.5}
    store.put_content([_replaced(item("barn", 0, b"{}"), **vectors), _replaced(item("hall", 1, b"{}"), **vectors)])
    store.add_interactions([event("right", now_us - 20_000_000), event("sent ahead", now_us + YEARS_US)])
    clock[0] += YEARS_US
    store.add_interactions([event("ahead", clock[0]), event("old", 1_000, user="bob")])
    store.put_content([_replaced(item("hall", 1, b'{"a":1}'), **vectors)])
    store.put_preferences("ann", _replaced(preferences(0), **vectors))
    store.close()
    monkeypatch.setenv("VOWS_DATA_DIR", str(tmp_path))
    return tmp_path, now_us


def _replaced(struct, **changes):
    return msgspec.structs.replace(struct, **changes)


def test_a_dry_run_shows_them_and_changes_nothing(data, capsys):
    folder, _ = data
    before = (folder / DATABASE).read_bytes()
    assert main(["doctor", "--repair-clock", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "3 events are ahead" in out
    assert "event 'ahead'" in out
    assert "event 'right'" not in out
    assert (folder / DATABASE).read_bytes() == before


def test_a_repair_gives_them_the_time_of_their_arrival_and_everything_follows(data, capsys):
    folder, now_us = data
    assert main(["doctor", "--repair-clock"]) == 0
    assert "3 events" in capsys.readouterr().out
    later_us = time.time_ns() // 1000
    assert list(events_ahead(folder / DATABASE, now_us=later_us, skew_us=SKEW_US)) == []
    store = BlockingStore(SqliteStore(folder))
    logged = {one.event_id: one for one in store.log()[0]}
    assert logged["right"].time_us == now_us - 20_000_000
    assert logged["sent ahead"].time_us == now_us - 10_000_000  # when it came
    assert now_us <= logged["ahead"].time_us <= later_us
    assert (logged["old"].time_us, logged["old"].received_us <= later_us) == (1_000, True)
    assert all(one.received_us <= later_us for one in logged.values())
    assert store.get_user("ann").stale
    assert store.rebuild_user("ann").sums.reference_us <= later_us
    assert store.get_user("ann").last_updated_us <= later_us
    assert store.get_content("hall").updated_us <= later_us
    assert store.get_preferences("ann").updated_us <= later_us
    assert store.check() == []
    assert store.add_interactions([event("now", later_us)]) == ["stored"]
    assert store.get_user("ann").sums.reference_us == later_us
    store.close()
    assert main(["doctor", "--repair-clock", "--dry-run"]) == 0
    assert "0 events are ahead" in capsys.readouterr().out


def test_a_repair_beside_a_server_is_refused(data, capsys):
    folder, _ = data
    store = BlockingStore(SqliteStore(folder))
    assert main(["doctor", "--repair-clock"]) == 1
    assert "in use by another process" in capsys.readouterr().out
    store.close()
