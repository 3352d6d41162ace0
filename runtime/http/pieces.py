"""Long answers, encoded and sent piece by piece, so that no more than one piece is held."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_encode = msgspec.json.Encoder().encode


class Pieces(Response):
    """Sends pieces one by one. What can fail must have been done before."""

    def __init__(self, pieces: Iterable[bytes], *, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self._pieces = pieces
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def list_in_pieces(answer: msgspec.Struct, name: str, items: Iterator[Any], *, at_once: int) -> Response:
    """The JSON of `answer`, whose list `name` is empty, with `items` in it; they are made as they are sent.

    Up to `at_once` items are sent whole, with a content-length; more of them chunked.
    """
    head, empty, tail = _encode(answer).partition(b'"%b":[]' % name.encode())
    if not empty:
        raise ValueError(f"this is a bug: {name} of the answer is not an empty list")
    first = list(islice(items, at_once))
    beginning = head + empty[:-1] + b",".join(map(_encode, first))
    following = list(islice(items, at_once))
    if not following:
        return Response(beginning + b"]" + tail, media_type="application/json")

    def pieces(some: list[Any]) -> Iterator[bytes]:
        yield beginning
        while some:
            yield b"," + b",".join(map(_encode, some))
            some = list(islice(items, at_once))
        yield b"]" + tail

    return Pieces(pieces(following), media_type="application/json")
