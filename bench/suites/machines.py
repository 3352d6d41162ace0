"""Several machines on one Postgres: nothing is lost when either is killed."""

from bench.faults import KILLS
from bench.faults.machine_kills import CLOCKS_S, HARD_LIMIT_MIB, MACHINES, Faults, disturb
from bench.suite import Case, Conditions, Metric, Samples, Suite, Worse, raw


def measure_kills(conditions: Conditions, samples: Samples) -> None:
    """SIGKILL of random machines, immediate stops of Postgres, cuts of networks and jumps of clocks, while clients
    repeat on any machine."""
    kills = conditions.rounds(full=KILLS, quick=3)
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
SUITE = Suite(
    name="machines",
    purpose=f"{MACHINES} servers on one Postgres that are killed",
    reading=f"`kills`: {MACHINES} servers, each in a memory cgroup of {HARD_LIMIT_MIB} MiB; clients write and read on "
    "any of them and repeat what was not answered, while random servers get SIGKILL, Postgres is stopped at once and "
    "recovers from its log, the network between a server and Postgres is cut (reset, or silent), and clocks, which "
    f"differ by up to {max(CLOCKS_S) - min(CLOCKS_S)} s, jump. Any answer but 200 and 503 with Retry-After fails the "
    "case; `from_memory` are texts embedded during a cut. `problems` are sums, counts and popularity that are not what "
    "the log gives, and reads that no order of the operations explains. Postgres, clients and servers share the cores.",
    cases=(Case("kills", measure_kills, limit_s=7200),),
    metrics=tuple(Metric(f"machines.{name}", "kills", unit, worse, raw(name)) for name, unit, worse in _FIGURES),
)
