"""What every statement has to know of the database and of this machine's settings."""

from dataclasses import dataclass

from runtime.store.postgres.connections import Connection
from runtime.store.postgres.vector_column import VectorColumn
from runtime.store.tombstones import TombstoneLimits


@dataclass(frozen=True, slots=True)
class Context:
    """formula: the key of `decay_per_day` and the strengths in sum_formulas; a user's sums by another are stale here.
    shard: the row of `totals` that this machine counts in. tombstone_key: of the marks in `tombstones`."""

    column: VectorColumn
    dimensions: int
    decay_per_day: float
    formula: int
    shard: int
    tombstones: TombstoneLimits
    tombstone_key: bytes


async def count(connection: Connection, context: Context, name: str, by: int) -> None:
    """Change a row count. Last in a transaction: other machines may wait for the row."""
    if by:
        await connection.execute(f"UPDATE totals SET {name} = {name} + $1 WHERE shard = $2", by, context.shard)
