"""DETAILS.md and its charts, written from the results file: every figure of the sequence model."""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation import charts
from training.evaluation.baselines import EXTENDED_BLENDS, REFERENCE_BASELINES
from training.evaluation.markdown import table
from training.evaluation.results import Actions, Figure, Margin, Ranking, Results, SetResult
from training.evaluation.targets import interval, set_name, sign, signed, targets
from training.report.training_section import training_section

_OPENING = """\
# Details: the sequence model on every set

Written by `vows-edge evaluate`; [REPORT.md](REPORT.md) is the page to read first. Every figure comes from `{results}`,
from the files that `tune` and `incremental` write beside it, and from the metrics of the reference
checkpoint.

**Limits.** Real data sets are logs of other products: a ranking is judged by what users engaged with under another
system. Simulated worlds are assumptions about users: they show whether a model learns order where there is order, and
say nothing about real couples. ω (order strength) is how much the order of events matters in a simulated world: at 0
the actions of a user are exchangeable, at 1 sessions follow intents and intents follow phases.

**Protocol.** Rankings are over the whole catalogue; ties go to the lower item index. Intervals are 95 %, by resampling
users. Hyperparameters of all models are selected on the same validation events, over the grids in
`training/evaluation/baselines/`.{untuned} Baselines are then refitted on train and validation together; on real data
the sequence model with the best validation loss is trained for one more epoch on both. Differences are to the baseline
that is best on the test events, which favours the baseline; to the best standard baseline, without {extended}; to
recency-decayed EASE and kNN + Markov; and to the simple model with tuned weights and half-life.
"""
_UNTUNED = (
    " **Popularity of 7 days** and the blends with it have a fixed window. Where items are news a tuned window is "
    "better: REPORT.md compares with that."
)
_LEGEND = """\
*sequence*: the model alone, with a recipe selected on the data set's validation part. *sequence + recency*: blended
with recent popularity and the user's own history. *blend of everything + sequence*: the blend of
all baselines with the model as one more part. The weights of every blend are selected on the same validation events.
"Above" and "better" mean that the whole interval is above zero; "significantly worse" that all of it is below.
"""
_FIRST = ("deskdrop",)  # the data set closest to this product is reported first


def write_details(results: Results, path: Path, records: Path, checkpoint: Path) -> None:
    """Write the details to `path`, and charts/ beside it.

    records: the folder with the records of tuning and incremental training; checkpoint: whose training curve
    is drawn.
    """
    folder = path.parent / "charts"
    order = sorted(
        results.sets,
        key=lambda s: (s.order_strength is not None, not s.key.startswith(_FIRST), s.order_strength or 0, s.key),
    )
    extended = " and ".join(f"*{name}*" for name in EXTENDED_BLENDS)
    untuned = any("7 days" in name for one in results.sets for name in one.baselines)
    opening = _OPENING.format(results="training/results.json", extended=extended, untuned=_UNTUNED if untuned else "")
    parts = [opening, summary_table(results)]
    if simulated := [one for one in order if one.order_strength is not None]:
        parts.append(_order_strength(simulated, folder))
    parts += [_set(one, folder) for one in order]
    parts.append(training_section(records, checkpoint, folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def summary_table(results: Results) -> str:
    """Every target with what was measured, as Markdown."""
    words = {True: "reached", False: "**not reached**", None: ""}
    rows, before = [], ""
    for target in targets(results):
        rows.append(
            [
                "" if target.target == before else target.target, target.data, target.model, target.found,
                words[target.reached],
            ]
        )  # fmt: skip
        before = target.target
    return "\n".join(["## Summary", "", table(["target", "data", "model", "measured", ""], rows), "", _LEGEND])


def verdict(margin: Margin) -> str:
    """One sentence: better, significantly worse, or no difference found."""
    ours, theirs, metric = margin.model, margin.baseline, margin.metric
    sentence = {
        1: f"{ours} is better than {theirs} in {metric}",
        0: f"no difference found between {ours} and {theirs} in {metric}",
        -1: f"{ours} is **significantly worse** than {theirs} in {metric}",
    }[sign(margin.difference)]
    return f"{sentence}: {signed(margin.difference)}"


def _order_strength(simulated: Sequence[SetResult], folder: Path) -> str:
    """Accuracy and NDCG over ω: models that are not baselines, the best baseline of each kind, and the oracle."""
    accuracy: dict[str, list[tuple[float, Figure]]] = {}
    ndcg: dict[str, list[tuple[float, Figure]]] = {}
    rows = []
    for one in simulated:
        strength = float(one.order_strength or 0)
        for acting in one.actions:
            if acting.model not in one.baselines or acting.model == _best_actions(one):
                accuracy.setdefault(_label(one, acting.model), []).append((strength, acting.accuracy))
        for ranking in one.rankings:
            if ranking.model not in one.baselines or ranking.model == _best_ranking(one):
                ndcg.setdefault(_label(one, ranking.model), []).append((strength, ranking.slices["all"]["NDCG@10"]))
        figures = ["", "", ""]
        if oracle := one.oracle:
            accuracy.setdefault(charts.ORACLE, []).append((strength, oracle.accuracy))
            best = _best_actions(one)
            models = [
                f"{name} {value:.3f}"
                for name, value in oracle.model_accuracy.items()
                if name not in one.baselines or name == best
            ]
            gap = [f"{name} {share:.0%}" for name, share in oracle.gap_closed.items()]
            figures = [f"{oracle.accuracy.value:.3f}", ", ".join(models), ", ".join(gap)]
        text = "" if one.text_share is None else f"{one.text_share:.0%}"
        rows.append([f"{strength:g}", ", ".join(str(seed) for seed in one.seeds), *figures, text])
    charts.order_strength_curve(accuracy, "next-action accuracy", folder / "order-strength-accuracy.svg")
    charts.order_strength_curve(ndcg, "NDCG@10", folder / "order-strength-ndcg.svg")
    head = ["ω", "worlds", "oracle accuracy", "accuracy on the same events", "gap closed", "explained by text"]
    return "\n".join(
        [
            "## Simulated worlds over order strength ω",
            "",
            "Held-out worlds: every model is fitted on the past of a world and tested on its future. The oracle is the",
            "Bayes-optimal filter. It knows the simulator's laws and every hidden trait of the items: an upper limit",
            "that no model reaches. Gap closed: share of the gap in accuracy between the best baseline and the oracle.",
            "Explained by text: share of the variance of lasting utility that a linear map of the text vectors",
            "predicts out of fold.",
            "",
            table(head, rows),
            "",
            "![accuracy over order strength](charts/order-strength-accuracy.svg)",
            "![NDCG over order strength](charts/order-strength-ndcg.svg)",
            "",
        ]
    )


def _set(one: SetResult, folder: Path) -> str:
    lines = [
        f"## {set_name(one)}",
        "",
        f"{one.protocol}. {one.targets:,} targets of {one.users:,} users over {one.items:,} items; "
        f"{one.action_events:,} actions. Seeds {', '.join(str(seed) for seed in one.seeds)}.",
        "",
        f"Licence: {one.licence}. Mapping: {one.mapping}.",
        "",
        *(f"- {limit}" for limit in one.limits),
        "",
    ]
    slug = one.key.replace(", ", "-").replace(" ", "-")
    if one.rankings:
        lines += [_rankings(one), "", _slices(one), ""]
        shown = [r for r in one.rankings if r.model not in one.baselines]
        shown += sorted((r for r in one.rankings if r.model in one.baselines), key=_ndcg, reverse=True)[:4]
        if any(r.cold_start_ndcg10 for r in shown):
            charts.cold_start(shown, set_name(one), folder / f"{slug}-cold-start.svg")
            lines += [_cold(one.rankings), "", f"![cold start](charts/{slug}-cold-start.svg)", ""]
    if one.actions and one.action_events and one.one_class:
        lines += [
            "Next action: every event of this data set has the same action, so any model that has seen one event is "
            "always right. Accuracy, F1, log-loss and calibration would say nothing and are not printed.",
            "",
        ]
    elif one.actions and one.action_events:
        lines += [_actions(one.actions), ""]
        charts.calibration(_calibrated(one), set_name(one), folder / f"{slug}-calibration.svg")
        lines += [f"![calibration](charts/{slug}-calibration.svg)", ""]
    if oracle := one.oracle:
        ndcg = "" if oracle.ndcg10 is None else f", NDCG@10 {oracle.ndcg10:.3f}"
        lines += [
            f"Oracle on {oracle.events:,} events of {oracle.users} users: accuracy {interval(oracle.accuracy)}, "
            f"macro-F1 {oracle.macro_f1:.3f}, log-loss {oracle.log_loss:.3f}{ndcg}.",
            "",
        ]
    lines += [
        f"- linear probe of {name}'s user vector: cosine {cosine:.3f}" for name, cosine in one.probe_cosine.items()
    ]
    lines += [f"- {verdict(margin)}" for margin in one.printed_margins()]
    lines += [f"- {line}" for line in _slices_not_above(one)]
    lines += [f"- {name} has no figures: {why}" for name, why in one.failed.items()]
    return "\n".join([*lines, ""])


def _slices_not_above(one: SetResult) -> list[str]:
    """By slice, the figures of each model that is not above a reference baseline on real data."""
    if one.order_strength is not None:
        return []
    by_name = {ranking.model: ranking for ranking in one.rankings}
    lines = []
    for margin in one.margins:
        if margin.model in one.baselines or margin.metric != "NDCG@10" or margin.difference.low > 0:
            continue
        ours, theirs = by_name[margin.model], by_name[margin.baseline]
        if margin.baseline in REFERENCE_BASELINES:
            slices = [name for name in ours.slices if name != "all" and name in theirs.slices]
            figures = ", ".join(f"{name} {_ndcg(ours, name):.3f} to {_ndcg(theirs, name):.3f}" for name in slices)
            lines.append(f"{margin.model} to {margin.baseline} by slice: {figures}")
    return lines


def _rankings(one: SetResult) -> str:
    rows = []
    for ranking in one.rankings:
        figures = ranking.slices["all"]
        rows.append(
            [
                ranking.model,
                interval(figures["HR@10"]),
                interval(figures["NDCG@10"]),
                f"{figures['MRR'].value:.3f}",
                f"{figures['recall@50'].value:.3f}",
                f"{ranking.shuffled_ndcg10.value:.3f}",
                "" if ranking.engaged_auc is None else f"{ranking.engaged_auc:.3f}",
                ", ".join(f"{key} {value}" for key, value in ranking.choice.items()),
            ]
        )
    head = ["ranking", "HR@10", "NDCG@10", "MRR", "recall@50", "NDCG@10, shuffled history", "AUC", "hyperparameters"]
    return table(head, rows)


def _slices(one: SetResult) -> str:
    names = list(dict.fromkeys(name for ranking in one.rankings for name in ranking.slices if name != "all"))
    rows = [
        [r.model, *(interval(r.slices[name]["NDCG@10"]) if name in r.slices else "" for name in names)]
        for r in one.rankings
    ]
    note = "" if one.repeats else "\n\nUsers do not repeat items here: items of the history are not candidates."
    return table(["NDCG@10 by slice", *names], rows) + note


def _cold(rankings: Sequence[Ranking]) -> str:
    ks = list(dict.fromkeys(k for ranking in rankings for k in ranking.cold_start_ndcg10))
    rows = []
    for ranking in rankings:
        figures = ranking.cold_start_ndcg10
        warm = figures.get("all", 0.0)
        shares = [f"{figures[k]:.3f} ({figures[k] / warm:.2f})" if warm else f"{figures[k]:.3f}" for k in ks]
        rows.append([ranking.model, *shares])
    return table(["NDCG@10 (share of that with the whole history) with", *(f"{k} events" for k in ks)], rows)


def _actions(actions: Sequence[Actions]) -> str:
    rows = [
        [
            one.model,
            interval(one.accuracy),
            f"{one.macro_f1:.3f}",
            interval(one.log_loss),
            f"{one.calibration_error:.3f}",
            f"{one.shuffled_accuracy:.3f}",
        ]
        for one in actions
    ]
    head = ["next action", "accuracy", "macro-F1", "log-loss", "calibration error", "accuracy, shuffled history"]
    return table(head, rows)


def _calibrated(one: SetResult) -> list[Actions]:
    shown = [a for a in one.actions if a.model not in one.baselines or a.model == _best_actions(one)]
    return shown or list(one.actions[:1])


def _ndcg(ranking: Ranking, name: str = "all") -> float:
    return ranking.slices[name]["NDCG@10"].value


def _best_ranking(one: SetResult) -> str | None:
    found = [r for r in one.rankings if r.model in one.baselines]
    return max(found, key=_ndcg).model if found else None


def _best_actions(one: SetResult) -> str | None:
    found = [a for a in one.actions if a.model in one.baselines]
    return max(found, key=lambda a: a.accuracy.value).model if found else None


def _label(one: SetResult, model: str) -> str:
    return "best baseline" if model in one.baselines else model
