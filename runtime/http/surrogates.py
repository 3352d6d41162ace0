"""Halves of surrogate pairs in JSON, as programs write them that cut a text between two UTF-16 units."""

import json
import re
from typing import Any

# Every escape sequence, so that `\\ud83d`, a backslash and some letters, is none. The group is a half without the
# other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_HALF = re.compile("[\ud800-\udfff]")


def has_half(content: bytes) -> bool:
    """Whether a surrogate in JSON stands alone."""
    return any(found[1] for found in _ESCAPE.finditer(content))


def without_halves(content: bytes) -> bytes:
    """JSON of the same length with U+FFFD in place of surrogates that stand alone."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], content)


def first_half(content: bytes) -> tuple[str, str] | None:
    """The path of the first text with half of a pair in it, from `$`, and that half; None where there is none."""
    if not has_half(content):
        return None
    try:
        return _find(json.loads(content), "$")
    except (ValueError, RecursionError):  # something else is wrong, too
        return None


def _find(value: Any, path: str) -> tuple[str, str] | None:
    match value:
        case str():
            half = _HALF.search(value)
            return None if half is None else (path, f"\\u{ord(half[0]):04x}")
        case list():
            inside = ((one, f"{path}[{n}]") for n, one in enumerate(value))
        case dict():
            if half := next(filter(_HALF.search, value), None):
                return _find(half, path)
            inside = ((one, f"{path}.{name}") for name, one in value.items())
        case _:
            return None
    return next(filter(None, (_find(*one) for one in inside)), None)
