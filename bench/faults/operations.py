"""A history of operations on several machines, checked: reads see acknowledged writes, and nothing that nobody sent."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client did for one user, on whatever machine. began, ended: on one clock, in seconds; ended is None where
    no answer came. events: written. count: of the user's events, read."""

    kind: Literal["write", "read"]
    user: str
    began: float
    ended: float | None
    events: frozenset[str] = frozenset()
    count: int = 0


def violations(history: Sequence[Operation]) -> list[str]:
    """Reads that no order of the operations explains, in which each takes effect between its begin and its end.

    Users' events only grow here, so a read has to count at least what was acknowledged before it began and what an
    earlier read has shown, and at most what was sent before it ended.
    """
    by_user: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_user[operation.user].append(operation)
    found: list[str] = []
    for user, operations in by_user.items():
        writes = [one for one in operations if one.kind == "write"]
        reads = sorted((one for one in operations if one.kind == "read" and one.ended is not None), key=_end)
        for read in reads:
            acknowledged = _events(write for write in writes if write.ended is not None and write.ended < read.began)
            sent = _events(write for write in writes if write.began < _end(read))
            shown = max((other.count for other in reads if _end(other) < read.began), default=0)
            least = max(len(acknowledged), shown)
            if not least <= read.count <= len(sent):
                found.append(f"{user} had {read.count} events, {least} to {len(sent)} were possible")
    return found


def _events(writes: object) -> frozenset[str]:
    return frozenset().union(*(write.events for write in writes))  # type: ignore[attr-defined]


def _end(read: Operation) -> float:
    return float("inf") if read.ended is None else read.ended
