"""Rows of the study and what follows from them, as they are kept."""

from pathlib import Path

import msgspec
import numpy as np

from training.experiments.study.effort import USUAL
from training.experiments.study.jobs import Arrays, Row

ROWS, ARRAYS = "rows.jsonl", "arrays.npz"
KEPT, PAGE = "study.jsonl", "STUDY.md"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one data set or on the worlds of one kind, by one metric: ndcg10, ndcg10_met (of targets that were
    met in training), hr10, accuracy or log_loss.

    value, low, high: mean and 95 % interval. against: the model that it is compared with on the same events, and the
    difference with its interval; "" for none. Seeds are resampled with the users, worlds and then their users.
    """

    section: str
    data: str
    model: str
    start: str = ""
    effort: str = USUAL
    metric: str
    value: float
    low: float
    high: float
    against: str = ""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    seeds: int
    worlds: int = 0
    events: int
    machine: str


def read_rows(folder: Path) -> list[Row]:
    """The rows of a folder of results, in the order they were made."""
    file = folder / ROWS
    if not file.exists():
        return []
    return [msgspec.json.decode(line, type=Row) for line in file.read_bytes().splitlines() if line]


def read_arrays(folder: Path) -> Arrays:
    """The values of each event: "NUMBER/name" of a row, "DIGEST/name" of its queries."""
    if not (folder / ARRAYS).exists():
        return {}
    with np.load(folder / ARRAYS) as found:
        return dict(found)


def read_kept(folder: Path) -> list[Comparison]:
    """The comparisons kept in a folder; none where it has no file."""
    file = folder / KEPT
    if not file.exists():
        return []
    return [msgspec.json.decode(line, type=Comparison) for line in file.read_bytes().splitlines() if line]


def merged(before: list[Comparison], made: list[Comparison]) -> list[Comparison]:
    """What was kept, without what was made again, and what was made. What was measured again to the same value, and
    compared with nothing this time, keeps what it was compared with."""
    old = {(*_key(one), one.metric, one.value, one.events): one for one in before}
    again = {_key(one) for one in made}
    new = [one if one.against else old.get((*_key(one), one.metric, one.value, one.events), one) for one in made]
    return [one for one in before if _key(one) not in again] + new


def _key(one: Comparison) -> tuple[str, str, str, str, str]:
    return one.section, one.data, one.model, one.start, one.effort


def write_kept(folder: Path, records: list[Comparison]) -> None:
    """Replace the comparisons kept in a folder."""
    (folder / KEPT).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in records))
