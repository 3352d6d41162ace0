"""The report's questions about rankings."""

from collections.abc import Sequence
from pathlib import Path

from runtime.personalization.hybrid import MET
from training.data import public
from training.evaluation import charts
from training.evaluation.baselines import EVERYTHING, WeightedAverage
from training.evaluation.markdown import table
from training.evaluation.results import Figure
from training.evaluation.targets import interval
from training.ranker.comparison import recommenders
from training.ranker.comparison_results import Compared, Comparison
from training.ranker.recommender import Hybrid, Prior, Simple
from training.ranker.with_sequence import HybridWithSequence
from training.report.wording import Question, difference, label, listed, verdict

_SERVED = (Hybrid.name, Prior.name, Simple.name, HybridWithSequence.name)
_FEW_EVENTS = 0.9
_SHORT = {EVERYTHING: "blend of everything", WeightedAverage.name: "simple, tuned"}


def ranking(entries: Sequence[Comparison], folder: Path) -> Question:
    """The fitted hybrid ranker against its prior, the simple model as served, and the best baseline or blend."""
    best = {one.key: one.best_other(_SERVED) for one in entries}
    rows = [
        [
            label(one),
            f"{one.targets:,}",
            interval(one.row(Hybrid.name).ndcg_10),
            f"{one.row(Prior.name).ndcg_10.value:.3f}",
            f"{one.row(Simple.name).ndcg_10.value:.3f}",
            f"{best[one.key].ndcg_10.value:.3f} {_name(best[one.key])}",
            difference(best[one.key].ahead),
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
    charts.intervals([label(one) for one in entries], series, "NDCG@10", folder / name)
    answer = verdict("The hybrid ranker, fitted to a log,", "than the best baseline or blend",
                         [(label(one), best[one.key].ahead) for one in entries])  # fmt: skip
    untrained = [(label(one), _minus(one, Prior.name, Simple.name)) for one in entries]
    below = [label for label, figure in untrained if figure < 0]
    answer += (
        f" Untrained it is below `simple` as it is served on {listed(below)}."
        if below
        else " Untrained it is above `simple` as it is served on every one of them."
    )
    head = ["data", "targets", "hybrid, fitted", "untrained", "simple, as served", "best other", "fitted − best other"]
    if any(_with_sequence(one) for one in entries):
        head.append("with the sequence model − without")
        for row, one in zip(rows, entries, strict=True):
            row.append(_with_sequence(one))
        gains = [
            (label(one), _minus_figure(row.ahead))
            for one in entries
            for row in one.rows
            if row.name == HybridWithSequence.name and row.ahead is not None
        ]
        answer += " " + verdict("With the score of a sequence model it", "than without", gains)
    note = f"\n\n*Blend of everything*: {EVERYTHING.removeprefix('blend: ')}, its weights tuned."
    if 0 < sum(bool(_with_sequence(one)) for one in entries) < len(entries):
        note += " Where the last column is empty it was not measured."
    if any(_with_sequence(one) for one in entries if one.order_strength == 0):
        note += (
            " At ω = 0 the order of events says nothing: what the sequence model adds there is not knowledge of order."
        )
    sampled = [f"{label(one)}: {limit}" for one in entries for limit in one.limits if limit.endswith("in even steps")]
    note += "".join(f" {text}." for text in (*sampled, *_not_compared(entries)))
    if before := [label(one) for one in entries if _is_of_one_set(one.row(Hybrid.name))]:
        note += (
            f" On {listed(before)} the hybrid was compared before items that the user has met had weights of their own "
            "([decision 017](../docs/decisions/017-hybrid-ranker.md))."
        )
    return Question(
        "Does the hybrid ranker rank better than what is tuned beside it?", answer, table(head, rows) + note, name
    )


def _is_of_one_set(hybrid: Compared) -> bool:
    return bool(hybrid.choice) and not any(name.startswith(MET) for name in hybrid.choice)


def _with_sequence(one: Comparison) -> str:
    """What the score of the sequence model adds to the fitted hybrid; empty where that was not measured."""
    ahead = next((row.ahead for row in one.rows if row.name == HybridWithSequence.name), None)
    return "" if ahead is None else difference(_minus_figure(ahead))


def _minus_figure(figure: Figure) -> Figure:
    return Figure(-figure.value, -figure.high, -figure.low)


def _not_compared(entries: Sequence[Comparison]) -> list[str]:
    """What is missing in the table: sets and splits, and models of those that are there."""
    there = {one.key for one in entries}
    keys = [f"{name}, {protocol}" for name in public.NAMES for protocol in ("last", "time")]
    missing = [key.replace(", ", " (") + ")" for key in keys if key not in there]
    every = [model.name for model in recommenders()]
    found = [f"Not measured: {listed(missing)}"] if missing else []
    for one in entries:
        lacking = [_SHORT.get(name, name) for name in every if name not in {row.name for row in one.rows}]
        if lacking:
            found.append(f"{label(one)} was not compared with {listed(lacking)}")
    return found


def new_items(entries: Sequence[Comparison], folder: Path) -> Question:
    """The same on items that the user never met, and on targets other than the last item."""
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
                label(one), f"{one.new_share:.0%}", interval(hybrid.never_seen),
                f"{_value(new.never_seen):.3f} {_name(new)}", difference(new.ahead_never_seen),
                f"{1 - one.last_share:.0%}", interval(hybrid.not_the_last), difference(other.ahead_not_the_last),
            ]
        )  # fmt: skip
        labels.append(label(one))
        ours.append(hybrid.never_seen)
        theirs.append(new.never_seen)
        verdicts.append((label(one), new.ahead_never_seen))
        apart.append((label(one), other.ahead_not_the_last))
    name = "ranker-never-seen.svg"
    charts.intervals(labels, {"hybrid, fitted": ours, "best other": theirs}, "NDCG@10 of never seen", folder / name)
    answer = verdict("On items that a user had never met the fitted hybrid", "than the best other", verdicts)
    answer += " " + verdict("On targets other than the last item it", "than the best other", apart)
    head = [
        "data", "targets never seen", "hybrid on these", "best other", "difference", "targets not the last item",
        "hybrid on these", "difference to the best other",
    ]  # fmt: skip
    rest = [label(one) for one in entries if not one.repeats]
    note = (
        f"\n\nUsers repeat nothing in {listed(rest)}: every target is new there, see the first table." if rest else ""
    )
    return Question(
        "And on items the user never met, or other than the last one?", answer, table(head, rows) + note, name
    )


def few_events(entries: Sequence[Comparison], folder: Path) -> Question:
    """What is left of NDCG@10 with none and with five of the user's events, ours and the best other model's."""
    names = (Hybrid.name, Prior.name)
    rows = []
    for one in entries:
        best, few = one.best_other(_SERVED), _best_of_few(one)
        rows.append(
            [
                label(one), *(_share(one.row(name).kept.get(k)) for name in names for k in ("0", "5")),
                f"{_share(best.kept.get('5'))} {_name(best)}", _few(one.row(Hybrid.name)),
                "" if few is None else f"{_few(few)} {_name(few)}",
            ]
        )  # fmt: skip
    name = "ranker-few-events.svg"
    series = {
        label: [Figure(*[one.row(model).kept.get(k, 0.0)] * 3) for one in entries]
        for label, model, k in (("R(5), fitted", names[0], "5"), ("R(0), fitted", names[0], "0"))
    }
    charts.intervals([label(one) for one in entries], series, "share of the NDCG@10 with the whole history",
                     folder / name)  # fmt: skip
    short = [one for one in entries if one.row(Hybrid.name).kept.get("5", 0.0) < _FEW_EVENTS]
    target = f"at least {_FEW_EVENTS:g} of its NDCG@10"
    answer = f"With the user's last five events alone the fitted hybrid keeps {target} everywhere"
    if short:
        answer += f" but on {listed([label(one) for one in short])}: **not reached** there"
    answer += "."
    if beyond := [label(one) for one in short if not _within_reach(one)]:
        answer += (
            f" On {listed(beyond)} it is out of reach: no model that was compared ranks as well from five events; "
            "what wins there is the user's own long history."
        )
    head = [
        "data", "R(0), fitted", "R(5), fitted", "R(0), untrained", "R(5), untrained", "R(5), best other",
        "NDCG@10 from 5 events, fitted", "best other from 5 events",
    ]  # fmt: skip
    note = (
        "\n\nR(k) is NDCG@10 from the user's last k events as a share of that from their whole history, on the same "
        "targets: above 1 the newest events alone rank better."
    )
    return Question("How much is left with few events of the user?", answer, table(head, rows) + note, name)


def _best_of_few(one: Comparison) -> Compared | None:
    """The model that ranks best from five events, the hybrid ranker aside."""
    others = [row for row in one.rows if row.name not in _SERVED and "5" in row.few]
    return max(others, key=lambda row: row.few["5"], default=None)


def _within_reach(one: Comparison) -> bool:
    """Whether a model that was compared has from five events as much as is asked of the fitted hybrid."""
    hybrid = one.row(Hybrid.name)
    if not hybrid.kept.get("5"):
        return True
    asked = _FEW_EVENTS * hybrid.few.get("5", 0.0) / hybrid.kept["5"]
    return any(row.few.get("5", 0.0) >= asked for row in one.rows)


def _few(row: Compared) -> str:
    return f"{row.few['5']:.3f}" if "5" in row.few else ""


def _name(model: Compared) -> str:
    return _SHORT.get(model.name, model.name)


def _minus(one: Comparison, ours: str, theirs: str) -> float:
    return one.row(ours).ndcg_10.value - one.row(theirs).ndcg_10.value


def _value(figure: Figure | None) -> float:
    return float("-inf") if figure is None else figure.value


def _share(kept: float | None) -> str:
    return "" if kept is None else f"{kept:.2f}"
