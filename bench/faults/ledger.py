"""What the server acknowledged to clients, compared with the database afterwards."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from runtime.personalization.actions import STRENGTH_OF_CODE


@dataclass
class Ledger:
    """Ids of events that were sent, of those that were acknowledged, and users whose deletion was acknowledged.

    Filled from several threads: adding to a set is one step. `unexpected_responses` should be empty.
    """

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    unexpected_responses: list[str] = field(default_factory=list)

    @property
    def in_doubt(self) -> set[str]:
        """Sent and never answered: may be stored or not, and may be sent again."""
        return self.sent - self.acknowledged


@dataclass(frozen=True)
class Findings:
    """stored: rows of the log. lost: acknowledged and not there. duplicated: counted more often than stored, or stored
    more often than sent. unsent: stored and never sent. undeleted: users there again after their deletion."""

    stored: int
    lost: int
    duplicated: int
    unsent: int
    undeleted: int
    problems: tuple[str, ...]

    @property
    def wrong(self) -> bool:
        """Whether anything is not as it was acknowledged."""
        return bool(self.lost or self.duplicated or self.unsent or self.undeleted or self.problems)


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
            STRENGTH_OF_CODE[code] * count
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
        duplicated=(len(ids) - len(stored)) + abs(users_sum - rows) + abs(total - rows) + abs(strength - popularity),
        unsent=len(stored - ledger.sent),
        undeleted=len(ledger.deleted & users),
        problems=tuple(problem for problem in problems if problem != "ok"),
    )
