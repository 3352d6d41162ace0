"""How tests wait: for a condition, with a bound that no machine reaches unless something is wrong."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A condition that holds ends the wait at once, so that a long bound costs nothing; a busy machine may need much of it.
WAIT_S = 120


def until(condition: Callable[[], object], why: Callable[[], str] = lambda: "", *, every_s: float = 0.05) -> float:
    """Seconds until the condition holds. Fails after WAIT_S with what `why` returns, a log for example."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < WAIT_S, f"not so within {WAIT_S} s: {why()}"
        time.sleep(every_s)
    return time.monotonic() - started


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port of 127.0.0.1 that a server can listen on and that the kernel gives to nobody else meanwhile.

    A socket that is bound but does not listen keeps it: Linux lets a second one bind beside it where both say
    SO_REUSEADDR, as servers do, and never picks such a port for a program that wants any."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
