"""Several machines on one Postgres: what concurrent writers cost, and that nothing is lost when either is killed."""

import asyncio
from collections.abc import Mapping

from bench.contention import Design, measure
from bench.faults.machine_kills import CLOCKS_S, HARD_LIMIT_MIB, MACHINES, Faults, disturb
from bench.postgres import PostgresServer
from bench.suite import Case, Conditions, Metric, Samples, Statistic, Suite, Worse, raw

DESIGNS: tuple[Design, ...] = ("row locks", "additive")
WRITERS = (1, 3, 10)
USERS: Mapping[str, int] = {"one_user": 1, "1000_users": 1000}


def measure_kills(conditions: Conditions, samples: Samples) -> None:
    """SIGKILL of random machines, immediate stops of Postgres, cuts of networks and jumps of clocks, while clients
    repeat on any machine."""
    kills = conditions.rounds(full=conditions.kills, quick=3)
    some = max(1, kills // 4)
    faults = Faults(kills=kills, stops=some, cuts=some, clock_jumps=some)
    found = disturb(conditions, faults, limited=not conditions.quick)
    for problem in found.problems[:10]:
        samples.note(f"problem: {problem}", True)
    for name in ("kills", "stops", "cuts", "clock_jumps"):
        samples.add(name, getattr(faults, name))
    for name in ("acknowledged", "refused", "from_memory", "lost", "doubled"):
        samples.add(name, getattr(found, name))
    samples.add("problems", len(found.problems))


def measure_contention(conditions: Conditions, samples: Samples) -> None:
    """Events/s and times of two ways to keep a user's sums, by the number of machines that write."""
    seconds = conditions.rounds(full=5, quick=1)
    with PostgresServer() as server:
        for design in DESIGNS:
            for named, users in USERS.items():
                for machines in WRITERS[: conditions.rounds(full=len(WRITERS), quick=1)]:
                    found = asyncio.run(measure(server, design, machines=machines, users=users, seconds=seconds))
                    key = f"{design.replace(' ', '_')}.{named}.{machines}"
                    samples.add(f"events_per_s.{key}", found.events_per_s)
                    samples.add(f"write_ms.{key}", *found.write_ms)
                    samples.add(f"read_ms.{key}", *found.read_ms)


_FIGURES: tuple[tuple[str, str, Worse], ...] = (
    ("kills", "kills", "lower"),
    ("stops", "stops", "lower"),
    ("cuts", "cuts", "lower"),
    ("clock_jumps", "jumps", "lower"),
    ("acknowledged", "events", "lower"),
    ("refused", "requests", "higher"),
    ("from_memory", "texts", "lower"),
    ("lost", "events", "higher"),
    ("doubled", "events", "higher"),
    ("problems", "contradictions", "higher"),
)
_KEYS = [
    f"{design.replace(' ', '_')}.{users}.{machines}" for design in DESIGNS for users in USERS for machines in WRITERS
]


def _contention(name: str, unit: str, worse: Worse, statistic: Statistic = "median") -> list[Metric]:
    found = [f"{name}.{key}" for key in _KEYS]
    return [Metric(f"machines.{one}", "contention", unit, worse, raw(one), statistic) for one in found]


SUITE = Suite(
    name="machines",
    purpose=f"{MACHINES} servers on one Postgres that are killed, and how writers wait for each other",
    reading=f"`kills`: {MACHINES} servers, each in a memory cgroup of {HARD_LIMIT_MIB} MiB; clients write and read on "
    "any of them and repeat what was not answered, while random servers get SIGKILL, Postgres is stopped at once and "
    "recovers from its log, the network between a server and Postgres is cut (reset, or silent), and clocks, which "
    f"differ by up to {max(CLOCKS_S) - min(CLOCKS_S)} s, jump. Any answer but 200 and 503 with Retry-After fails the "
    "case; `from_memory` are texts embedded during a cut. `problems` are sums, counts and popularity that are not what "
    "the log gives, and reads that no order of the operations explains. `contention`: transactions of one event each; "
    "`one_user`: all machines change the same user and item. Postgres, clients and machines share the cores.",
    cases=(
        Case("kills", measure_kills, limit_s=7200),
        Case("contention", measure_contention, limit_s=900),
    ),
    metrics=(
        *(Metric(f"machines.{name}", "kills", unit, worse, raw(name)) for name, unit, worse in _FIGURES),
        *_contention("events_per_s", "1/s", "lower"),
        *_contention("write_ms", "ms", "higher", "p95"),
        *_contention("read_ms", "ms", "higher"),
    ),
)
