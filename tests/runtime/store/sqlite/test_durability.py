"""What an acknowledgement is worth: after a kill, by counting syncs, and when any one call to the system fails."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.faults import store_programs
from tests.waiting import WAIT_S

ROOT = Path(__file__).parents[4]


def start(program, folder, preload=None, prelude=""):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"LD_PRELOAD": str(preload)} if preload else {})
    command = [sys.executable, store_programs.__file__, program, str(folder)]
    if prelude:
        run = f"runpy.run_path({command[1]!r}, run_name='__main__')"
        code = f"import sys, runpy\n{prelude}\nsys.argv = {command[1:]!r}\n{run}"
        command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_was_acknowledged_survives_a_kill(open_store, data_dir):
    child = start("acknowledge_for_ever", data_dir)
    acknowledged = [child.stdout.readline().strip() for _ in range(300)]
    child.send_signal(signal.SIGKILL)
    acknowledged += child.stdout.read().split()  # printed before it died
    child.wait(timeout=WAIT_S)
    child.stderr.close()
    store = open_store()
    logged = [entry.event_id for entry in store.log(limit=100_000)[0]]
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= set(logged)
    assert len(logged) == len(set(logged))
    assert store.check() == []
    state = store.get_user("ann")
    assert state.interaction_count == len(logged)
    assert state.sums.weight == pytest.approx(store.rebuild_user("ann").sums.weight)


def trace(tmp_path, faults, prelude=""):
    child = start("trace_acknowledgements", tmp_path / "data", preload=faults, prelude=prelude)
    _, trace = child.communicate(timeout=WAIT_S)
    assert child.returncode == 0, trace
    assert re.fullmatch("[WSAB]*", trace), trace
    single, group, _ = trace.split("B")
    return single.split("A")[:-1], group


def test_every_acknowledgement_comes_after_a_sync_of_all_that_was_written(tmp_path, faults):
    singles, group = trace(tmp_path, faults)
    assert len(singles) == 20
    for calls in singles:
        assert re.fullmatch("[WS]*W+S+", calls), singles
    assert 1 <= group.count("S") < 50  # 200 events: many share a sync
    assert group.endswith("S")


def test_the_count_would_notice_a_lower_setting(tmp_path, faults):
    normal = "from runtime.store.sqlite import connection\nconnection._WRITER_PRAGMAS['synchronous'] = ('NORMAL', 1)"
    singles, _ = trace(tmp_path, faults, prelude=normal)
    assert not all(re.fullmatch("[WS]*W+S+", calls) for calls in singles)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "at_least"), [("fail_each_call_of_writes", 100), ("fail_each_call_of_copies", 40)])
def test_any_call_may_fail_once_or_for_good(tmp_path, faults, program, at_least):
    child = start(program, tmp_path, preload=faults)
    out, err = child.communicate(timeout=1800)
    assert child.returncode == 0, err
    assert int(out) > at_least
