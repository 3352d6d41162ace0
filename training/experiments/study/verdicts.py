"""The rule of decision 024: what the ablations say about each part of the model."""

from collections.abc import Sequence

from training.data import public
from training.evaluation.markdown import table
from training.experiments.study.records import Comparison
from training.experiments.study.summary import SETS, WORLDS
from training.recipes import PARTS

_METRICS = {"ndcg10": ("NDCG@10", -1.0), "log_loss": ("log-loss", 1.0)}  # sign of a difference that defends a part
DEFENDED, ASSUMED = "on for real logs", "an assumption about simulated users: off for real logs"
UNDEFENDED, UNDECIDED = "nothing defends it: off for real logs", "off for real logs"


def defended(records: Sequence[Comparison], part: str, section: str) -> list[str]:
    """Where the model without the part is worse, with an interval that excludes zero: "data, metric"."""
    return _found(records, part, section, worse=True)


def verdicts(records: Sequence[Comparison]) -> str:
    """Markdown: one row a part, or "" without ablations."""
    cells = []
    for part in PARTS:
        if not (_ran(records, part, SETS) or _ran(records, part, WORLDS)):
            continue
        real, worlds = (defended(records, part, section) for section in (SETS, WORLDS))
        against = _found(records, part, SETS, worse=False)
        verdict = DEFENDED if real else ASSUMED if worlds else UNDEFENDED if _ran(records, part, WORLDS) else UNDECIDED
        shown = [
            "; ".join(found) or ("-" if _ran(records, part, section) else "not run")
            for found, section in ((real, SETS), (worlds, WORLDS), (against, SETS))
        ]
        cells.append([part, *shown, verdict])
    if not cells:
        return ""
    head = [
        "part",
        "worse without it: real sets",
        "worse without it: worlds",
        "better without it: real sets",
        "verdict",
    ]
    return "\n".join(
        [
            "## What follows\n",
            "By the rule of [decision 024](../docs/decisions/024-parts-and-published-models.md): where the interval of "
            "NDCG@10 of the next engaged item, or of the log-loss of the next action, excludes zero.\n",
            table(head, cells),
            "",
        ]
    )


def _ran(records: Sequence[Comparison], part: str, section: str) -> bool:
    return any(
        one.section == section and one.model == f"without {part}" and one.difference is not None for one in records
    )


def _found(records: Sequence[Comparison], part: str, section: str, *, worse: bool) -> list[str]:
    found = []
    for one in records:
        if one.section != section or one.model != f"without {part}" or one.metric not in _METRICS:
            continue
        if one.difference_low is None or one.difference_high is None:
            continue
        name, sign = _METRICS[one.metric]
        wanted = sign if worse else -sign
        if min(wanted * one.difference_low, wanted * one.difference_high) > 0:
            found.append(f"{public.TITLES.get(one.data, one.data)}, {name}")
    return found
