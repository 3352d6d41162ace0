"""Opaque texts as Postgres can hold them: it has no NUL, so NUL and the escaping backslash are escaped."""

from collections.abc import Iterable


def escape(text: str) -> str:
    """The text without NUL, from which `unescape` makes it again."""
    if "\0" in text or "\\" in text:
        return text.replace("\\", "\\\\").replace("\0", "\\0")
    return text


def escape_all(texts: Iterable[str]) -> list[str]:
    """Each text as by `escape`."""
    return [escape(text) for text in texts]


def escape_optional(text: str | None) -> str | None:
    """The text as by `escape`; None stays None."""
    return None if text is None else escape(text)


def unescape(stored: str) -> str:
    """Inverse of escape."""
    if "\\" not in stored:
        return stored
    return "\\".join(part.replace("\\0", "\0") for part in stored.split("\\\\"))
