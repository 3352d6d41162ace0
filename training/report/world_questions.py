"""The report's question about simulated worlds that differ from those on which models were developed."""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation import charts
from training.evaluation.baselines import EVERYTHING, WeightedAverage
from training.evaluation.markdown import table
from training.evaluation.results import Figure
from training.evaluation.targets import interval
from training.experiments.study.baselines import INSTALLED
from training.experiments.study.data import KINDS
from training.experiments.study.effort import EFFORTS
from training.experiments.study.records import Comparison
from training.ranker.recommender import Hybrid, Prior
from training.report.wording import Question, difference, verdict
from training.simulator.parameters import Parameters

_COLUMNS = {
    Hybrid.name: "hybrid, fitted",
    Prior.name: "not fitted",
    EVERYTHING: "blend of everything",
    WeightedAverage.name: "simple, tuned",
    INSTALLED: "sequence model as it is committed",
}
_KINDS = """\
*Order*: the laws that models were developed on. *Own laws*: what each phase of a wedding needs, and what completes
what, is permuted. *Weakest traits*: the two traits that suit a user least decide. *Freshness*: an item's appeal halves
every 12 hours. *No order*: ω = 0. The committed sequence model was trained on other worlds, with order."""


def other_worlds(records: Sequence[Comparison], folder: Path) -> Question | None:
    """The hybrid ranker, a blend and the committed sequence model on worlds of every kind; None where none was run.
    records: of the study; folder: of charts."""
    efforts = [effort for effort in EFFORTS if any(_is(one, Hybrid.name, effort) for one in records)]
    if not efforts:
        return None
    found = {(one.data, one.model): one for one in records if one.model in _COLUMNS and _is(one, one.model, efforts[0])}
    kinds = [kind for kind in KINDS if (kind, Hybrid.name) in found]
    shown = {model: title for model, title in _COLUMNS.items() if all((kind, model) in found for kind in kinds)}
    rows, verdicts = [], []
    for kind in kinds:
        blend = found.get((kind, EVERYTHING))
        ahead = None if blend is None else _ahead(blend)
        cells = [interval(_figure(one)) if (one := found.get((kind, name))) else "" for name in shown]
        rows.append([kind, str(found[kind, Hybrid.name].worlds), *cells, difference(ahead)])
        verdicts.append((kind, ahead))
    name = "worlds.svg"
    series = {
        title: [_figure(found[kind, model]) for kind in kinds]
        for model, title in shown.items()
        if all((kind, model) in found for kind in kinds)
    }
    charts.intervals(kinds, series, "NDCG@10", folder / name)
    answer = verdict("The hybrid ranker, fitted to a world,", "the blend of everything", verdicts)
    head = ["world", "worlds", *shown.values(), "hybrid − blend"]
    users = Parameters(**EFFORTS[efforts[0]].world).users
    note = f"\n\n{_KINDS} Each world has {users:,} users."
    return Question(
        "And where users differ from those that models were developed on?", answer, table(head, rows) + note, name
    )


def _is(one: Comparison, model: str, effort: str) -> bool:
    return (one.section, one.model, one.effort, one.metric, one.start) == ("worlds", model, effort, "ndcg10", "")


def _figure(one: Comparison) -> Figure:
    return Figure(one.value, one.low, one.high)


def _ahead(blend: Comparison) -> Figure | None:
    """The hybrid ranker minus the blend."""
    if blend.difference is None or blend.difference_low is None or blend.difference_high is None:
        return None
    return Figure(-blend.difference, -blend.difference_high, -blend.difference_low)
