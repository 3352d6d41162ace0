"""What clients were told, and what the database says about it afterwards."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from runtime.personalization.actions import STRENGTHS
from runtime.store.sqlite.interaction_log import TYPES


@dataclass
class Ledger:
    """Ids of events that were sent, of those that were acknowledged, and users whose deletion was acknowledged.

    Filled from several threads: adding to a set is one step. `complaints` are answers that should not have come.
    """

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    @property
    def in_doubt(self) -> set[str]:
        """Sent and never answered: may be stored or not, and may be sent again."""
        return self.sent - self.acknowledged


@dataclass(frozen=True)
class Findings:
    """stored: rows of the log. lost: acknowledged and not there. doubled: counted more often than stored, or stored
    more often than sent. unsent: stored and never sent. returned: users there again after their deletion."""

    stored: int
    lost: int
    doubled: int
    unsent: int
    returned: int
    problems: tuple[str, ...]

    @property
    def wrong(self) -> bool:
        """Whether anything is not as it was acknowledged."""
        return bool(self.lost or self.doubled or self.unsent or self.returned or self.problems)


def compare(database: Path, ledger: Ledger, *, thorough: bool = False) -> Findings:
    """The database, which a server may be using, against the ledger. `thorough` reads every page of it too."""
    acknowledged = set(ledger.acknowledged)  # before reading: what is acknowledged meanwhile may be there or not
    with closing(sqlite3.connect(database)) as connection:
        ids = [id for (id,) in connection.execute("SELECT event_id FROM interactions").fetchall()]
        counted = connection.execute(
            """SELECT (SELECT coalesce(sum(interaction_count), 0) FROM users),
            (SELECT rows FROM totals WHERE name = 'interactions'), (SELECT count(*) FROM interactions)"""
        ).fetchone()
        strength = sum(
            STRENGTHS[TYPES[code]] * count
            for code, count in connection.execute("SELECT type, count(*) FROM interactions GROUP BY type").fetchall()
        )
        (popularity,) = connection.execute("SELECT coalesce(sum(popularity), 0) FROM content_ids").fetchone()
        users = {id for (id,) in connection.execute("SELECT id FROM users").fetchall()}
        problems: list[str] = []
        if thorough:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(10)").fetchall()]
    stored = set(ids)
    users_sum, total, rows = counted
    return Findings(
        stored=len(ids),
        lost=len(acknowledged - stored),
        doubled=(len(ids) - len(stored)) + abs(users_sum - rows) + abs(total - rows) + abs(strength - popularity),
        unsent=len(stored - ledger.sent),
        returned=len(ledger.forgotten & users),
        problems=tuple(problem for problem in problems if problem != "ok"),
    )
