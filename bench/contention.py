"""Writers on several machines who change the same user's sums and the same item's popularity, in two designs.

row locks: one row a user, read under a lock, changed by the machine, written back. additive: a row for each user and
machine, which no other machine touches; who reads adds them up. Both in one transaction with the event and with the
item's popularity, as the store does it.
"""

import asyncio
import time
from typing import Any, Literal

import numpy as np

from bench.postgres import PostgresServer

Design = Literal["row locks", "additive"]
_SUMS_BYTES = 3_088
_READS = 200

_TABLES = """
    DROP TABLE IF EXISTS events, sums, totals;
    CREATE TABLE events (id text PRIMARY KEY, "user" bigint NOT NULL, item bigint NOT NULL);
    CREATE TABLE sums ("user" bigint, machine bigint, sums bytea NOT NULL, PRIMARY KEY ("user", machine))
        WITH (toast_tuple_target = 4080, fillfactor = 50);
    ALTER TABLE sums ALTER sums SET STORAGE MAIN;
    CREATE TABLE totals (item bigint PRIMARY KEY, popularity bigint NOT NULL) WITH (fillfactor = 70);
    INSERT INTO totals SELECT n, 0 FROM generate_series(0, 999) n;"""


class Measured:
    """events_per_s; write_ms and read_ms: one each transaction and each read of a user's sums."""

    def __init__(self) -> None:
        self.events_per_s = 0.0
        self.write_ms: list[float] = []
        self.read_ms: list[float] = []


async def measure(server: PostgresServer, design: Design, *, machines: int, users: int, seconds: float) -> Measured:
    """Events one by one from each of `machines`, over so many users and items."""
    import asyncpg

    connections = [await asyncpg.connect(server.url()) for _ in range(machines)]
    await connections[0].execute(_TABLES)
    found, until = Measured(), time.monotonic() + seconds

    async def machine(number: int, connection: Any) -> None:
        draw = np.random.default_rng(number)
        n = 0
        while time.monotonic() < until:
            n += 1
            user = int(draw.integers(users))
            started = time.perf_counter()
            await _event(connection, f"{number}-{n}", user, number + 1 if design == "additive" else 0)
            found.write_ms.append(1e3 * (time.perf_counter() - started))

    await asyncio.gather(*(machine(number, connection) for number, connection in enumerate(connections)))
    found.events_per_s = len(found.write_ms) / seconds
    for n in range(_READS):
        started = time.perf_counter()
        rows = await connections[0].fetch('SELECT sums FROM sums WHERE "user" = $1', n % users)
        np.sum([np.frombuffer(row["sums"], "<f8") for row in rows], axis=0)
        found.read_ms.append(1e3 * (time.perf_counter() - started))
    for connection in connections:
        await connection.close()
    return found


async def _event(connection: Any, id: str, user: int, row: int) -> None:
    await connection.execute("BEGIN")
    if row == 0:  # the row that every machine changes
        await connection.execute("SELECT pg_advisory_xact_lock($1)", user)  # also before there is a row to lock
    await connection.execute("INSERT INTO events VALUES ($1, $2, $2)", id, user)
    stored = await connection.fetchval('SELECT sums FROM sums WHERE "user" = $1 AND machine = $2', user, row)
    sums = np.zeros(_SUMS_BYTES // 8) if stored is None else np.frombuffer(stored, "<f8")
    await connection.execute(
        'INSERT INTO sums VALUES ($1, $2, $3) ON CONFLICT ("user", machine) DO UPDATE SET sums = excluded.sums',
        user, row, (sums + 1).tobytes(),
    )  # fmt: skip
    await connection.execute("UPDATE totals SET popularity = popularity + 1 WHERE item = $1", user)
    await connection.execute("COMMIT")
