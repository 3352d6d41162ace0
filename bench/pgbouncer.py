"""A real PgBouncer before a Postgres of the tests: in transaction mode each transaction may get another session.

`make pgbouncer` unpacks the Debian packages below build/, without root. Elsewhere it is found on the path.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from bench.machine import ROOT
from bench.server import free_port
from bench.suite import NotMeasured
from bench.tcp_proxy import TcpProxy

UNPACKED = ROOT / "build" / "pgbouncer"
PACKAGES = ("pgbouncer", "libc-ares2", "libevent-2.1-7")
SESSIONS = 2  # of Postgres, for all clients together: fewer than machines have connections
START_S = 20.0

_CONFIG = """\
[databases]
* = host=127.0.0.1 port={upstream} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 200
logfile = {folder}/log
pidfile = {folder}/pid
"""


def program() -> Path:
    """Where it is. Raises NotMeasured where there is none."""
    found = shutil.which("pgbouncer", path=f"{UNPACKED}/usr/sbin:{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise NotMeasured("PgBouncer is not installed: make pgbouncer, or your system's package")
    return Path(found)


class PgBouncer:
    """In transaction mode, in a process of its own. Raises NotMeasured without the program."""

    def __init__(self, postgres: Path) -> None:
        self._program = program()
        self._folder = tempfile.TemporaryDirectory(prefix="vows-pgbouncer-")
        self._upstream = TcpProxy(postgres)  # the socket's folder is readable for its own user alone
        self.port = free_port()
        folder = Path(self._folder.name)
        folder.chmod(0o777)  # it refuses to run as root
        (folder / "ini").write_text(
            _CONFIG.format(upstream=self._upstream.port, port=self.port, folder=folder, sessions=SESSIONS)
        )
        self.start()

    def url(self, database: str) -> str:
        """The address of a database, for `VOWS_DATABASE_URL`."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        libraries = {"LD_LIBRARY_PATH": str(next(UNPACKED.glob("usr/lib/*-linux-gnu"), ""))}
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [self._program, "-q", *user, Path(self._folder.name) / "ini"],
            env=os.environ | libraries, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    assert self._process.stderr is not None
                    raise RuntimeError(f"PgBouncer did not start: {self._process.stderr.read()[-300:]!r}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """At once, with all its connections."""
        self._process.kill()
        self._process.communicate()

    def close(self) -> None:
        """End it, and what it needs."""
        self.stop()
        self._upstream.close()
        self._folder.cleanup()

    def __enter__(self) -> "PgBouncer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def unpack() -> Path:
    """Download the Debian packages and unpack them below build/; the program."""
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True, timeout=300)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, UNPACKED], check=True, timeout=60)
    return program()


if __name__ == "__main__":
    try:
        print(unpack())
    except (OSError, subprocess.SubprocessError, NotMeasured) as error:
        sys.exit(f"PgBouncer could not be unpacked: {error}")
