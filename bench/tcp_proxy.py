"""A proxy on 127.0.0.1 before a socket, whose network can be cut: for tests and fault benches."""

import asyncio
import threading
from pathlib import Path
from typing import Literal

Network = Literal["up", "refused", "silent"]


class TcpProxy:
    """Passes bytes on in a thread of its own. `network`: up; refused, where every connection is reset; silent, where
    connections stay open and nothing arrives."""

    def __init__(self, target: Path) -> None:
        self.network: Network = "up"
        self.accepted = 0
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._started.wait()

    def set(self, network: Network) -> None:
        """Change the network, from any thread; `refused` also resets what is connected."""
        self.network = network
        if network == "refused":
            self._loop.call_soon_threadsafe(self._reset)

    def close(self) -> None:
        """End it and its connections."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._end.wait()
        server.close()
        self._reset()

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.network == "refused":
            writer.transport.abort()
            return
        try:
            upstream, sink = await asyncio.open_unix_connection(self._target)
        except OSError:  # the server is down
            writer.transport.abort()
            return
        self._writers |= {writer, sink}
        await asyncio.gather(self._pass_on(reader, sink), self._pass_on(upstream, writer))
        self._writers -= {writer, sink}

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                while self.network == "silent":
                    await asyncio.sleep(0.02)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
