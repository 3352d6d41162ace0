"""What the sections of the report share: a question, and how labels, differences and verdicts read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from training.data import public
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
    return public.title(one.name, one.protocol, one.order_strength)


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


def verdict(subject: str, other: str, differences: Sequence[tuple[str, Figure | None]]) -> str:
    """One sentence: where `subject` is better than `other`, where no difference was found, and where it is
    significantly worse. Places are named where it is worse, and counted where they are many; "" where nothing was
    measured."""
    measured = [(place, sign(figure)) for place, figure in differences if figure is not None]
    clauses: list[str] = []
    for side, how in ((1, "is better than"), (0, "shows no difference to"), (-1, "is **significantly worse** than")):
        places = [place for place, found in measured if found == side]
        if places:
            compared = f"{how} {other}" if not clauses else how.rpartition(" ")[0]
            clauses.append(f"{compared} on {_places(places, len(measured), named=side < 0, first=not clauses)}")
    last = f", and {clauses.pop()}" if len(clauses) > 1 else ""  # with a comma: places are joined by "and", too
    return f"{subject} {', '.join(clauses)}{last}." if clauses else ""


def _places(places: Sequence[str], of: int, *, named: bool, first: bool) -> str:
    if named or len(places) <= _MOST_NAMED:
        return listed(places)
    if len(places) == of:
        return f"all {of}"
    return f"{len(places)} of {of}" if first else str(len(places))


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them; "nothing" for none."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
