"""REPORT.md: what was asked, one table and one chart a question, and a verdict that follows from the figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data import public
from training.evaluation import charts
from training.evaluation.baselines import EVERYTHING, Logistic, Majority, WeightedAverage
from training.evaluation.markdown import table
from training.evaluation.results import Figure, Results, SetResult
from training.evaluation.targets import interval, sign, signed
from training.ranker import action_comparison
from training.ranker.comparison import recommenders
from training.ranker.comparison_results import Compared, Comparison, Comparisons
from training.ranker.recommender import Hybrid, Prior, Simple
from training.ranker.with_sequence import HybridWithSequence

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
_SERVED = (Hybrid.name, Prior.name, Simple.name, HybridWithSequence.name)
_FIRST = ("deskdrop",)  # the data set closest to this product
_FEW_EVENTS = 0.9
_SHORT = {EVERYTHING: "blend of everything", WeightedAverage.name: "simple, tuned"}


@dataclass(frozen=True)
class Question:
    """One section. chart: its file name in charts/, "" for none."""

    title: str
    answer: str
    table: str
    chart: str = ""


def page(
    comparisons: Comparisons, actions: action_comparison.Results, results: Results, links: Sequence[str], folder: Path
) -> str:
    """Markdown. folder: where charts are written. links: Markdown of the details."""
    entries = _ordered(comparisons.sets)
    asked: list[Question] = []
    if entries:
        asked += [_ranking(entries, folder), _new_items(entries, folder), _few_events(entries, folder)]
    if actions.sets:
        asked.append(_next_action(actions.sets, folder))
    if simulated := [one for one in results.sets if one.order_strength is not None and one.actions]:
        asked.append(_order(sorted(simulated, key=lambda one: one.order_strength or 0), folder))
    parts = [_OPENING, *(f"{n}. **{one.title}** {one.answer}" for n, one in enumerate(asked, start=1)), ""]
    for n, one in enumerate(asked, start=1):
        parts += [f"## {n}. {one.title}", "", one.table, ""]
        if one.chart:
            parts += [f"![{one.title}](charts/{one.chart})", ""]
    parts += ["## Details", "", *(f"- {link}" for link in links), ""]
    return "\n".join(parts)


def _ranking(entries: Sequence[Comparison], folder: Path) -> Question:
    best = {one.key: one.best_other(_SERVED) for one in entries}
    rows = [
        [
            _label(one),
            f"{one.targets:,}",
            interval(one.row(Hybrid.name).ndcg_10),
            f"{one.row(Prior.name).ndcg_10.value:.3f}",
            f"{one.row(Simple.name).ndcg_10.value:.3f}",
            f"{best[one.key].ndcg_10.value:.3f} {_name(best[one.key])}",
            _difference(best[one.key].ahead),
        ]
        for one in entries
    ]
    name = "ranker.svg"
    series: dict[str, list[Figure]] = {
        "hybrid, fitted": [one.row(Hybrid.name).ndcg_10 for one in entries],
        "hybrid, untrained": [one.row(Prior.name).ndcg_10 for one in entries],
        "simple, as served": [one.row(Simple.name).ndcg_10 for one in entries],
        "best other": [best[one.key].ndcg_10 for one in entries],
    }
    charts.intervals([_label(one) for one in entries], series, "NDCG@10", folder / name)
    answer = _sorted_out("The hybrid ranker, fitted to a log,", "than the best baseline or blend",
                         [(_label(one), best[one.key].ahead) for one in entries])  # fmt: skip
    untrained = [(_label(one), _minus(one, Prior.name, Simple.name)) for one in entries]
    below = [label for label, figure in untrained if figure < 0]
    answer += (
        f" Untrained it is below `simple` as it is served on {_listed(below)}."
        if below
        else " Untrained it is above `simple` as it is served on every one of them."
    )
    head = ["data", "targets", "hybrid, fitted", "untrained", "simple, as served", "best other", "fitted − best other"]
    if any(_with_sequence(one) for one in entries):
        head.append("with the sequence model − without")
        for row, one in zip(rows, entries, strict=True):
            row.append(_with_sequence(one))
        gains = [
            (_label(one), _minus_figure(row.ahead))
            for one in entries
            for row in one.rows
            if row.name == HybridWithSequence.name and row.ahead is not None
        ]
        answer += " " + _sorted_out("With the score of a sequence model it", "than without", gains)
    note = f"\n\n*Blend of everything*: {EVERYTHING.removeprefix('blend: ')}, its weights tuned."
    sampled = [f"{_label(one)}: {limit}" for one in entries for limit in one.limits if limit.endswith("in even steps")]
    note += "".join(f" {text}." for text in (*sampled, *_not_compared(entries)))
    return Question(
        "Does the hybrid ranker rank better than what is tuned beside it?", answer, table(head, rows) + note, name
    )


def _with_sequence(one: Comparison) -> str:
    """What the score of the sequence model adds to the fitted hybrid; empty where that was not measured."""
    ahead = next((row.ahead for row in one.rows if row.name == HybridWithSequence.name), None)
    return "" if ahead is None else _difference(_minus_figure(ahead))


def _minus_figure(figure: Figure) -> Figure:
    return Figure(-figure.value, -figure.high, -figure.low)


def _not_compared(entries: Sequence[Comparison]) -> list[str]:
    """What is missing in the table: sets and splits, and models of those that are there."""
    there = {one.key for one in entries}
    keys = [f"{name}, {protocol}" for name in public.NAMES for protocol in ("last", "time")]
    missing = [key.replace(", ", " (") + ")" for key in keys if key not in there]
    every = [model.name for model in recommenders()]
    found = [f"Not measured: {_listed(missing)}"] if missing else []
    for one in entries:
        lacking = [_SHORT.get(name, name) for name in every if name not in {row.name for row in one.rows}]
        if lacking:
            found.append(f"{_label(one)} was not compared with {_listed(lacking)}")
    return found


def _new_items(entries: Sequence[Comparison], folder: Path) -> Question:
    rows, labels, ours, theirs, verdicts, apart = [], [], [], [], [], []
    for one in (one for one in entries if one.repeats):
        hybrid = one.row(Hybrid.name)
        others = [row for row in one.rows if row.name not in _SERVED]
        new = max((row for row in others if row.never_seen), key=lambda row: _value(row.never_seen))
        other = max((row for row in others if row.not_the_last), key=lambda row: _value(row.not_the_last))
        if hybrid.never_seen is None or hybrid.not_the_last is None or new.never_seen is None:
            continue
        rows.append(
            [
                _label(one), f"{one.new_share:.0%}", interval(hybrid.never_seen),
                f"{_value(new.never_seen):.3f} {_name(new)}", _difference(new.ahead_never_seen),
                f"{1 - one.last_share:.0%}", interval(hybrid.not_the_last), _difference(other.ahead_not_the_last),
            ]
        )  # fmt: skip
        labels.append(_label(one))
        ours.append(hybrid.never_seen)
        theirs.append(new.never_seen)
        verdicts.append((_label(one), new.ahead_never_seen))
        apart.append((_label(one), other.ahead_not_the_last))
    name = "ranker-never-seen.svg"
    charts.intervals(labels, {"hybrid, fitted": ours, "best other": theirs}, "NDCG@10 of never seen", folder / name)
    answer = _sorted_out("On items that a user had never met the fitted hybrid", "than the best other", verdicts)
    answer += " " + _sorted_out("On targets other than the last item it", "than the best other", apart)
    head = [
        "data", "never seen", "hybrid", "best other", "difference", "not the last item", "hybrid",
        "difference to the best other",
    ]  # fmt: skip
    rest = [_label(one) for one in entries if not one.repeats]
    note = (
        f"\n\nUsers repeat nothing in {_listed(rest)}: every target is new there, see the first table." if rest else ""
    )
    return Question(
        "And on items the user never met, or other than the last one?", answer, table(head, rows) + note, name
    )


def _few_events(entries: Sequence[Comparison], folder: Path) -> Question:
    names = (Hybrid.name, Prior.name)
    rows = [
        [_label(one), *(_share(one.row(name).kept.get(k)) for name in names for k in ("0", "5"))] for one in entries
    ]
    name = "ranker-few-events.svg"
    series = {
        label: [Figure(*[one.row(model).kept.get(k, 0.0)] * 3) for one in entries]
        for label, model, k in (("R(5), fitted", names[0], "5"), ("R(0), fitted", names[0], "0"))
    }
    charts.intervals([_label(one) for one in entries], series, "share of the NDCG@10 with the whole history",
                     folder / name)  # fmt: skip
    short = [_label(one) for one in entries if one.row(Hybrid.name).kept.get("5", 0.0) < _FEW_EVENTS]
    target = f"at least {_FEW_EVENTS:g} of its NDCG@10"
    answer = (
        f"With the user's last five events alone the fitted hybrid keeps {target} everywhere."
        if not short
        else f"With the user's last five events alone the fitted hybrid keeps {target} everywhere but on "
        f"{_listed(short)}: **not reached** there."
    )
    head = ["data", "R(0), fitted", "R(5), fitted", "R(0), untrained", "R(5), untrained"]
    return Question("How much is left with few events of the user?", answer, table(head, rows), name)


def _next_action(sets: Sequence[action_comparison.Compared], folder: Path) -> Question:
    stack, parts = action_comparison.STACKED, action_comparison.PARTS
    ordered = sorted(sets, key=lambda one: (one.order_strength is not None, not one.key.startswith(_FIRST), one.key))
    shown = [one for one in ordered if one.row(stack).accuracy.low < 1]  # of a single action there is nothing to say
    rows, verdicts = [], []
    for one in shown:
        best = min(map(one.row, parts), key=lambda row: row.log_loss.value)
        cells = [f"{one.row(name).accuracy.value:.3f} / {one.row(name).log_loss.value:.3f}"
                 for name in (stack, *parts, Logistic.name, Majority.name)]  # fmt: skip
        rows.append([_action_label(one), *cells, _difference(best.ahead)])
        verdicts.append((_action_label(one), best.ahead))
    name = "next-action.svg"
    series = {label: [one.row(model).accuracy for one in shown]
              for label, model in (("served (stack)", stack), ("logistic regression", Logistic.name),
                                   ("majority", Majority.name))}  # fmt: skip
    charts.intervals([_action_label(one) for one in shown], series, "accuracy of the next action", folder / name)
    answer = _sorted_out("By log-loss the served stack of both models", "than the better of its parts", verdicts)
    head = ["accuracy / log-loss", "served (stack)", *parts, "logistic regression", "majority", "gain in log-loss"]
    return Question("Does the server predict the next action?", answer, table(head, rows), name)


def _order(simulated: Sequence[SetResult], folder: Path) -> Question:
    """The sequence model on held-out simulated worlds over the order strength."""
    curves: dict[str, list[tuple[float, Figure]]] = {}
    verdicts: dict[str, list[tuple[str, Figure | None]]] = {"accuracy": [], "NDCG@10": []}
    rows = []
    for one in simulated:
        strength, oracle = float(one.order_strength or 0), one.oracle
        baseline = max((a for a in one.actions if a.model in one.baselines), key=lambda a: a.accuracy.value)
        for acting in (a for a in one.actions if a.model not in one.baselines):
            curves.setdefault("sequence", []).append((strength, acting.accuracy))
            gap = oracle.gap_closed.get(acting.model) if oracle else None
            simple = _margin(one, acting.model, "NDCG@10", WeightedAverage.name)
            verdicts["NDCG@10"].append((f"ω = {strength:g}", simple))
            verdicts["accuracy"].append((f"ω = {strength:g}", _margin(one, acting.model, "accuracy", baseline.model)))
            rows.append(
                [
                    f"{strength:g}", interval(acting.accuracy), f"{baseline.accuracy.value:.3f} {baseline.model}",
                    "" if oracle is None else f"{oracle.accuracy.value:.3f}", "" if gap is None else f"{gap:.0%}",
                    _difference(simple),
                ]
            )  # fmt: skip
        curves.setdefault("best baseline", []).append((strength, baseline.accuracy))
        if oracle:
            curves.setdefault(charts.ORACLE, []).append((strength, oracle.accuracy))
    name = "order-strength-accuracy.svg"
    charts.order_strength_curve(curves, "next-action accuracy", folder / name)
    answer = _sorted_out("Its accuracy", "than that of the best baseline", verdicts["accuracy"])
    answer += " " + _sorted_out("Its ranking", "than the simple model's with tuned weights", verdicts["NDCG@10"])
    head = ["ω", "accuracy", "best baseline", "oracle", "of the way to it", "NDCG@10 − simple model, tuned"]
    return Question("Does the sequence model learn from order (simulated worlds)?", answer, table(head, rows), name)


def _margin(one: SetResult, model: str, metric: str, baseline: str) -> Figure | None:
    found = [m for m in one.margins if (m.model, m.metric, m.baseline) == (model, metric, baseline)]
    return found[0].difference if found else None


def _name(model: Compared) -> str:
    return _SHORT.get(model.name, model.name)


def _ordered(sets: Iterable[Comparison]) -> list[Comparison]:
    return sorted(
        sets, key=lambda one: (one.order_strength is not None, not one.key.startswith(_FIRST), one.order_strength or 0,
                               one.key),
    )  # fmt: skip


def _label(one: Comparison) -> str:
    if one.order_strength is not None:
        return f"simulated, ω = {one.order_strength:g}"
    return f"{one.name} ({one.protocol})"


def _action_label(one: action_comparison.Compared) -> str:
    if one.order_strength is not None:
        return f"simulated, ω = {one.order_strength:g}"
    return f"{one.name} ({one.protocol})"


def _difference(figure: Figure | None) -> str:
    """Signed, with its interval, in bold where the whole of it is on one side of zero."""
    if figure is None:
        return ""
    words = {1: "**better** ", 0: "", -1: "**significantly worse** "}
    return words[sign(figure)] + signed(figure)


def _sorted_out(subject: str, than: str, differences: Sequence[tuple[str, Figure | None]]) -> str:
    """One sentence: where it is better, where no difference was found, and where it is significantly worse."""
    words = {1: f"is better {than} on", 0: "no difference was found on", -1: f"it is **significantly worse** {than} on"}
    clauses: list[str] = []
    for side, how in words.items():
        where = [label for label, figure in differences if figure is not None and sign(figure) == side]
        if where:
            clauses.append(f"{how if clauses or side == 1 else how.removeprefix('it ')} {_listed(where)}")
    if clauses and clauses[0].startswith("no difference"):
        subject = f"{subject} {than.replace('than', 'against', 1)}:"
    return f"{subject} {'; '.join(clauses)}." if clauses else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def _minus(one: Comparison, ours: str, theirs: str) -> float:
    return one.row(ours).ndcg_10.value - one.row(theirs).ndcg_10.value


def _value(figure: Figure | None) -> float:
    return float("-inf") if figure is None else figure.value


def _share(kept: float | None) -> str:
    return "" if kept is None else f"{kept:.2f}"
