"""REPORT.md: what was asked, one table and one chart a question, and a verdict that follows from the figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from training.evaluation.results import Results
from training.experiments.study import records as study_records
from training.ranker import action_comparison
from training.ranker.comparison_results import Comparison, Comparisons
from training.report.prediction_questions import next_action, order
from training.report.ranking_questions import few_events, new_items, overview, ranking
from training.report.wording import Question
from training.report.world_questions import other_worlds

_OPENING = """\
# How good are the rankings and the predictions?

Written by `vows-edge evaluate --report-only` from kept results; no figure is typed by hand.

**Protocol.** Everything before a point in time is learned from and the newest fifth of a log is predicted (*time*), or
each user's last event (*last*). A ranking is of the whole catalogue; NDCG@10 is 1 where the next engaged item comes
first and 0 where it is not among ten. Hyperparameters of all models, baselines and blends are selected on the same
validation events; popularity in its window and half-life, from an hour to all time. Brackets are 95 % intervals over
users, and over worlds and users where worlds are simulated. *Better* and *significantly worse* mean that the whole
interval is on one side of zero. The best other model is chosen on the test events, which favours it.

**Limits.** Real logs are of other products under another system. Simulated users are assumptions: ω (order strength) is
how much the order of events matters, 0 not at all.
"""
_FIRST = ("deskdrop",)  # the data set closest to this product


def page(
    comparisons: Comparisons,
    actions: action_comparison.Results,
    results: Results,
    study: Sequence[study_records.Comparison],
    links: Sequence[str],
    folder: Path,
) -> str:
    """Markdown. folder: where charts are written. links: Markdown of the details."""
    entries = _ordered(comparisons.sets)
    asked: list[Question] = []
    if entries:
        asked += [ranking(entries, folder), new_items(entries, folder), few_events(entries, folder)]
    if actions.sets:
        asked.append(next_action(actions.sets, folder))
    if simulated := [one for one in results.sets if one.order_strength and one.actions]:
        asked.append(order(sorted(simulated, key=lambda one: one.order_strength or 0), study, folder))
    if (found := other_worlds(study, folder)) is not None:
        asked.append(found)
    parts = [_OPENING, *(f"{n}. **{one.title}** {one.answer}" for n, one in enumerate(asked, start=1)), ""]
    if entries:
        parts += [overview(entries), ""]
    for n, one in enumerate(asked, start=1):
        parts += [f"## {n}. {one.title}", "", one.table, ""]
        if one.chart:
            parts += [f"![{one.title}](charts/{one.chart})", ""]
    parts += ["## Details", "", *(f"- {link}" for link in links), ""]
    return "\n".join(parts)


def _ordered(sets: Iterable[Comparison]) -> list[Comparison]:
    return sorted(
        sets, key=lambda one: (one.order_strength is not None, not one.key.startswith(_FIRST), one.order_strength or 0,
                               one.key),
    )  # fmt: skip
