"""Postgres goes away, or the network between: reads and writes fail at once and cleanly, and all is well afterwards."""

import asyncio
import time

import pytest

from bench.tcp_proxy import TcpProxy
from runtime.store import StoreBusy, StoreUnreachable
from runtime.store.postgres.store import open_store


@pytest.fixture
def proxy(postgres_server):
    proxy = TcpProxy(postgres_server.socket)
    yield proxy
    proxy.close()


# Of a connection attempt and a statement: what a silent network costs a test, and a busy machine must stay within.
TIMEOUT_S = 3


def through(proxy, database):
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{database.split('/')[3].split('?')[0]}"


async def until_back(store):
    async with asyncio.timeout(60):
        while store.unavailable() is not None:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("network", ["refused", "silent"])
async def test_a_cut_network_is_an_error_at_once_and_recovery_needs_no_restart(database, proxy, network, item, event):
    store = await open_store(through(proxy, database), dimensions=4, timeout_s=TIMEOUT_S)
    await store.put_content([item("barn")])
    proxy.set(network)
    with pytest.raises(StoreUnreachable):
        await store.get_user("ann")
    assert store.unavailable() is not None
    started = time.monotonic()
    for _ in range(200):  # none of them tries to connect, which would take TIMEOUT_S each in a silent network
        with pytest.raises(StoreUnreachable):
            await store.get_user("ann")
        with pytest.raises(StoreUnreachable):
            await store.add_interactions([event("1")])
    assert time.monotonic() - started < 100 * TIMEOUT_S
    proxy.set("up")
    await until_back(store)
    assert await store.add_interactions([event("1")]) == ["stored"]
    problems = await store.check()
    await store.close()
    assert problems == []


async def test_one_patient_attempt_at_a_time_while_it_is_away(database, proxy):
    # 1,500 requests in 3 s, at most four of which had begun to connect; waits grow from 0.1 s to 5 s, at random
    store = await open_store(through(proxy, database), dimensions=4, timeout_s=TIMEOUT_S)
    await asyncio.gather(*(store.get_user("ann") for _ in range(50)))
    proxy.set("refused")

    async def ask():
        with pytest.raises((StoreUnreachable, StoreBusy)):
            await store.get_user("ann")

    before = proxy.accepted
    for _ in range(30):
        await asyncio.gather(*(ask() for _ in range(50)))
        await asyncio.sleep(0.1)
    tried = proxy.accepted - before
    proxy.set("up")
    await until_back(store)
    await store.close()
    assert tried <= 40


async def test_connections_stay_few_under_any_number_of_requests(database, proxy):
    store = await open_store(through(proxy, database), dimensions=4, most_connections=3)
    before = proxy.accepted
    await asyncio.gather(*(store.get_user(f"user-{n}") for n in range(300)))
    await store.close()
    assert (proxy.accepted - before) <= 3


async def test_what_was_acknowledged_between_cuts_is_there_once(database, proxy, item, event):
    store = await open_store(through(proxy, database), dimensions=4, timeout_s=TIMEOUT_S)
    await store.put_content([item("barn")])
    acknowledged, stopping = [], False

    async def client(number):
        n = 0
        while not stopping:
            id = f"{number}-{n}"
            try:
                outcome = await store.add_interactions([event(id, user=f"user-{number}")])
            except StoreUnreachable:
                await asyncio.sleep(0.02)
                continue  # the same event again
            acknowledged.append((id, outcome))
            n += 1

    clients = [asyncio.ensure_future(client(number)) for number in range(4)]
    for n in range(6):
        async with asyncio.timeout(60):
            while len(acknowledged) < 4 * (n + 1):
                await asyncio.sleep(0.01)
        proxy.set("silent" if n % 3 == 2 else "refused")
        await asyncio.sleep(0.1)
        proxy.set("up")
        await until_back(store)
    stopping = True
    await asyncio.gather(*clients)
    stored = [entry.event_id for entry in (await store.log(limit=100_000))[0]]
    problems = await store.check()
    await store.close()
    assert {id for id, _ in acknowledged} <= set(stored)
    assert len(stored) == len(set(stored))
    assert problems == []
    assert len(acknowledged) >= 24
