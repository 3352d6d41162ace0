"""Statements that read content and its vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.personalization import popularity
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context
from runtime.store.postgres.ids import escape, escape_all, unescape
from runtime.store.records import Content, Embedding, Unchanged, Vectors

_COLUMNS = """i.id, c.fields, c.embedding, b.model_version, b.digest, c.tokens, c.truncated, t.popularity,
    c.created_us, c.updated_us, c.hidden, c.key"""
_TABLES = """content c JOIN content_ids i USING (key) JOIN content_totals t USING (key)
    JOIN bundles b ON b.key = c.bundle"""


_VECTORS_BYTES = 1 << 19  # fields read at once with vectors


async def get_some(connection: Connection, context: Context, ids: Sequence[str]) -> list[Content]:
    """Those of `ids` that exist, in the order of `ids`."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM {_TABLES} WHERE i.id = ANY($1::text[])", escape_all(ids))
    found = {row["id"]: row for row in rows}
    return [_content(context, found[stored]) for stored in escape_all(ids) if stored in found]


async def hidden(connection: Connection, ids: Sequence[str]) -> set[str]:
    rows = await connection.fetch(
        "SELECT id FROM content JOIN content_ids USING (key) WHERE id = ANY($1::text[]) AND hidden", escape_all(ids)
    )
    return {unescape(row["id"]) for row in rows}


async def page(
    connection: Connection, context: Context, after: int, limit: int, max_bytes: int
) -> tuple[list[Content], int | None]:
    """See Store.list_content."""
    return await _page(connection, context, "NOT c.hidden", after, limit, max_bytes)


async def _page(
    connection: Connection, context: Context, wanted: str, after: int, limit: int, max_bytes: int, *more: object
) -> tuple[list[Content], int | None]:
    """The database adds up the sizes, so that what does not fit is never sent."""
    rows = await connection.fetch(
        f"""WITH sized AS MATERIALIZED (
            SELECT key, row_number() OVER w AS row, sum(octet_length(fields)) OVER w AS bytes
            FROM (SELECT key, fields FROM content c WHERE key > $1 AND {wanted} ORDER BY key LIMIT $2) first
            WINDOW w AS (ORDER BY key))
        SELECT {_COLUMNS}, (SELECT count(*) FROM sized) AS candidates FROM {_TABLES} JOIN sized s ON s.key = c.key
        WHERE s.row = 1 OR (s.row < $2 AND s.bytes <= $3) ORDER BY c.key""",
        after, limit + 1, max_bytes, *more,
    )  # fmt: skip
    if not rows:
        return [], None
    goes_on = rows[0]["candidates"] > len(rows)
    return [_content(context, row) for row in rows], rows[-1]["key"] if goes_on else None


async def of_other_bundles(
    connection: Connection, context: Context, digest: str, after: int, limit: int, max_bytes: int
) -> tuple[list[Content], int | None]:
    """See Store.content_of_other_bundles."""
    return await _page(
        connection, context, "c.bundle IN (SELECT key FROM bundles WHERE digest <> $4)",
        after, limit, max_bytes, digest,
    )  # fmt: skip


async def without_room(connection: Connection, digest: str, after: int, limit: int) -> list[tuple[int, str]]:
    """See Store.ids_without_room."""
    rows = await connection.fetch(
        """SELECT key, id FROM (
            (SELECT key FROM content WHERE key > $1 AND hidden ORDER BY key LIMIT $3)
            UNION (SELECT key FROM content WHERE key > $1 AND bundle IN (SELECT key FROM bundles WHERE digest <> $2)
                ORDER BY key LIMIT $3)) others
        JOIN content_ids USING (key) ORDER BY key LIMIT $3""",
        after, digest, limit,
    )  # fmt: skip
    return [(key, unescape(id)) for key, id in rows]


async def unchanged(connection: Connection, items: Sequence[tuple[str, bytes]], digest: str) -> dict[str, Unchanged]:
    rows = await connection.fetch(
        f"""SELECT i.id, c.tokens, c.truncated, b.model_version FROM {_TABLES}
        JOIN unnest($1::text[], $2::bytea[]) AS given (id, fields) ON given.id = i.id AND given.fields = c.fields
        WHERE b.digest = $3""",
        escape_all(id for id, _ in items), [fields for _, fields in items], digest,
    )  # fmt: skip
    return {unescape(id): Unchanged(tokens, truncated, version) for id, tokens, truncated, version in rows}


async def vectors(
    connection: Connection, context: Context, digest: str, after: int, rows: int
) -> tuple[Vectors, int] | None:
    """A page of a bundle's vectors and the `after` of the next one; None after the last."""
    found = await connection.fetch(
        """SELECT key, id, fields, embedding FROM (
            SELECT *, sum(octet_length(fields)) OVER (ORDER BY key) - octet_length(fields) AS before FROM (
                SELECT c.key, i.id, c.fields, c.embedding FROM content c JOIN content_ids i USING (key)
                WHERE c.bundle IN (SELECT key FROM bundles WHERE digest = $1) AND c.key > $2 AND NOT c.hidden
                ORDER BY c.key LIMIT $3) page) sized
        WHERE before <= $4 ORDER BY key""",
        digest, after, rows, _VECTORS_BYTES,
    )  # fmt: skip
    if not found:
        return None
    embeddings = np.stack([context.column.decode(row["embedding"]) for row in found])
    return Vectors([unescape(row["id"]) for row in found], [row["fields"] for row in found], embeddings), found[-1][0]


async def embeddings(connection: Connection, context: Context, ids: Sequence[str]) -> dict[str, Embedding]:
    rows = await connection.fetch(
        "SELECT id, embedding FROM content JOIN content_ids USING (key) WHERE id = ANY($1::text[])", escape_all(ids)
    )
    return {unescape(row["id"]): context.column.decode(row["embedding"]) for row in rows}


async def item_counts(connection: Connection, ids: Sequence[str]) -> dict[str, popularity.Counts]:
    rows = await connection.fetch(
        "SELECT id, counts FROM content_totals JOIN content_ids USING (key) "
        "WHERE id = ANY($1::text[]) AND counts IS NOT NULL",
        escape_all(ids),
    )
    return {unescape(row["id"]): np.array(row["counts"], np.float64) for row in rows}


async def engaged_content(
    connection: Connection, after: int, limit: int
) -> tuple[dict[str, popularity.Counts], int | None]:
    rows = await connection.fetch(
        "SELECT key, id, counts FROM content_totals JOIN content_ids USING (key) "
        "WHERE key > $1 AND counts IS NOT NULL ORDER BY key LIMIT $2",
        after,
        limit,
    )
    found = {unescape(row["id"]): np.array(row["counts"], np.float64) for row in rows}
    return found, rows[-1]["key"] if len(rows) == limit else None


async def get(connection: Connection, context: Context, id: str) -> Content | None:
    """See Store.get_content."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM {_TABLES} WHERE i.id = $1", escape(id))
    return None if row is None else _content(context, row)


def _content(context: Context, row: Any) -> Content:
    id, fields, embedding, model_version, digest, tokens, truncated, popular, created_us, updated_us, hidden, *_ = row
    return Content(
        id=unescape(id),
        fields=fields,
        embedding=context.column.decode(embedding),
        model_version=model_version,
        bundle_digest=digest,
        tokens=tokens,
        truncated=truncated,
        popularity=popular,
        created_us=created_us,
        updated_us=updated_us,
        hidden=hidden,
    )
