"""What a body is: its media type, its coding and its characters, as headers and first bytes say."""

from collections.abc import Sequence

from starlette.types import Scope

from runtime.http.errors import ApiError

JSON = "application/json"
NDJSON = "application/x-ndjson"

# One JSON document a line has no registered name, and many in use.
_LINES = frozenset(
    f"application/{name}"
    for name in ("x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-lines", "x-json-lines")
)
_UTF8 = frozenset({"utf-8", "utf8", "utf-8-sig", "us-ascii", "ascii"})
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_QUOTED_CHARS = 64


def media_type(scope: Scope) -> str | None:
    """The Content-Type without its parameters; NDJSON for each of its names; None where there is none."""
    given = _header(scope, b"content-type")
    return None if given is None else _canonical(given.partition(";")[0])


def accepts_lines(scope: Scope) -> bool:
    """Whether the client asks for an answer of lines, before anything else."""
    given = _header(scope, b"accept")
    return given is not None and _canonical(given.partition(",")[0].partition(";")[0]) == NDJSON


def accepts_only(scope: Scope, media: bytes) -> bool:
    """Whether the client accepts this media type and says nothing else."""
    return any(name == b"accept" and value == media for name, value in scope["headers"])


def check_media(scope: Scope, accepted: Sequence[str]) -> None:
    """Raises ApiError 415 for a body of another type, in another character set, or that is compressed."""
    kind = media_type(scope)
    if kind is not None and kind not in accepted:
        raise _unsupported(
            "unsupported_media_type",
            f"Content-Type is {kind[:_QUOTED_CHARS]!r}; send -H 'Content-Type: {accepted[0]}'",
        )
    for name, value in scope["headers"]:
        if name == b"content-type" and b";" in value:
            _check_charset(value.decode("latin-1"))
        elif name == b"content-encoding":
            _check_coding(value.decode("latin-1"))


def in_utf8(body: bytes) -> bytes:
    """The body without a byte order mark. Raises ApiError 415 for UTF-16 and UTF-32."""
    # JSON begins with a character of ASCII, which has a zero byte in these; a zero byte is never in JSON.
    if len(body) > 3 and (body[:2] in _OTHER_MARKS or b"\0" in body[:4]):
        raise _unsupported("unsupported_charset", "the body is UTF-16 or UTF-32: send UTF-8")
    return without_mark(body)


def without_mark(line: bytes) -> bytes:
    """The line, or body, without the byte order mark of the file that began there, before it was joined to others."""
    return line[3:] if line[:3] == _BYTE_ORDER_MARK else line


def _check_charset(content_type: str) -> None:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        charset = value.strip().strip('"').lower()
        if name.strip().lower() == "charset" and charset not in _UTF8:
            raise _unsupported(
                "unsupported_charset", f"the charset is {charset[:_QUOTED_CHARS]!r}: JSON is read as UTF-8, send that"
            )


def _check_coding(given: str) -> None:
    for coding in given.lower().split(","):
        if coding.strip() not in ("", "identity"):
            raise _unsupported(
                "unsupported_content_encoding",
                f"the body is encoded as {coding.strip()[:_QUOTED_CHARS]!r}: send it without Content-Encoding",
                headers={"accept-encoding": "identity"},
            )


def _unsupported(code: str, message: str, headers: dict[str, str] | None = None) -> ApiError:
    return ApiError(415, code, message, headers=headers)


def _canonical(kind: str) -> str:
    kind = kind.strip().lower()
    return NDJSON if kind in _LINES else kind


def _header(scope: Scope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            decoded: str = value.decode("latin-1")
            return decoded
    return None
