"""Work beside the work that is measured."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def in_threads(work: Iterable[Callable[[], object]]) -> Iterator[None]:
    """Run each beside the block, and wait for all after it; a block that raises waits for none."""
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
