"""A column of vectors: pgvector's type where the database has it, else the bytes of SQLite's."""

import struct
from typing import Literal

import numpy as np

from runtime.store.postgres.connections import Connection
from runtime.store.records import Embedding

Kind = Literal["vector", "bytea"]

_HEADER = struct.Struct(">HH")  # of pgvector's binary format: dimensions, and 0


class VectorColumn:
    """Turns vectors into what asyncpg sends and back, bit for bit, for one kind of column."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def encode(self, embedding: Embedding) -> bytes:
        """A vector [dimensions] as the column's value."""
        if self.kind == "bytea":
            return embedding.astype("<f4", copy=False).tobytes()
        return _HEADER.pack(len(embedding), 0) + embedding.astype(">f4").tobytes()

    def decode(self, stored: bytes) -> Embedding:
        """The vector of a column's value, float32 [dimensions]."""
        if self.kind == "bytea":
            return np.frombuffer(stored, "<f4")
        return np.frombuffer(stored, ">f4", offset=_HEADER.size).astype("<f4")


async def find_kind(connection: Connection) -> Kind:
    """How this database stores vectors."""
    found = await connection.fetchval(
        "SELECT t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE a.attrelid = 'content'::regclass AND a.attname = 'embedding'"
    )
    return "vector" if found == "vector" else "bytea"


async def register(connection: Connection) -> None:
    """Let this connection pass values of pgvector's type as their bytes; does nothing without the extension."""
    schema = await connection.fetchval(
        "SELECT n.nspname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typname = 'vector'"
    )
    if schema is not None:
        await connection.set_type_codec("vector", schema=schema, encoder=bytes, decoder=bytes, format="binary")
