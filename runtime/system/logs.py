"""Log lines: one JSON object each, or text for a terminal. Neither holds what users sent.

Requests are named by endpoint and id, never by path: ids of users are in paths. Of an exception the log has the type
and the places in the code, not the message, which may quote a value.
"""

import contextlib
import logging
import os
import select
import sys
import threading
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
    text = is_text(form)
    handler = LineHandler(sys.stdout.fileno(), TextFormatter() if text else JsonFormatter(), text=text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def is_text(form: str) -> bool:
    """Whether log lines are text: `auto` is, on a terminal."""
    return form == "text" or (form == "auto" and sys.stdout.isatty())


def request_line(log: logging.Logger, level: int, message: str, fields: dict[str, Any]) -> None:
    """As `log.log`, for the line that every request leaves: a record, its caller's frame and two locks would take a
    quarter of the time that a cached text takes in all."""
    if not log.isEnabledFor(level):
        return
    for handler in logging.root.handlers:
        if isinstance(handler, LineHandler) and not handler.text:
            handler.write(_line(time.time(), logging.getLevelName(level), log.name, message) | fields)
        elif level >= handler.level:
            handler.handle(log.makeRecord(log.name, level, "", 0, message, (), None, extra={FIELDS: fields}))


class LineHandler(logging.Handler):
    """Lines to a file descriptor. A line that its reader has no room for is dropped and counted: a log must neither
    fail a request nor make it wait.

    The descriptor stays as it is (O_NONBLOCK would be set for whoever shares it, such as a shell). Each write asks
    whether it takes PIPE_BUF bytes, which a pipe, a socket and a terminal then do at once, and gets no more at a time.
    """

    def __init__(self, descriptor: int, formatter: logging.Formatter, *, text: bool = False) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.text = text
        self.dropped = 0  # lines, since the start
        self._reported = 0  # of them, in lines of their own
        self._descriptor = descriptor
        self._rest = b""  # of a line that was written in part
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._one_writer = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        self._put(self.format(record).encode("utf-8", "backslashreplace") + b"\n")

    def write(self, line: dict[str, Any]) -> None:
        """Write a record that is ready, as JSON."""
        self._put(_encoder.encode(line) + b"\n")

    def _put(self, line: bytes) -> None:
        with self._one_writer, contextlib.suppress(OSError):
            if self._rest:
                self._rest = self._written(self._rest)
            if self._rest:
                self.dropped += 1
                return
            if self._reported < self.dropped and self._takes():
                line = self._loss() + line
            rest = self._written(line)
            if len(rest) == len(line):
                self.dropped += 1
            else:
                self._rest, self._reported = rest, self.dropped

    def _written(self, data: bytes) -> bytes:
        """Write what can be written now; returns the rest."""
        while data and self._takes():
            data = data[os.write(self._descriptor, data[: select.PIPE_BUF]) :]
        return data

    def _takes(self) -> bool:
        found = self._poll.poll(0)
        return bool(found) and bool(found[0][1] & select.POLLOUT)

    def _loss(self) -> bytes:
        message = f"{self.dropped - self._reported} log lines were dropped: whoever reads the log did not keep up"
        record = logging.makeLogRecord({"name": "vows", "levelname": "WARNING", "msg": message})
        return self.format(record).encode() + b"\n"


def dropped_lines() -> int:
    """Log lines that were dropped since the start."""
    return sum(handler.dropped for handler in logging.root.handlers if isinstance(handler, LineHandler))


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
