"""The report's questions about predictions of the next action."""

from collections.abc import Sequence
from pathlib import Path

from training.data import public
from training.evaluation import charts
from training.evaluation.baselines import Logistic, Majority
from training.evaluation.markdown import table
from training.evaluation.results import Figure, SetResult
from training.evaluation.targets import interval
from training.ranker import action_comparison
from training.report.wording import Question, difference, label, listed, verdict

_ACCURACY_ASKED = 0.7  # of the next action, where the order of events decides
_FIRST = ("deskdrop",)  # the data set closest to this product


def next_action(sets: Sequence[action_comparison.Compared], folder: Path) -> Question:
    """The served stack of both models against its parts, on every set with more than one action."""
    stack, parts = action_comparison.STACKED, action_comparison.PARTS
    ordered = sorted(sets, key=lambda one: (one.order_strength is not None, not one.key.startswith(_FIRST), one.key))
    shown = [one for one in ordered if one.row(stack).accuracy.low < 1]  # of a single action there is nothing to say
    rows, verdicts = [], []
    for one in shown:
        best = min(map(one.row, parts), key=lambda row: row.log_loss.value)
        cells = [f"{one.row(name).accuracy.value:.3f} / {one.row(name).log_loss.value:.3f}"
                 for name in (stack, *parts, Logistic.name, Majority.name)]  # fmt: skip
        rows.append([label(one), *cells, difference(best.ahead)])
        verdicts.append((label(one), best.ahead))
    name = "next-action.svg"
    series = {label: [one.row(model).accuracy for one in shown]
              for label, model in (("served (stack)", stack), ("logistic regression", Logistic.name),
                                   ("majority", Majority.name))}  # fmt: skip
    charts.intervals([label(one) for one in shown], series, "accuracy of the next action", folder / name)
    answer = verdict("By log-loss the served stack of both models", "than the better of its parts", verdicts)
    for one in shown:
        accuracy = one.row(stack).accuracy
        if one.order_strength == 1 and accuracy.value <= _ACCURACY_ASKED:
            answer += f" On {label(one)} it is right in {accuracy.value:.1%}, more than {_ACCURACY_ASKED:.0%} was "
            answer += "asked: **not reached**."
    head = ["accuracy / log-loss", "served (stack)", *parts, "logistic regression", "majority", "gain in log-loss"]
    there = {one.key for one in sets}
    without = [f"{data} has a single action, so there is nothing to predict" for data in public.ONE_ACTION]
    missing = [f"{data} ({protocol})" for data in public.NAMES if data not in public.ONE_ACTION
               for protocol in ("last", "time") if f"{data}, {protocol}" not in there]  # fmt: skip
    alone = [label(one) for one in shown if not one.row(stack).choice.get("stacked", True)]
    if alone:
        without.append(f"on {listed(alone)} the stack was no better for half of the users when it was fitted to the "
                       "others, so the regression alone is what is served")  # fmt: skip
    notes = [*without, *([f"not measured: {listed(missing)}"] if missing else [])]
    worlds = [f"{label(one)} is {len(one.seeds)} world{'s' if len(one.seeds) > 1 else ''}"
              for one in shown if one.seeds]  # fmt: skip
    note = "".join(f" {text[0].upper()}{text[1:]}." for text in (*worlds, *notes))
    return Question("Does the server predict the next action?", answer, f"{table(head, rows)}\n\n{note.strip()}", name)


def order(simulated: Sequence[SetResult], folder: Path) -> Question:
    """The accuracy of the sequence model on held-out simulated worlds over the order strength."""
    curves: dict[str, list[tuple[float, Figure]]] = {}
    verdicts: list[tuple[str, Figure | None]] = []
    rows = []
    for one in simulated:
        strength, oracle = float(one.order_strength or 0), one.oracle
        baseline = max((a for a in one.actions if a.model in one.baselines), key=lambda a: a.accuracy.value)
        for acting in (a for a in one.actions if a.model not in one.baselines):
            curves.setdefault("sequence", []).append((strength, acting.accuracy))
            gap = oracle.gap_closed.get(acting.model) if oracle else None
            margin = _margin(one, acting.model, "accuracy", baseline.model)
            verdicts.append((f"ω = {strength:g}", margin))
            rows.append(
                [
                    f"{strength:g}", str(len(one.seeds)), interval(acting.accuracy),
                    f"{baseline.accuracy.value:.3f} {baseline.model}", difference(margin),
                    "" if oracle is None else f"{oracle.accuracy.value:.3f}", "" if gap is None else f"{gap:.0%}",
                ]
            )  # fmt: skip
        curves.setdefault("best baseline", []).append((strength, baseline.accuracy))
        if oracle:
            curves.setdefault(charts.ORACLE, []).append((strength, oracle.accuracy))
    name = "order-strength-accuracy.svg"
    charts.order_strength_curve(curves, "next-action accuracy", folder / name)
    answer = verdict("Its accuracy", "than that of the best baseline", verdicts)
    head = ["ω", "worlds", "accuracy", "best baseline", "difference", "oracle", "of the way to it"]
    note = (
        "\n\nThe model was trained on other worlds of order strength 1 and fine-tuned to the past of each of these. "
        "Intervals resample users. A control at ω = 0 takes a model that was trained at 0; there is none yet. The "
        "oracle knows every hidden trait and cannot be reached. Rankings of newer worlds are under question 1; "
        "[STUDY.md](STUDY.md) has worlds of other laws."
    )
    for one in simulated:
        if one.order_strength == 1 and one.oracle is not None:
            best = max(a.accuracy.value for a in one.actions if a.model in one.baselines)
            way = (_ACCURACY_ASKED - best) / (one.oracle.accuracy.value - best)
            note += (
                f" The {_ACCURACY_ASKED:.0%} that were asked at ω = 1 are {way:.0%} of the way from the best baseline "
                "to the oracle."
            )
    title = "Does the sequence model learn from order (simulated worlds)?"
    return Question(title, answer, table(head, rows) + note, name)


def _margin(one: SetResult, model: str, metric: str, baseline: str) -> Figure | None:
    found = [m for m in one.margins if (m.model, m.metric, m.baseline) == (model, metric, baseline)]
    return found[0].difference if found else None
