"""One line on the terminal that says how far a run is, how fast, and when it will be done."""

import sys
import time
from typing import TextIO

_WIDTH = 24
_EVERY_S = 0.2
_LINE_EVERY_S = 30.0  # where the stream is a file and a line cannot be written over


class ProgressBar:
    """A bar over `steps`, of which `done` were done before this process started."""

    def __init__(self, steps: int, done: int = 0, stream: TextIO | None = None) -> None:
        self._steps = max(steps, 1)
        self._done = self._before = done
        self._events = 0
        self._stream = stream or sys.stderr
        self._started = self._shown = time.monotonic()
        self._open = False
        self._every_s = _EVERY_S if self._stream.isatty() else _LINE_EVERY_S

    def step(self, events: int, text: str) -> None:
        """Count a step over so many events, and show the bar, at most every few moments."""
        self._done += 1
        self._events += events
        now = time.monotonic()
        if now - self._shown < self._every_s:
            return
        self._shown = now
        passed = max(now - self._started, 1e-9)
        share = min(self._done / self._steps, 1.0)
        left_s = (self._steps - self._done) * passed / (self._done - self._before)
        bar = "#" * int(share * _WIDTH)
        line = f"[{bar:.<{_WIDTH}}] {share:4.0%}  {self._events / passed:,.0f} events/s  ETA {duration(left_s)}  {text}"
        self._stream.write(f"\r{line:<110}" if self._stream.isatty() else f"{line}\n")
        self._stream.flush()
        self._open = self._stream.isatty()

    def note(self, text: str) -> None:
        """A line of its own."""
        self._stream.write(f"\r{text:<110}\n" if self._open else f"{text}\n")
        self._stream.flush()
        self._open = False


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as short as they allow: 1:02:03, 2:03."""
    whole = max(int(seconds), 0)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
