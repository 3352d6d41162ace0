"""Kills of servers with running experiments: nothing acknowledged is lost or doubled, and nobody changes their arm."""

from bench.faults import KILLS
from bench.faults.experiment_kills import kill_repeatedly
from bench.postgres import PostgresServer
from bench.suite import Case, Conditions, Metric, Samples, Suite, Worse, raw

MACHINES = 2


def measure_sqlite(conditions: Conditions, samples: Samples) -> None:
    """SIGKILL of one server, on SQLite."""
    _measure(conditions, samples, None, 1)


def measure_postgres(conditions: Conditions, samples: Samples) -> None:
    """SIGKILL of servers that share one Postgres."""
    with PostgresServer() as server:
        _measure(conditions, samples, server.create_database("kills"), MACHINES)


def _measure(conditions: Conditions, samples: Samples, url: str | None, machines: int) -> None:
    kills = conditions.rounds(full=KILLS, quick=2 * machines)
    found = kill_repeatedly(conditions, kills, url=url, machines=machines)
    for name in ("exposures", "events", "lost", "doubled", "moved"):
        samples.add(name, getattr(found, name))
    samples.add("kills", kills)


_FIGURES: tuple[tuple[str, str, Worse], ...] = (
    ("kills", "kills", "lower"),
    ("exposures", "exposures", "lower"),
    ("events", "events", "lower"),
    ("lost", "records", "higher"),
    ("doubled", "records", "higher"),
    ("moved", "contradictions", "higher"),
)

SUITE = Suite(
    name="experiment_kills",
    purpose="servers with running experiments that are killed under exposures and interactions",
    reading="Six clients rank within a running experiment and save what they were shown, each save naming its "
    "ranking, until the servers get SIGKILL at a random moment; each round goes on with the same database. `lost`: "
    "exposures and events that were acknowledged and are not stored, or not as the answer to their ranking. `doubled`: "
    "users, windows and rankings that the report counts more often, or less, than there are. `moved`: users whose arm "
    "changed, starts after which something else was decided, and contradictions in the database. `postgres`: "
    f"{MACHINES} servers on one.",
    cases=(
        Case("sqlite", measure_sqlite, limit_s=7200),
        Case("postgres", measure_postgres, limit_s=7200),
    ),
    metrics=tuple(
        Metric(f"experiment_kills.{case}.{name}", case, unit, worse, raw(name))
        for case in ("sqlite", "postgres")
        for name, unit, worse in _FIGURES
    ),
)
