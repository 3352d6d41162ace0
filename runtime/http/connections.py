"""All connections of the server: how many there are, which of them wait for their client, and who has to go.

A connection either works for its client or waits for it: for a request (idle), for the rest of a request's head, for
more of a body, or for the client to read an answer. Only those that wait can be dropped. Event-loop thread only.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Protocol

# Connections over the limit that are kept until their head tells whether they ask for health.
SPARE_CONNECTIONS = 32
# A client this far behind `min_bytes_per_s` is dropped where others need the memory it holds, or its connection.
LATE_FOR_MEMORY_S, LATE_FOR_CONNECTION_S = 0.25, 0.05
# A connection that had an answer before makes room once it has waited this long for its client's next request: a client
# that is busy sends within moments, and would find its connection closed.
IDLE_FOR_ROOM_S = 0.5
# After a refusal so much of what the client still sends is read: closing at once could destroy the refusal.
LINGER_S, LINGER_BYTES = 2.0, 1 << 20

_SWEEP_EVERY_S = 1.0
_PRESSURE_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bytes and seconds that a client may take: see the settings of the same names."""

    max_connections: int = 192
    max_head_bytes: int = 32 * 1024
    header_timeout_s: float = 10.0
    keep_alive_s: float = 75.0
    body_timeout_s: float = 20.0
    write_timeout_s: float = 20.0
    min_bytes_per_s: int = 4096
    # Paths that are answered although everything else is refused.
    health_paths: frozenset[bytes] = frozenset()


class Connection(Protocol):
    """What is needed of a connection here."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """That it runs in."""

    @property
    def transport(self) -> asyncio.Transport:
        """That it reads from and writes to."""

    def late_s(self, now: float) -> float:
        """Seconds that its client is behind the rate it has to keep."""
        ...

    def check(self, now: float) -> None:
        """End a wait that has taken too long."""
        ...

    def refuse_for_room(self) -> None:
        """Answer 503 to whatever it asks, and end."""
        ...


class Connections:
    """The open connections. `dropped` counts those that were closed for their client's fault or for room, by reason."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.dropped: Counter[str] = Counter()
        self._open: dict[Connection, None] = {}
        # Those without a complete request head, oldest first: new ones, and ones that had an answer before.
        self._new: OrderedDict[Connection, None] = OrderedDict()
        self._idle: OrderedDict[Connection, float] = OrderedDict()  # and since when
        self._ending: OrderedDict[Connection, None] = OrderedDict()  # refused, and not closed yet
        self._sweeping: asyncio.TimerHandle | None = None
        self._pressed_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def overfull(self) -> bool:
        """More are served than may be: only health is answered on a new one."""
        return self._served > self.limits.max_connections

    @property
    def _served(self) -> int:
        return len(self._open) - len(self._ending)

    def opened(self, connection: Connection) -> None:
        """Count a new connection. One that waits for its client makes room where there would be too many."""
        self._open[connection] = None
        self._new[connection] = None
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(_SWEEP_EVERY_S, self._sweep, connection.loop)
        most = self.limits.max_connections + SPARE_CONNECTIONS
        if len(self._open) > most and self._ending:
            self.drop(next(iter(self._ending)), "limit")
        if not self.overfull or self._replace_idle(connection) or self.make_way(connection.loop.time()):
            return
        if self._served > most and self._idle:  # health has to be answered on the new one
            self.drop(next(iter(self._idle)), "idle")
        elif self._served > most:
            self.dropped["limit"] += 1
            connection.refuse_for_room()

    def closed(self, connection: Connection) -> None:
        """The connection is closed: it counts no longer. Calling it twice is harmless."""
        self._open.pop(connection, None)
        self._ending.pop(connection, None)
        self.works(connection)

    def idles(self, connection: Connection) -> None:
        """It has answered, and waits for its client's next request."""
        if connection in self._open:
            self._idle[connection] = connection.loop.time()

    def ends(self, connection: Connection) -> None:
        """It was refused, and waits for its client to take that in."""
        self.works(connection)
        if connection in self._open:
            self._ending[connection] = None

    def begins(self, connection: Connection) -> None:
        """A part of a head came: it is no longer among the oldest."""
        if connection in self._new:
            self._new.move_to_end(connection)
        elif connection in self._idle:
            self._idle[connection] = connection.loop.time()
            self._idle.move_to_end(connection)

    def works(self, connection: Connection) -> None:
        """A request's head is complete."""
        self._new.pop(connection, None)
        self._idle.pop(connection, None)

    def drop(self, connection: Connection, reason: str) -> None:
        """Close it now, whatever was not sent yet."""
        self.dropped[reason] += 1
        self.closed(connection)
        connection.transport.abort()

    def make_memory(self, now: float) -> bool:
        """Drop the connection of the client furthest behind, to free what its request holds. False if none is late."""
        if now - self._pressed_at < _PRESSURE_EVERY_S:
            return False
        self._pressed_at = now
        return self._drop_late(now, LATE_FOR_MEMORY_S)

    def make_way(self, now: float) -> bool:
        """Drop the connection whose client is furthest behind, for another connection."""
        return self._drop_late(now, LATE_FOR_CONNECTION_S)

    def _drop_late(self, now: float, least_s: float) -> bool:
        """Of clients that a request waits for: with its body, or with reading its answer."""
        late_s, latest = max(
            ((one.late_s(now), one) for one in self._open), key=lambda pair: pair[0], default=(0, None)
        )
        if latest is None or late_s < least_s:
            return False
        self.drop(latest, "late")
        return True

    def _replace_idle(self, newcomer: Connection) -> bool:
        """End the oldest that has no request: new ones may fill a quarter, else those with an answer before go first.

        A flood of connections that send nothing then only replaces itself, and cannot close those of proven clients;
        and many proven ones that idle cannot keep a new client from its first request. A new one may have a request on
        its way, and gets an answer to it; one with an answer before is closed, as any idle connection may be.
        """
        if len(self._new) <= max(1, self.limits.max_connections // 4):
            oldest, since = next(iter(self._idle.items()), (None, 0.0))
            if oldest is not None and newcomer.loop.time() - since >= IDLE_FOR_ROOM_S:
                self.drop(oldest, "idle")
                return True
        oldest = next(iter(self._new))
        if oldest is newcomer:
            return False
        self.dropped["idle"] += 1
        oldest.refuse_for_room()
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.check(now)
        again = bool(self._open)
        self._sweeping = loop.call_later(_SWEEP_EVERY_S, self._sweep, loop) if again else None
