"""The HTTP front that every Python engine stands behind: `python -m bench.peers.front NAME MODEL PORT`.

POST with `{"texts": [...]}` is answered with the vectors as little-endian float32, row after row. It runs in the
engine's own environment, so it needs the standard library alone, and it does as little as it can: one thread, one
request at a time unless the engine is asynchronous.
"""

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
Embed = Callable[[list[str]], Any]  # float32 [n, 384], or an awaitable of it


class Front(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._received = bytearray()
        self._transport: Any = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (body := self._next_body()) is not None:
            try:
                vectors = self._embed(json.loads(body)["texts"])
            except Exception as error:
                self._answer(500, f"{type(error).__name__}: {error}".encode())
                continue
            if inspect.isawaitable(vectors):
                task = asyncio.ensure_future(self._later(vectors))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self._answer(200, vectors.tobytes())

    async def _later(self, vectors: Awaitable[Any]) -> None:
        try:
            self._answer(200, (await vectors).tobytes())
        except Exception as error:
            self._answer(500, f"{type(error).__name__}: {error}".encode())

    def _next_body(self) -> bytes | None:
        """The next whole request's body, taken off what was received; None while it is not complete."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._received[:end]).lower()
        _, found, rest = head.partition(b"content-length:")
        length = int(rest.split(b"\r\n", 1)[0]) if found else 0
        if len(self._received) < end + 4 + length:
            return None
        body = bytes(self._received[end + 4 : end + 4 + length])
        del self._received[: end + 4 + length]
        return body

    def _answer(self, status: int, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 %d -\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)


async def serve(embed: Embed, port: int) -> None:
    """Answer on the loopback address until the process ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(embed), HOST, port)
    await server.serve_forever()


def main(name: str, model: str, port: str) -> None:
    """Load the engine, then listen: an open port means that the model is there."""
    engine = importlib.import_module(name if "." in name else f"bench.peers.{name}.engine")
    asyncio.run(serve(engine.load(Path(model)), int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
