"""Any number of items in one request: embedded and stored slice by slice as their lines come in, with progress."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request

from runtime.api.content import READER
from runtime.api.problems import problem
from runtime.http.endpoint import refused
from runtime.http.errors import ApiError, Error, invalid
from runtime.http.stream import LineStream, numbered_lines
from runtime.models.disconnection import never_disconnected
from runtime.serving.content import NewItem, Status, store_items
from runtime.state import State
from runtime.store import StoreBusy

# Held by one stream: a line that is not complete, a slice of lines, and what they were decoded to.
STREAM_BYTES = 3 << 19

_SLICE_ITEMS = 64
_SLICE_BYTES = 1 << 19
_PROGRESS_EVERY = 1_000  # items
_RETRY_S = 0.25

# A client that reads nothing before it has sent everything must find room for the answer in the buffers between: 100
# rejections and the progress of 100,000 items are some 50 KB. Later rejections are counted.
_LISTED = 100

_encode = msgspec.json.Encoder().encode


class Rejected(msgspec.Struct, frozen=True, tag_field="event", tag="rejected", omit_defaults=True):
    """An item that was not stored; `line` counts from 1. The first 100 are listed, all are counted."""

    line: int
    id: str | None
    error: Error


class Counts(msgspec.Struct, tag_field="event", tag="progress"):
    """Outcomes of the lines so far; all of it is durable."""

    lines: int = 0
    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    rejected: int = 0


class Done(Counts, tag="done"):
    """The last line: everything was read and stored."""


class Failed(Counts, tag="failed", kw_only=True):
    """The last line: it stopped. What was counted is stored; sending the same body again continues."""

    error: Error


ContentProgress = Rejected | Counts | Done | Failed


async def stream_content(state: State, request: Request) -> LineStream:
    """The answer begins once the first lines were read, and goes on while the rest of the body comes in."""
    slices = _slices(request, state.settings.batch_timeout_s)
    first = await anext(slices, None)
    if first is None:
        raise invalid("a batch has at least one item, this one has none", "$")
    return LineStream(_progress(state, first, slices))


async def _progress(
    state: State, lines: list[tuple[int, bytes]] | None, slices: AsyncIterator[list[tuple[int, bytes]]]
) -> AsyncIterator[bytes]:
    """The lines of the answer. `lines` are the first slice."""
    counts, reported = Counts(), 0
    try:
        while lines is not None:
            for rejected in await _store(state, lines, counts):
                if counts.rejected < _LISTED:
                    yield _encode(rejected)
                counts.rejected += 1
            counts.lines = lines[-1][0]
            if counts.lines - reported >= _PROGRESS_EVERY:
                reported = counts.lines
                yield _encode(counts)
            lines = await anext(slices, None)
    except Exception as error:
        refusal = refused(error, problem)
        refusal.note()
        yield _encode(Failed(**msgspec.structs.asdict(counts), error=refusal.error))
    else:
        yield _encode(Done(**msgspec.structs.asdict(counts)))


async def _slices(request: Request, stalled_s: float) -> AsyncIterator[list[tuple[int, bytes]]]:
    lines: list[tuple[int, bytes]] = []
    size = 0
    async for number, line in numbered_lines(request, stalled_s=stalled_s):
        if lines and (len(lines) == _SLICE_ITEMS or size + len(line) > _SLICE_BYTES):
            yield lines
            lines, size = [], 0
        lines.append((number, line))
        size += len(line)
    if lines:
        yield lines


async def _store(state: State, lines: list[tuple[int, bytes]], counts: Counts) -> list[Rejected]:
    """Store what can be, count it, and return what cannot."""
    rejected: list[Rejected] = []
    items: list[NewItem] = []
    for number, line in lines:
        one = READER.one(line, "$")
        if isinstance(one.result, ApiError):
            rejected.append(Rejected(number, one.id, one.result.error))
        else:
            items.append(one.result)
    for status in await _patiently(state, items):
        setattr(counts, status, getattr(counts, status) + 1)
    return rejected


async def _patiently(state: State, items: list[NewItem]) -> list[Status]:
    """Store as bulk work, which waits where other requests would be refused. Raises as they do, in the end."""
    deadline = time.monotonic() + state.settings.batch_timeout_s
    while True:
        try:
            return await store_items(state, items, never_disconnected)
        except StoreBusy:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_RETRY_S)
