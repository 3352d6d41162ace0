"""Bodies of many items, decoded one by one so that a bad item does not take the others with it."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from runtime.http.endpoint import decode_json
from runtime.http.errors import ApiError, invalid

T = TypeVar("T")
NEWLINE = b"\n"

_items = msgspec.json.Decoder(list[msgspec.Raw])


def decode_items(
    body: bytes, decode: Callable[[bytes], T], *, limit: int, lines: bool = False
) -> Iterator[tuple[str, T | ApiError]]:
    """Each item's JSON path with the decoded item or what is wrong with it.

    `body` is a JSON array, or one JSON document a line (`lines`, blank ones skipped). Raises ApiError when the body
    as a whole is not that, is empty, or holds more than `limit` items: nothing has been decoded then.
    """
    if lines and body.count(NEWLINE) > 2 * limit:  # room for blank lines, told before they are split
        raise invalid(f"a batch has 1 to {limit} items, this one has {body.count(NEWLINE)} lines", "$")
    raws: list[Any] = body.split(NEWLINE) if lines else decode_json(_items.decode, body)
    raws = [raw for raw in raws if raw.strip()] if lines else raws
    if not 1 <= len(raws) <= limit:
        raise invalid(f"a batch has 1 to {limit} items, this one has {len(raws)}", "$")
    return ((f"$[{n}]", decode_one(raw, decode, f"$[{n}]")) for n, raw in enumerate(raws))


def decode_one(raw: bytes, decode: Callable[[bytes], T], path: str) -> T | ApiError:
    """The item at a JSON path, or what is wrong with it."""
    try:
        item: T = decode_json(decode, raw, path)
    except ApiError as error:
        return error
    return item
