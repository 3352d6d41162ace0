"""What a write changes on the disk takes no memory: a savepoint would keep all of it as it was."""

from pathlib import Path

import pytest

from bench.process_memory import parse_kilobytes

MIB = 1 << 20


@pytest.fixture
def grown():
    """MiB by which this process's highest resident memory grows in a call."""

    def measure(call):
        Path("/proc/self/clear_refs").write_text("5")
        before = parse_kilobytes(Path("/proc/self/status").read_text())["VmHWM"]
        call()
        return (parse_kilobytes(Path("/proc/self/status").read_text())["VmHWM"] - before) / MIB

    return measure


def test_replacing_many_long_items_at_once(store, item, grown):
    for n in range(64):
        store.put_content([item(f"item-{n}", n, fields=b"x" * MIB)])
    assert grown(lambda: store.put_content([item(f"item-{n}", n) for n in range(64)])) < 24


def test_deleting_a_user_with_much_to_delete(store, item, event, grown):
    store.put_content([item("barn")])
    for start in range(0, 16_000, 1000):
        context = b'{"a":"%b"}' % (b"x" * 4000)
        store.add_interactions([event(str(n), context=context) for n in range(start, start + 1000)])
    assert grown(lambda: store.delete_user("ann")) < 24
