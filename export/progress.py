"""One line per step on stderr: what is happening, and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Numbers the steps of a command. `total` is the number of steps it announces."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._notes: list[str] | None = None  # kept while a step's line is open

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print the title, run the block, print the seconds it took."""
        self._done += 1
        self._write(f"[{self._done}/{self._total}] {title} … ")
        self._notes = []
        start = time.perf_counter()
        outcome = "failed"
        try:
            yield
            outcome = f"{time.perf_counter() - start:.1f} s"
        finally:
            self._write(f"{outcome}\n")
            notes, self._notes = self._notes, None
            for text in notes:
                self.note(text)

    def note(self, text: str) -> None:
        """A line below the step that is running, or below the last one."""
        if self._notes is None:
            self._write(f"      {text}\n")
        else:
            self._notes.append(text)

    def _write(self, text: str) -> None:
        print(text, end="", file=sys.stderr, flush=True)
