"""What the sections of the report share: a question, and how labels, differences and verdicts read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from training.evaluation.results import Figure
from training.evaluation.targets import sign, signed

_MOST_NAMED = 2  # places in a sentence; the tables have the others


class _Entry(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def order_strength(self) -> float | None: ...


@dataclass(frozen=True)
class Question:
    """One section. chart: its file name in charts/, "" for none."""

    title: str
    answer: str
    table: str
    chart: str = ""


def label(one: _Entry) -> str:
    """Of a data set and split, or of simulated worlds."""
    if one.order_strength is not None:
        return f"simulated, ω = {one.order_strength:g}"
    return f"{one.name} ({one.protocol})"


def difference(figure: Figure | None) -> str:
    """Signed, with its interval, in bold where the whole of it is on one side of zero."""
    if figure is None:
        return ""
    words = {1: "**better** ", 0: "", -1: "**significantly worse** "}
    return words[sign(figure)] + signed(figure)


MARKS = "▲ better, = no difference found, ▼ significantly worse, · not measured"


def mark(figure: Figure | None) -> str:
    """Of MARKS."""
    return "·" if figure is None else {1: "▲", 0: "=", -1: "▼"}[sign(figure)]


def verdict(subject: str, than: str, differences: Sequence[tuple[str, Figure | None]]) -> str:
    """One sentence: where it is better, where no difference was found, and where it is significantly worse. Places are
    named where it is worse, and counted where they are many; "" where nothing was measured."""
    measured = sum(figure is not None for _, figure in differences)
    words = {1: f"is better {than} on", 0: "no difference was found on", -1: f"it is **significantly worse** {than} on"}
    clauses: list[str] = []
    for side, how in words.items():
        where = [label for label, figure in differences if figure is not None and sign(figure) == side]
        if where:
            named = f"{len(where)} of {measured}" if side >= 0 and len(where) > _MOST_NAMED else listed(where)
            clauses.append(f"{how if clauses or side == 1 else how.removeprefix('it ')} {named}")
    if clauses and clauses[0].startswith("no difference"):
        subject = f"{subject} {than.replace('than', 'against', 1)}:"
    return f"{subject} {'; '.join(clauses)}." if clauses else ""


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them; "nothing" for none."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
