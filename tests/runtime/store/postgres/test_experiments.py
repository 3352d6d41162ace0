"""Machines that write to one experiment at once."""

import asyncio
import time

from runtime.store import ExperimentChange, Exposure
from runtime.store.postgres.formula import SEQUENCE_BITS
from runtime.store.postgres.store import open_store

SECOND = 1_000_000


def exposure(ranking_id, user, arm="control", *, time_us=10 * SECOND, closes_us=70 * SECOND):
    return Exposure(
        ranking_id=ranking_id, user_id=user, experiment="feed", period=1, arm=arm, model_version="v", time_us=time_us,
        items=b'[["barn",1.0]]', closes_us=closes_us, bucket_us=SECOND,
    )  # fmt: skip


async def opened(database, machines=3):
    return [await open_store(database, dimensions=4) for _ in range(machines)]


async def closed(stores):
    for store in stores:
        await store.close()


def counted(buckets, name):
    return sum(getattr(bucket, name) for bucket in buckets)


async def test_rankings_and_events_that_wait_together_share_a_transaction(database, item, event):
    (store,) = await opened(database, 1)
    await store.put_content([item("barn")])
    writes = []
    for n in range(100):
        writes.append(store.add_exposures([exposure(f"r-{n}", f"user-{n}")]))
        writes.append(store.add_interactions([event(f"e-{n}", f"user-{n % 7}")]))
    await asyncio.gather(*writes)
    shown, (events, _) = await store.exposures(), await store.log()
    problems = await store.check()
    await store.close()
    assert (len(shown), len(events), problems) == (100, 100, [])
    transactions = {one.sequence >> SEQUENCE_BITS for one in [*shown, *events]}
    assert len(transactions) <= 3


async def test_a_user_whom_all_machines_show_something_at_once_counts_once(database):
    stores = await opened(database)
    for round in range(10):
        await asyncio.gather(
            *(
                store.add_exposures([exposure(f"r-{round}-{machine}-{n}", f"user-{round}-{n}") for n in range(5)])
                for machine, store in enumerate(stores)
            )
        )
    counts = await stores[0].experiment_counts("feed", 1)
    closings = []
    for _ in range(3):  # all machines close at once, twice more than there is to do
        closings += await asyncio.gather(*(store.close_windows(100 * SECOND) for store in stores))
    after = await stores[1].experiment_counts("feed", 1)
    problems = await stores[2].check()
    await closed(stores)
    assert (counted(counts, "users"), counted(counts, "rankings")) == (50, 150)
    assert sum(closings) == counted(after, "closed") == 50
    assert problems == []


async def test_of_changes_that_follow_from_the_same_state_one_is_appended(database):
    stores = await opened(database)
    change = ExperimentChange(experiment="feed", kind="defined", period=1, details=b"{}", time_us=1)
    outcomes, last = [], 0
    for _ in range(10):
        appended = await asyncio.gather(*(store.change_experiment(change, after=last) for store in stores))
        outcomes.append(sum(sequence is not None for sequence in appended))
        last = max(sequence for sequence in appended if sequence is not None)
    found = await stores[0].experiment_changes()
    await closed(stores)
    sequences = [one.sequence for one in found]
    assert outcomes == [1] * 10
    assert len(sequences) == 10
    assert sequences == sorted(sequences)


async def test_a_user_who_is_deleted_while_machines_show_them_rankings_leaves_whole_rows_or_none(database):
    stores = await opened(database)

    async def show(store, machine):
        for n in range(20):
            await store.add_exposures([exposure(f"r-{machine}-{n}", "ann")])

    async def delete():
        receipts = []
        for _ in range(10):
            receipts.append(await stores[2].delete_user("ann"))
            await asyncio.sleep(0.005)
        return receipts

    *_, receipts = await asyncio.gather(show(stores[0], 0), show(stores[1], 1), delete())
    receipts.append(await stores[2].delete_user("ann"))
    left = await stores[0].exposures()
    counts = await stores[0].counts()
    problems = await stores[0].check()
    rankings = counted(await stores[0].experiment_counts("feed", 1), "rankings")
    await closed(stores)
    assert (sum(one.exposures for one in receipts), rankings) == (40, 40)
    assert (left, problems) == ([], [])
    assert (counts.exposures, counts.exposure_bytes, counts.users) == (0, 0, 0)


async def test_a_window_is_not_over_before_the_servers_clock_says_so(database):
    now_us = time.time_ns() // 1_000
    (store,) = await opened(database, 1)
    await store.add_exposures([exposure("r-1", "ann", time_us=now_us, closes_us=now_us + 60 * SECOND)])
    found = await store.close_windows(now_us + 3_600 * SECOND)  # a machine whose clock is an hour ahead
    await store.close()
    assert found == 0


async def test_a_change_wakes_who_waits_for_experiments(database):
    stores = await opened(database, 2)
    await stores[1].feed.begin()
    await stores[1].feed.wait(0.01)  # it listens from here on
    await stores[1].feed.wait_for_experiments(0.01)
    waiting = asyncio.ensure_future(stores[1].feed.wait_for_experiments(60))
    await asyncio.sleep(0.05)
    change = ExperimentChange(experiment="feed", kind="defined", period=1, details=b"{}", time_us=1)
    await stores[0].change_experiment(change, after=0)
    await asyncio.wait_for(waiting, 30)
    await closed(stores)
