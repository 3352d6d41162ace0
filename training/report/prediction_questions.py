"""The report's questions about predictions of the next action."""

from collections.abc import Sequence
from pathlib import Path

from training.data import public
from training.evaluation import charts
from training.evaluation.baselines import Logistic, Majority
from training.evaluation.markdown import table
from training.evaluation.results import Figure, SetResult
from training.evaluation.targets import interval
from training.experiments.study.data import NO_ORDER
from training.experiments.study.effort import EFFORTS
from training.experiments.study.jobs import ORACLE
from training.experiments.study.records import Comparison
from training.experiments.study.variants import FULL
from training.ranker import action_comparison
from training.report.wording import Question, difference, label, listed, verdict

_ACCURACY_ASKED = 0.7  # of the next action, where the order of events decides
_CONTROLLED = {"accuracy": "accuracy of the next action", "ndcg10": "NDCG@10"}
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
    answer = "It stacks two models: a regression on what it counts, and the sequence model. "
    answer += verdict("By log-loss the stack", "the better of the two", verdicts)
    for one in shown:
        accuracy = one.row(stack).accuracy
        if one.order_strength == 1 and accuracy.value <= _ACCURACY_ASKED:
            answer += f" On {label(one)} it predicts {accuracy.value:.1%} of the actions; more than "
            answer += f"{_ACCURACY_ASKED:.0%} was asked: **not reached**."
    head = ["accuracy / log-loss", "served (stack)", *parts, "logistic regression", "majority", "gain in log-loss"]
    there = {one.key for one in sets}
    without = [
        f"{public.TITLES[data]} has a single action, so there is nothing to predict" for data in public.ONE_ACTION
    ]
    missing = [public.title(data, protocol) for data in public.NAMES if data not in public.ONE_ACTION
               for protocol in ("last", "time") if f"{data}, {protocol}" not in there]  # fmt: skip
    alone = [label(one) for one in shown if not one.row(stack).choice.get("stacked", True)]
    if alone:
        without.append(f"on {listed(alone)} the stack was no better than the regression for users that it was not "
                       "fitted to, so the regression alone is served")  # fmt: skip
    notes = [*without, *([f"not measured: {listed(missing)}"] if missing else [])]
    worlds = [f"ω = {one.order_strength:g} has {len(one.seeds)} world{'s' if len(one.seeds) > 1 else ''}"
              for one in shown if one.seeds]  # fmt: skip
    if any(one.order_strength is None for one in shown):
        notes.append(
            "on public logs the sequence model has a recipe for that log, not the one that `vows-edge train` chooses"
        )
    if any(one.order_strength == 0 for one in shown):
        notes.append(
            "at ω = 0 order says nothing: what a model that was trained on other worlds gains there is knowledge of "
            "preferences, see the control in the next question"
        )
    note = "".join(f" {text[0].upper()}{text[1:]}." for text in (*worlds, *notes))
    return Question("Does the server predict the next action?", answer, f"{table(head, rows)}\n\n{note.strip()}", name)


def order(simulated: Sequence[SetResult], study: Sequence[Comparison], folder: Path) -> Question:
    """The accuracy of the sequence model on held-out simulated worlds over the order strength. study: where the control
    is, a model that was pre-trained and judged without order."""
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
    answer = verdict("Its accuracy in predicting the next action", "that of the best baseline", verdicts)
    head = ["ω", "worlds", "accuracy", "best baseline", "difference", "oracle", "of the way to it"]
    found = _control(study)
    if "accuracy" in found:
        rows.insert(0, _control_row(study, found["accuracy"]))
        answer += f" {_control_verdict(found)}"
    note = (
        "\n\nThe model was trained on other worlds of ω = 1 and fine-tuned to the past of each of these. Intervals are "
        f"over users. {_control_note(found)} The oracle knows every hidden trait and cannot be reached."
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


def _control(study: Sequence[Comparison]) -> dict[str, Comparison]:
    """By metric: the model that was pre-trained at order strength 0 on worlds of order strength 0; that of the larger
    effort where there are several."""
    start = f"{FULL}, {NO_ORDER}"
    own = [one for one in study if (one.section, one.data, one.model, one.start) == ("worlds", NO_ORDER, FULL, start)]
    efforts = [effort for effort in EFFORTS if any(one.effort == effort for one in own)]
    return {one.metric: one for one in own if one.effort == efforts[0]}


def _control_row(study: Sequence[Comparison], one: Comparison) -> list[str]:
    shared = ("worlds", NO_ORDER, "", one.effort, one.metric)
    others = {o.model: o for o in study if (o.section, o.data, o.start, o.effort, o.metric) == shared}
    low, high = others.get(one.against), others.get(ORACLE)
    way = (one.value - low.value) / (high.value - low.value) if low and high else None
    return [
        "0, control", str(one.worlds), interval(Figure(one.value, one.low, one.high)),
        "" if low is None else f"{low.value:.3f} {low.model}", difference(_ahead(one)),
        "" if high is None else f"{high.value:.3f}", "" if way is None else f"{way:.0%}",
    ]  # fmt: skip


def _control_verdict(found: dict[str, Comparison]) -> str:
    ahead = [(title, _ahead(found[metric])) for metric, title in _CONTROLLED.items() if metric in found]
    gained = [title for title, figure in ahead if figure is not None and figure.low > 0]
    if gained:
        return f"The control, which never met order, **gains** in {listed(gained)}: what it gains there is not order."
    return (
        "The control, which never met order, gains nothing over the best baseline, as it should "
        f"({listed([t for t, _ in ahead])})."
    )


def _control_note(found: dict[str, Comparison]) -> str:
    if not found:
        return "A control at ω = 0 takes a model that was trained at 0; there is none yet."
    one = next(iter(found.values()))
    text = "The control was trained on other worlds of ω = 0, and fine-tuned likewise"
    if (ndcg := found.get("ndcg10")) and ndcg.against:
        text += f"; its NDCG@10 of {ndcg.value:.3f} minus that of {ndcg.against} is {difference(_ahead(ndcg))}"
    return f"{text}. [STUDY.md](STUDY.md) says with how much effort ({one.effort})."


def _ahead(one: Comparison) -> Figure | None:
    if one.difference is None or one.difference_low is None or one.difference_high is None:
        return None
    return Figure(one.difference, one.difference_low, one.difference_high)


def _margin(one: SetResult, model: str, metric: str, baseline: str) -> Figure | None:
    found = [m for m in one.margins if (m.model, m.metric, m.baseline) == (model, metric, baseline)]
    return found[0].difference if found else None
