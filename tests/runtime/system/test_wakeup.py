"""Each wake ends one wait, whether it comes before or while somebody waits."""

import threading
import time

import pytest

from runtime.system.wakeup import Wakeup


@pytest.fixture
def wakeup():
    made = Wakeup()
    yield made
    made.close()


def test_a_wake_that_comes_first_is_not_lost(wakeup):
    wakeup.wake()
    wakeup.wait()


def test_each_wake_ends_one_wait_of_many_threads(wakeup):
    woken = threading.Semaphore(0)

    def sleep():
        wakeup.wait()
        woken.release()

    threads = [threading.Thread(target=sleep, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    wakeup.wake(3)
    assert all(woken.acquire(timeout=10) for _ in range(3))
    assert not woken.acquire(timeout=0.05)
    wakeup.wake()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_a_wait_with_a_limit_ends_by_itself_and_takes_a_wake_before(wakeup):
    started = time.monotonic()
    wakeup.wait_for(0.05)
    assert time.monotonic() - started >= 0.04
    wakeup.wake()
    wakeup.wait_for(60)


def test_more_wakes_than_a_pipe_holds_do_not_block(wakeup):
    for _ in range(40):
        wakeup.wake(4096)
    wakeup.wait()


def test_it_may_be_closed_twice():
    wakeup = Wakeup()
    wakeup.close()
    wakeup.close()
