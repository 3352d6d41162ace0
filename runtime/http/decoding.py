"""JSON in: bounded before it is decoded, and what is wrong with it named by its path."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from runtime.http.errors import ApiError, Fault, invalid, misshapen
from runtime.http.lenient import mended
from runtime.http.shape import faults
from runtime.http.surrogates import first_half

MAX_STRINGS = 100_000  # in a body, names included

# Larger documents are not parsed a second time to explain what is wrong with them.
_EXPLAINED_BYTES = 256 * 1024
_EXPLAINED_TOKENS = 100_000

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{},:]', re.DOTALL)
_NAME = re.compile(rb'"([A-Za-z0-9_.-]{1,64})"')

Decode = Callable[[bytes], Any]


def check_values(body: bytes, limit: int) -> None:
    """Bound what decoding can allocate: a value takes up to a hundred bytes however short its JSON is.

    Commas are counted instead of values, and quotes instead of strings. Where there are too many, those that are text
    are left out. Raises ApiError 413.
    """
    if body.count(b",") < limit and body.count(b'"') // 2 <= MAX_STRINGS:
        return
    # Numbers take a third of what strings do, and there may be more of them.
    values, strings, at = 1, 0, 0
    while (quote := body.find(b'"', at)) >= 0 and values <= limit and strings <= MAX_STRINGS:
        values += body.count(b",", at, quote)
        strings += 1
        string = _STRING.match(body, quote)
        at = len(body) if string is None else string.end()  # a string without an end is the decoder's to refuse
    values += body.count(b",", at)
    if values > limit:
        raise ApiError(413, "too_many_values", f"the body holds {values} values or more, the limit is {limit}")
    if strings > MAX_STRINGS:
        raise ApiError(413, "too_many_values", f"the body holds more than {MAX_STRINGS} strings, which is the limit")


def decode_json(decode: Decode, content: bytes, prefix: str = "$") -> Any:
    """Decode. Raises ApiError: 400 (not JSON) or 422 (JSON of another shape), with everything that is wrong.

    `decode` is the method of a msgspec decoder. `prefix` is the JSON path of `content` where it is a part of the body.
    """
    try:
        return decode(content)
    except msgspec.ValidationError as error:
        if (better := mended(decode, content)) is not None:
            return decode_json(decode, better, prefix)
        raise misshapen([Fault.of(error, prefix), *_faults(decode, content, prefix)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error, content, prefix) from None
    except RecursionError:
        raise ApiError(400, "malformed_json", "the JSON is nested too deeply", field=prefix) from None


def _faults(decode: Decode, content: bytes, prefix: str) -> list[Fault]:
    """All that is wrong, where the decoder stops at the first."""
    decoder = getattr(decode, "__self__", None)
    if not isinstance(decoder, msgspec.json.Decoder) or len(content) > _EXPLAINED_BYTES:
        return []
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return faults(value, decoder.type, prefix)


def _malformed(error: Exception, content: bytes, prefix: str) -> ApiError:
    """What is not JSON, and where."""
    if half := first_half(content):
        path, escape = half
        return invalid(
            f"the text has {escape} in it, half of a character: it was cut between two UTF-16 units; cut it between "
            "characters",
            prefix + path[1:],
        )
    try:
        bytes(content).decode()
    except UnicodeDecodeError as found:
        byte = content[found.start]
        return ApiError(
            400,
            "malformed_json",
            f"byte {found.start} (0x{byte:02x}) is not UTF-8",
            field=path_at(content, found.start, prefix),
        )
    return ApiError(400, "malformed_json", str(error) or "the body is not JSON", field=prefix)


def path_at(content: bytes, position: int, prefix: str = "$") -> str:
    """The JSON path of the value at a position, as far as it is known: `$.items[3].text`."""
    frames: list[int | str | None] = []  # an index, or a name
    name = None
    for count, match in enumerate(_TOKEN.finditer(content, 0, position)):
        if count == _EXPLAINED_TOKENS:
            return prefix
        token = match.group()
        if token in (b"[", b"{"):
            frames.append(0 if token == b"[" else None)
        elif token in (b"]", b"}"):
            if frames:
                frames.pop()
        elif token == b"," and frames:
            frames[-1] = frames[-1] + 1 if isinstance(frames[-1], int) else None
        elif token == b":" and frames and not isinstance(frames[-1], int):
            frames[-1] = name or "…"
        else:
            found = _NAME.fullmatch(token)
            name = found.group(1).decode() if found else None
    steps = (f"[{frame}]" if isinstance(frame, int) else f".{frame}" for frame in frames if frame is not None)
    return prefix + "".join(steps)
