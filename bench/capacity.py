"""What several machines on one Postgres take in, simulated from service times: a closed network of queues.

Each machine has one core, which reads and answers requests, and one task that writes: all requests that wait are one
transaction. A transaction travels to Postgres and back, takes time of one of its cores and then a sync, which covers
every transaction that waits for one.
"""

import heapq
from collections import deque
from dataclasses import dataclass

MOST_EVENTS = 1_024  # of one transaction, as in the store


@dataclass(frozen=True, kw_only=True)
class Service:
    """Milliseconds. request: of a machine's core, for one event. transaction, event: of a core of Postgres, for each
    transaction and for each event in it. sync: of Postgres's log. network: of all round trips of a transaction."""

    request: float
    transaction: float
    event: float
    sync: float
    network: float


@dataclass(frozen=True)
class Simulated:
    """bottleneck: what was busiest. busy: the share of the time, by what."""

    events_per_s: float
    bottleneck: str
    busy: dict[str, float]


def simulate(
    service: Service, *, machines: int, cores: int, clients: int, shared_core: bool = False, events: int = 30_000
) -> Simulated:
    """cores: of Postgres. clients: of each machine, each of which sends its next event when the last was answered.
    shared_core: all machines have one core together, as processes pinned to it."""
    network = _Network(service, 1 if shared_core else machines, machines, cores)
    for machine in range(machines):
        for _ in range(clients):
            network.arrive(machine)
    warm = events // 5
    while network.answered < warm:
        network.step()
    network.reset()
    began, answered = network.now, network.answered
    while network.answered < warm + events:
        network.step()
    elapsed = network.now - began
    busy = {
        "the machines": network.busy_machines / elapsed / network.hosts,
        "Postgres's cores": network.busy_cores / elapsed / cores,
        "Postgres's log": network.busy_sync / elapsed,
    }
    return Simulated(1e3 * (network.answered - answered) / elapsed, max(busy, key=lambda name: busy[name]), busy)


class _Network:
    def __init__(self, service: Service, hosts: int, machines: int, cores: int) -> None:
        self.service, self.hosts, self.now, self.answered = service, hosts, 0.0, 0
        self.busy_machines = self.busy_cores = self.busy_sync = 0.0
        self._due: list[tuple[float, int, str, int]] = []
        self._number = 0
        self._requests: list[deque[int]] = [deque() for _ in range(hosts)]  # machines whose request waits for the core
        self._working = [False] * hosts
        self._waiting = [0] * machines  # requests for the next transaction
        self._written = [0] * machines  # events of the transaction under way; 0 for none
        self._ready: deque[int] = deque()  # transactions that wait for a core of Postgres
        self._free = cores
        self._unsynced: list[int] = []
        self._syncing: list[int] = []

    def reset(self) -> None:
        self.busy_machines = self.busy_cores = self.busy_sync = 0.0

    def arrive(self, machine: int) -> None:
        host = machine % self.hosts
        self._requests[host].append(machine)
        self._work(host)

    def step(self) -> None:
        self.now, _, what, which = heapq.heappop(self._due)
        if what == "worked":
            machine = self._requests[which].popleft()
            self._working[which] = False
            self._waiting[machine] += 1
            self._write(machine)
            self._work(which)
        elif what == "sent":
            self._ready.append(which)
            self._compute()
        elif what == "computed":
            self._free += 1
            self._unsynced.append(which)
            self._sync()
            self._compute()
        else:
            for machine in self._syncing:
                self._end(machine)
            self._syncing = []
            self._sync()

    def _later(self, ms: float, what: str, which: int) -> None:
        self._number += 1  # equal times in their order
        heapq.heappush(self._due, (self.now + ms, self._number, what, which))

    def _work(self, host: int) -> None:
        if self._requests[host] and not self._working[host]:
            self._working[host] = True
            self.busy_machines += self.service.request
            self._later(self.service.request, "worked", host)

    def _write(self, machine: int) -> None:
        if self._waiting[machine] and not self._written[machine]:
            self._written[machine] = min(self._waiting[machine], MOST_EVENTS)
            self._waiting[machine] -= self._written[machine]
            self._later(self.service.network, "sent", machine)

    def _compute(self) -> None:
        while self._free and self._ready:
            machine = self._ready.popleft()
            self._free -= 1
            ms = self.service.transaction + self.service.event * self._written[machine]
            self.busy_cores += ms
            self._later(ms, "computed", machine)

    def _sync(self) -> None:
        if self._unsynced and not self._syncing:
            self._syncing, self._unsynced = self._unsynced, []
            self.busy_sync += self.service.sync
            self._later(self.service.sync, "synced", 0)

    def _end(self, machine: int) -> None:
        ended, self._written[machine] = self._written[machine], 0
        self.answered += ended
        for _ in range(ended):
            self.arrive(machine)
        self._write(machine)
