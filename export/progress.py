"""One line per step on stderr: what is happening, and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Numbers the steps of a command. `total` is the number of steps it announces."""

    def __init__(self, total: int, stream: TextIO = sys.stderr) -> None:
        self._total = total
        self._stream = stream
        self._done = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print the title, run the block, print the seconds it took."""
        self._done += 1
        self._write(f"[{self._done}/{self._total}] {title} … ")
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self._write("failed\n")
            raise
        self._write(f"{time.perf_counter() - start:.1f} s\n")

    def note(self, text: str) -> None:
        """A line below the finished steps."""
        self._write(f"      {text}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
