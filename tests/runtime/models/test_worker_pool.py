"""The driver with real threads: failures answer their own waiter, those who left are not run, deadlines hold."""

import asyncio
import threading

import numpy as np
import pytest

from runtime.models.disconnection import ClientDisconnected
from runtime.models.embedder import Embedder
from runtime.models.scheduler import QueueFull
from runtime.models.vector_cache import VectorCache
from runtime.models.worker_pool import DeadlineExceeded, WorkerPool


class Gate:
    """Stands for a model run that takes as long as the test wants, and fails where it says so."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = 0
        self.ran: list[int] = []

    async def until_entered(self, times=1):
        """Wait until so many runs have begun."""
        async with asyncio.timeout(60):
            while self.entered < times:
                await asyncio.sleep(0.001)

    def embed(self, ids):
        self.entered += 1  # by the one worker
        self.open.wait(60)
        self.ran.append(int(ids[0]))
        if ids[0] == 13:
            raise RuntimeError("session run 13 failed")
        return np.full(4, ids[0], np.float32)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def pool(gate):
    pool = WorkerPool(gate.embed, workers=1, max_tokens=256, queue_tokens=1024)
    yield pool
    gate.open.set()
    pool.close()


def text(number, tokens=4):
    return np.full(tokens, number, np.int32)


async def test_a_run_that_fails_answers_its_waiter_and_the_next_is_served(pool, gate):
    futures = pool.submit([text(1), text(13), text(2)], bulk=False, timeout_s=60)
    first, failed, last = await asyncio.gather(*futures, return_exceptions=True)
    assert (first.vector[0], last.vector[0]) == (1, 2)
    assert str(failed) == "session run 13 failed"


async def test_a_cancelled_text_is_never_run(pool, gate):
    gate.open.clear()
    running, waiting, kept = (pool.submit([text(n)], bulk=False, timeout_s=60)[0] for n in (1, 2, 3))
    await gate.until_entered()
    waiting.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(running, kept)
    assert gate.ran == [1, 3]
    assert pool.waiting_tokens == 0


async def test_a_text_past_its_deadline_is_an_error_and_not_run(pool, gate):
    gate.open.clear()
    (running,) = pool.submit([text(1)], bulk=False, timeout_s=60)
    (late,) = pool.submit([text(2)], bulk=False, timeout_s=0.01)
    await asyncio.sleep(0.05)
    gate.open.set()
    await running
    with pytest.raises(DeadlineExceeded):
        await late
    assert gate.ran == [1]


async def test_a_full_queue_is_refused_at_once_and_takes_work_again(pool, gate):
    gate.open.clear()
    accepted = [pool.submit([text(n, 200)], bulk=False, timeout_s=60)[0] for n in range(1, 6)]
    await gate.until_entered()  # the first is taken out of the queue and runs
    accepted += pool.submit([text(6, 200)], bulk=False, timeout_s=60)
    with pytest.raises(QueueFull):
        pool.submit([text(9, 200)], bulk=False, timeout_s=60)
    gate.open.set()
    await asyncio.gather(*accepted)
    await pool.submit([text(7)], bulk=False, timeout_s=60)[0]
    assert gate.ran[-1] == 7


class Words:
    """The real tokenizer in front of the gate."""

    def __init__(self, encoder) -> None:
        self.tokenize, self.tokenizer, self.max_tokens = encoder.tokenize, encoder.tokenizer, encoder.max_tokens


async def test_a_client_that_hangs_up_takes_its_batch_out_of_the_queue(pool, gate, encoder):
    embedder = Embedder(Words(encoder), pool, VectorCache(0), timeout_s=60, batch_timeout_s=60)
    gate.open.clear()

    async def disconnected():
        return True

    with pytest.raises(ClientDisconnected):
        await embedder.embed_batch(["one", "two", "three"], disconnected)
    await asyncio.sleep(0)
    gate.open.set()
    await embedder.embed("four")
    assert len(gate.ran) == 2  # the one that was running when the client left, and the next client's


async def test_a_batch_behind_others_ends_at_its_deadline_with_an_estimate_of_the_wait(pool, gate, encoder):
    embedder = Embedder(Words(encoder), pool, VectorCache(0), timeout_s=60, batch_timeout_s=0.3)
    gate.open.clear()
    other = asyncio.ensure_future(embedder.embed_batch(["word " * 300] * 2))  # takes all the room there is
    await gate.until_entered()
    with pytest.raises(DeadlineExceeded, match=r"waited 0.3 s \(VOWS_BATCH_TIMEOUT_S\) behind \d+ tokens") as late:
        await embedder.embed_batch(["one", "two"])
    assert late.value.retry_after_s > 0
    gate.open.set()
    await asyncio.gather(other, return_exceptions=True)
    assert (await embedder.embed_batch(["one", "two"]))[0].tokens == 3
    assert embedder.lined_up_tokens == embedder._room.held == 0


async def test_cancelled_batches_leave_nothing_behind(pool, gate, encoder):
    """Cancelled while tokenising, in line and in the queue: all room is given back."""
    embedder = Embedder(Words(encoder), pool, VectorCache(0), timeout_s=60, batch_timeout_s=60)
    gate.open.clear()
    for wait_s in (0, 0.001, 0.01, 0.1):
        batches = [asyncio.ensure_future(embedder.embed_batch(["word " * 300] * 5)) for _ in range(4)]
        await asyncio.sleep(wait_s)
        for batch in batches:
            batch.cancel()
        await asyncio.gather(*batches, return_exceptions=True)
    gate.open.set()
    assert (await embedder.embed_batch(["one", "two"]))[0].tokens == 3
    async with asyncio.timeout(60):
        while embedder.lined_up_tokens or embedder._room.held or pool.waiting_tokens:
            await asyncio.sleep(0.001)
