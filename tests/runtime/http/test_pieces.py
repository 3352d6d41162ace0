"""Lists that are sent piece by piece."""

import asyncio
import json

import msgspec
import pytest

from runtime.http.pieces import list_in_pieces


class Answer(msgspec.Struct):
    items: list[int]
    total: int


def sent(items):
    """The messages that the application sends for a list, three items at once."""
    messages = []

    async def send(message):
        messages.append(message)

    response = list_in_pieces(Answer([], len(items)), "items", iter(items), at_once=3)
    asyncio.run(response({"type": "http"}, None, send))
    return messages


@pytest.mark.parametrize("n", range(11))
def test_the_pieces_are_the_whole(n):
    messages = sent(list(range(n)))
    body = b"".join(message.get("body", b"") for message in messages)
    assert json.loads(body) == {"items": list(range(n)), "total": n}


def test_a_short_list_has_a_length_and_a_long_one_is_sent_in_pieces():
    short, long = sent([1, 2, 3]), sent([1, 2, 3, 4])
    assert b"content-length" in dict(short[0]["headers"])
    assert b"content-length" not in dict(long[0]["headers"])
    assert len(long) > len(short)
