"""Log lines: one JSON object each, or text for a terminal. Neither holds what users sent.

Requests are named by endpoint and id, never by path: ids of users are in paths. Of an exception the log has the type
and the places in the code, not the message, which may quote a value.
"""

import contextlib
import logging
import os
import sys
import time
import traceback
from functools import lru_cache
from types import TracebackType
from typing import Any

import msgspec

from runtime.system.trace import current

FIELDS = "fields"  # of a record, given as `extra`: more to say about it

_encoder = msgspec.json.Encoder()


def configure(level: str, form: str) -> None:
    """Log to standard output from now on. `form`: json, text, or auto, which is text for a terminal."""
    handler = logging.StreamHandler(sys.stdout) if is_text(form) else JsonHandler(sys.stdout.fileno())
    handler.setFormatter(TextFormatter() if is_text(form) else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def is_text(form: str) -> bool:
    return form == "text" or (form == "auto" and sys.stdout.isatty())


def request_line(log: logging.Logger, level: int, message: str, fields: dict[str, Any]) -> None:
    """As `log.log`, for the line that every request leaves: a record, its caller's frame and two locks would take a
    quarter of the time that a cached text takes in all."""
    if not log.isEnabledFor(level):
        return
    for handler in logging.root.handlers:
        if isinstance(handler, JsonHandler):
            handler.write(_line(time.time(), logging.getLevelName(level), log.name, message) | fields)
        elif level >= handler.level:
            handler.handle(log.makeRecord(log.name, level, "", 0, message, (), None, extra={FIELDS: fields}))


class JsonHandler(logging.Handler):
    """Lines to a file descriptor, each in one write. What cannot be written is lost: a log must not fail a request."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        self._put(self.format(record).encode())

    def write(self, line: dict[str, Any]) -> None:
        self._put(_encoder.encode(line))

    def _put(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, line + b"\n")


def _line(at: float, level: str, logger: str, message: str) -> dict[str, Any]:
    """How every line begins."""
    line = {
        "time": f"{_second(int(at))}.{int(at % 1 * 1000):03d}+00:00",
        "level": level.lower(),
        "logger": logger,
        "message": message,
    }
    if (trace := current.get()) is not None:
        line["request_id"] = trace.request_id
    return line


@lru_cache(maxsize=1)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, `request_id` within a request, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = _line(record.created, record.levelname, record.name, record.getMessage())
        line |= getattr(record, FIELDS, {})
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = places(record.exc_info[1])
        return _encoder.encode(line).decode()


class TextFormatter(logging.Formatter):
    """The same for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        found = getattr(record, FIELDS, {})
        if (trace := current.get()) is not None:
            found = {"request_id": trace.request_id, **found}
        return line + "".join(f" {name}={value}" for name, value in found.items())

    def formatException(  # noqa: N802 the name that logging calls
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return "\n".join(places(ei[1])) if ei[1] is not None else ""


def places(error: BaseException) -> list[str]:
    """An exception and those it came from, innermost first: type, then file, line and function of every frame."""
    lines: list[str] = []
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen and len(seen) < 8:
        seen.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    for one in reversed(seen):
        lines.append(f"{type(one).__module__}.{type(one).__qualname__}")
        lines += [f"  {f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(one.__traceback__)[-20:]]
    return lines
