"""Many clients at once, each sending its next request after a response; bounded in number and time."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.http_client import HOST, parse_head

DRAIN_S = 60.0  # for requests that were sent before the limit
NO_ANSWER = 0  # the connection was refused, broken or too slow


@dataclass(frozen=True)
class Answer:
    """One answered (or failed) request: its status, NO_ANSWER without one, and its milliseconds."""

    status: int
    elapsed_ms: float
    retry_after: bool = False


async def _client(port: int, requests: Iterator[bytes], deadline: float, pause_s: float, answers: list[Answer]) -> None:
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    for request in requests:
        start = time.perf_counter()
        if start >= deadline:
            break
        try:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b"\r\ntransfer-encoding: chunked" in head.lower():
                status = int(head.split(b" ", 2)[1])
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readexactly(2)
            else:
                status, length = parse_head(head)
                await reader.readexactly(length)
            answer = Answer(status, (time.perf_counter() - start) * 1e3, b"\r\nretry-after:" in head.lower())
            if b"\r\nconnection: close" in head.lower():
                reader = writer = None
        except (OSError, EOFError, ValueError):
            answer, reader, writer = Answer(NO_ANSWER, (time.perf_counter() - start) * 1e3), None, None
        answers.append(answer)
        if answer.status != 200:
            await asyncio.sleep(pause_s)
    if writer is not None:
        writer.close()


async def _gather(
    port: int, clients: Sequence[Iterator[bytes]], limit_s: float, pause_s: float
) -> tuple[float, list[Answer]]:
    answers: list[Answer] = []
    start = time.perf_counter()
    tasks = [asyncio.create_task(_client(port, client, start + limit_s, pause_s, answers)) for client in clients]
    _, late = await asyncio.wait(tasks, timeout=limit_s + DRAIN_S)
    for task in late:
        task.cancel()
        answers.append(Answer(NO_ANSWER, (time.perf_counter() - start) * 1e3))
    await asyncio.gather(*tasks, return_exceptions=True)
    return time.perf_counter() - start, answers


def closed_loop(
    port: int, clients: Sequence[Iterator[bytes]], limit_s: float, pause_s: float = 0.05
) -> tuple[float, list[Answer]]:
    """Run one connection a client until its requests end or `limit_s` is over; seconds it took, and the answers.

    Requests sent by then have a minute to be answered. After anything but a 200 a client waits `pause_s`.
    """
    return asyncio.run(_gather(port, clients, limit_s, pause_s))
