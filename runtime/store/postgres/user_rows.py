"""Users' rows, locked while events are added, and their decayed sums."""

from dataclasses import dataclass

from runtime.personalization.user_vector import Sums
from runtime.store.errors import StoreError
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context

_ROUNDS = 10


@dataclass(slots=True, eq=False)
class User:
    """A row that is locked. stale: the sums are not to be added to. created: by this transaction."""

    key: int
    stale: bool
    created: bool
    added: int = 0
    received_us: int = 0
    sums: Sums | None = None
    changed: bool = False


async def lock_or_add_users(
    connection: Connection, context: Context, ids: set[str], lock: str = "FOR NO KEY UPDATE"
) -> dict[str, User]:
    """The rows of users, by their id as it is stored, locked. lock: FOR KEY SHARE where they only must not go."""
    wanted, created = sorted(ids), set()
    for _ in range(_ROUNDS):  # one that was there may be deleted by who held it
        rows = await connection.fetch(
            f"""SELECT id, key, stale, formula, interaction_count FROM users
            WHERE id = ANY($1::text[]) ORDER BY id {lock}""",
            wanted,
        )
        if len(rows) == len(wanted):
            return {
                id: User(key, stale or (formula != context.formula and events > 0), key in created)
                for id, key, stale, formula, events in rows
            }
        known = {row["id"] for row in rows}
        created |= {
            row["key"]
            for row in await connection.fetch(
                "INSERT INTO users (id, formula) SELECT id, $2 FROM unnest($1::text[]) id ORDER BY id "
                "ON CONFLICT DO NOTHING RETURNING key",
                [id for id in wanted if id not in known], context.formula,
            )
        }  # fmt: skip
    raise StoreError(f"{len(ids)} users are created and deleted at once; repeat the request")


async def load_sums(connection: Connection, context: Context, users: dict[str, User]) -> None:
    """Read the sums that are to be added to."""
    by_key = {user.key: user for user in users.values() if not user.stale and not user.created}
    if by_key:
        rows = await connection.fetch("SELECT key, sums FROM user_sums WHERE key = ANY($1::bigint[])", list(by_key))
        for key, sums in rows:
            by_key[key].sums = Sums.decode(sums, context.dimensions)


async def store_users(connection: Connection, context: Context, users: list[User]) -> None:
    """Write what was added to users, and delete those that were made for nothing."""
    added = [user for user in users if user.added]
    changed = [user for user in users if user.changed and user.sums is not None]
    await connection.execute(
        """UPDATE users u SET interaction_count = interaction_count + d.added, stale = d.stale,
            formula = CASE WHEN d.stale THEN u.formula ELSE $5 END,
            last_updated_us = greatest(last_updated_us, d.received_us)
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[]) d (key, added, received_us, stale)
        WHERE u.key = d.key""",
        [user.key for user in added],
        [user.added for user in added],
        [user.received_us for user in added],
        [user.stale for user in added],
        context.formula,
    )
    await connection.execute(
        """INSERT INTO user_sums (key, sums) SELECT * FROM unnest($1::bigint[], $2::bytea[])
        ON CONFLICT (key) DO UPDATE SET sums = excluded.sums""",
        [user.key for user in changed],
        [user.sums.encode() for user in changed if user.sums is not None],
    )
    unused = [user.key for user in users if user.created and not user.added]
    if unused:
        await connection.execute("DELETE FROM users WHERE key = ANY($1::bigint[])", unused)
