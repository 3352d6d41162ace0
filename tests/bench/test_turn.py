import fcntl
import os
import subprocess
import threading

from bench.turn import measuring_turn


def test_a_turn_waits_for_whoever_has_the_lock_and_puts_everything_back(tmp_path, monkeypatch):
    lock = tmp_path / "lock"
    lock.touch()
    monkeypatch.setenv("VOWS_BENCH_TURN", str(lock))
    before = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    core = min(before[0])
    inside = []
    done = threading.Event()

    def measure():
        with measuring_turn({os.getpid()}, core):
            inside.append(os.sched_getaffinity(0))
        done.set()

    with lock.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=measure)
        thread.start()
        assert not done.wait(0.2)
        assert inside == []
    thread.join()
    assert inside == [{core}]
    assert (os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)) == before


def test_without_a_lock_a_turn_only_chooses_the_core(monkeypatch):
    monkeypatch.delenv("VOWS_BENCH_TURN", raising=False)
    priority, cores = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    with measuring_turn({os.getpid()}, max(cores)):
        assert os.sched_getaffinity(0) == {max(cores)}
        assert os.getpriority(os.PRIO_PROCESS, 0) == priority
    assert os.sched_getaffinity(0) == cores


def test_a_process_that_ends_within_its_turn_is_no_error(tmp_path, monkeypatch):
    lock = tmp_path / "lock"
    lock.touch()
    monkeypatch.setenv("VOWS_BENCH_TURN", str(lock))
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with measuring_turn({process.pid}, min(os.sched_getaffinity(0))):
        process.kill()
        process.wait()
