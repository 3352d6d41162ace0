"""Bodies of many items, decoded one by one so that a bad item does not take the others with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from runtime.http.decoding import decode_json
from runtime.http.errors import ApiError, invalid
from runtime.http.ids import MAX_ID_BYTES
from runtime.http.media import without_mark
from runtime.http.surrogates import has_half, without_halves

T = TypeVar("T")
U = TypeVar("U")
NEWLINE = b"\n"

_NAMED_BYTES = 256 * 1024  # larger items are not parsed a second time to find what they are called

_items = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class BatchItem(Generic[U]):
    """`id`: what the item is called, as far as that can be read. `result`: what was made of it, or what is wrong."""

    path: str
    id: str | None
    result: U | ApiError


@dataclass(frozen=True, slots=True)
class Reader(Generic[T, U]):
    """How items are read: `decode` gives an item from JSON, and `accept` makes of the item at a JSON path what is to be
    stored, or raises ApiError for one that cannot be. `id_field`: what an item is called by."""

    decode: Callable[[bytes], T]
    accept: Callable[[T, str], U]
    id_field: str = "id"

    def one(self, raw: bytes, path: str) -> BatchItem[U]:
        """The item at a JSON path."""
        try:
            decoded = decode_json(self.decode, raw, path)
            return BatchItem(path, getattr(decoded, self.id_field, None), self.accept(decoded, path))
        except ApiError as error:
            refused = error.with_traceback(None)  # which would hold all that was decoded
            return BatchItem(path, _id_of(raw, self.id_field), refused)

    def single(self, body: bytes) -> U:
        """What is made of a body that is one item. Raises ApiError."""
        return self.accept(decode_json(self.decode, body), "$")

    def batch(self, body: bytes, *, limit: int, lines: bool = False) -> Iterator[BatchItem[U]]:
        """Each item of a JSON array, or of one JSON document a line (`lines`, blank ones skipped).

        Raises ApiError when the body as a whole is not that, is empty, or holds more than `limit` items: nothing has
        been decoded then.
        """
        if lines and body.count(NEWLINE) > 2 * limit:  # room for blank lines, refused before they are split
            raise invalid(f"a batch has 1 to {limit} items, this one has {body.count(NEWLINE)} lines", "$")
        raws = [without_mark(line) for line in body.split(NEWLINE)] if lines else _raw_items(body)
        raws = [raw for raw in raws if raw.strip()] if lines else raws
        if not 1 <= len(raws) <= limit:
            raise invalid(f"a batch has 1 to {limit} items, this one has {len(raws)}", "$")
        return (self.one(raw, f"$[{n}]") for n, raw in enumerate(raws))


def _id_of(raw: bytes, field: str) -> str | None:
    """What an item that was refused is called, if that can be read: its sender may not know it by its place."""
    if len(raw) > _NAMED_BYTES:
        return None
    text = (without_halves(raw) if has_half(raw) else raw).decode(errors="replace")
    try:
        item = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    id = item.get(field) if isinstance(item, dict) else None
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    return id if isinstance(id, str) and 0 < len(id.encode()) <= MAX_ID_BYTES and "\ufffd" not in id else None


def _raw_items(body: bytes) -> list[bytes]:
    """The items of a JSON array, as they were written. Half of a surrogate pair, which no decoder takes, is found where
    its item is decoded, and does not take the others with it. Raises ApiError."""
    try:
        return [bytes(raw) for raw in decode_json(_items.decode, body)]
    except ApiError:
        if not has_half(body):
            raise
    whole = without_halves(body)
    items, end = [], 0
    for raw in map(bytes, decode_json(_items.decode, whole)):
        start = whole.index(raw, end)
        end = start + len(raw)
        items.append(body[start:end])
    return items
