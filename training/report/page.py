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

**How to read it**

- *Data*: public logs of other products, and simulated users. `vows-edge evaluate --events` judges your own log.
- *(time)*: a log is learned from up to a point in time, and its newest fifth is predicted. *(last)*: the last event of
  each user is predicted.
- *Simulated, ω = 1*: the order of events matters fully; *ω = 0*: not at all. How such users behave is an assumption.
- *NDCG@10*: 1 where what a user engages with next is ranked first of all items, less further down, 0 below ten.
- *Best other*: the best of the baselines and their blends. They are tuned on the same events as the models here; which
  one is best is chosen on the test events, in its favour.
- *Better*, *significantly worse*: the whole 95 % interval of the difference (in brackets) is on that side of zero. It
  is over users, and over worlds and users where they are simulated.

**What was found**. Counts are of the rows of the tables below.
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
