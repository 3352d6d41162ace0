"""REPORT.md, its charts and the model card, written from the results file: no figure is typed."""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation import charts
from training.evaluation.baselines import BEYOND_THE_USUAL, FLOOR
from training.evaluation.model_card import model_card
from training.evaluation.results import Actions, Figure, Margin, Ranking, Results, SetResult
from training.evaluation.table import table
from training.evaluation.targets import interval, set_name, signed, targets
from training.evaluation.trainings import trainings

_OPENING = """\
# How well the sequence model foretells

Written by `vows-edge evaluate`; every figure comes from `{results}`, from what `tune`, `ablate` and
`incremental` wrote beside it, and from the reference's own metrics.

What this cannot show: real sets are offline logs of other people's products, so a ranking is judged by what users met
under another system; simulated worlds are assumptions played out, and show whether order is learnt where there is
order, not that couples behave so. Rankings are over the whole catalogue, ties go to the lower item number. Intervals
are 95 %, by resampling users. Every contender is tuned on the same validation events; baselines are then fitted on
train and validation together, and on real sets the sequence model that validation chose sees both for one more epoch.
Margins are against the baseline that is best on the test events, which favours the baseline;
against the best one without the blends that go beyond what the literature compares with ({beyond});
against recency-decayed EASE and kNN + Markov; and against the simple model that is served without training.
"""
_LEGEND = """\
*sequence*: the model alone, by a recipe chosen on the set's validation part; *sequence + recency*: blended with what is
popular this week and with the user's own history; *blend of everything + sequence*: one more part of the blend of all
baselines. The weights of each blend are searched for on the same validation events. Above: by more than the interval.
"""
_FIRST = ("deskdrop",)  # the closest real thing is reported first


def write_report(results: Results, path: Path, measured: Path, checkpoint: Path) -> None:
    """The report at `path`, charts in `charts/` and MODEL_CARD.md beside it.

    measured: the folder with what else was measured, see trainings; checkpoint: whose training curve is drawn.
    """
    folder = path.parent / "charts"
    order = sorted(results.sets, key=lambda s: (s.omega is not None, not s.key.startswith(_FIRST), s.omega or 0, s.key))
    parts = [
        _OPENING.format(results="training/results.json", beyond="; ".join(f"*{name}*" for name in BEYOND_THE_USUAL))
    ]
    simulated = [one for one in order if one.omega is not None]
    parts += [one_screen(results)]
    if simulated:
        parts.append(_omega(simulated, folder))
    parts += [_set(one, folder) for one in order]
    parts.append(trainings(measured, checkpoint, folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    (path.parent / "MODEL_CARD.md").write_text(model_card(results), encoding="utf-8")


def one_screen(results: Results) -> str:
    """Target by target."""
    words = {True: "reached", False: "**not reached**", None: ""}
    rows, before = [], ""
    for target in targets(results):
        promise = "" if target.promise == before else target.promise
        rows.append([promise, target.place, target.contender, target.found, words[target.reached]])
        before = target.promise
    return "\n".join(["## In one screen", "", table(["target", "set", "contender", "found", ""], rows), "", _LEGEND])


def verdict(margin: Margin) -> str:
    difference = margin.difference
    words = "not told apart from"
    if difference.low > 0:
        words = "above"
    elif difference.high < 0:
        words = "**below**"
    return f"{margin.contender} is {words} {margin.baseline} in {margin.metric}, {signed(difference)}"


def _omega(simulated: Sequence[SetResult], folder: Path) -> str:
    """The curve over omega: every contender that acts, the best baseline alone of its kind, and the bound."""
    accuracy: dict[str, list[tuple[float, Figure]]] = {}
    ndcg: dict[str, list[tuple[float, Figure]]] = {}
    rows = []
    for one in simulated:
        omega = float(one.omega or 0)
        for acting in one.actions:
            if acting.contender not in one.baselines or acting.contender == _best_actions(one):
                accuracy.setdefault(_label(one, acting.contender), []).append((omega, acting.accuracy))
        for ranking in one.rankings:
            if ranking.contender not in one.baselines or ranking.contender == _best_ranking(one):
                ndcg.setdefault(_label(one, ranking.contender), []).append((omega, ranking.slices["all"]["NDCG@10"]))
        if one.bound:
            accuracy.setdefault("attainable bound", []).append((omega, one.bound.accuracy))
        if bound := one.bound:
            told = [f"{name} {value:.3f}" for name, value in bound.contender_accuracy.items() if _kept(one, name)]
            way = [f"{name} {share:.0%}" for name, share in bound.way_from_baseline.items()]
            figures = [f"{bound.accuracy.value:.3f}", ", ".join(told), ", ".join(way)]
        else:
            figures = ["", "", ""]
        text = "" if one.text_share is None else f"{one.text_share:.0%}"
        rows.append([f"{omega:g}", ", ".join(str(seed) for seed in one.seeds), *figures, text])
    charts.omega_curve(accuracy, "next-action accuracy", folder / "omega-accuracy.svg")
    charts.omega_curve(ndcg, "NDCG@10", folder / "omega-ndcg.svg")
    head = ["ω", "worlds", "bound", "accuracy on the bound's events", "way to the bound", "text share"]
    return "\n".join(
        [
            "## What order is worth: simulated worlds",
            "",
            "Held-out worlds, each contender fitted on a world's past and asked of its future. The bound is an exact",
            "filter that knows the simulator and sees the log. Text share: of lasting utility, predicted from the text",
            "vectors out of fold.",
            "",
            table(head, rows),
            "",
            "![accuracy over omega](charts/omega-accuracy.svg)",
            "![NDCG over omega](charts/omega-ndcg.svg)",
            "",
        ]
    )


def _set(one: SetResult, folder: Path) -> str:
    lines = [
        f"## {set_name(one)}",
        "",
        f"{one.protocol}. {one.targets:,} targets of {one.users_asked:,} users over {one.items:,} items; "
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
        shown = [r for r in one.rankings if r.contender not in one.baselines]
        shown += sorted((r for r in one.rankings if r.contender in one.baselines), key=_ndcg, reverse=True)[:4]
        if any(r.cold_start_ndcg10 for r in shown):
            charts.cold_start(shown, set_name(one), folder / f"{slug}-cold-start.svg")
            lines += [_cold(one.rankings), "", f"![R(k)](charts/{slug}-cold-start.svg)", ""]
    if one.actions and one.action_events:
        lines += [_actions(one.actions), ""]
        charts.calibration(_calibrated(one), set_name(one), folder / f"{slug}-calibration.svg")
        lines += [f"![calibration](charts/{slug}-calibration.svg)", ""]
    if one.bound:
        bound = one.bound
        lines += [
            f"Bound on {bound.events:,} events of {bound.users} users: accuracy {interval(bound.accuracy)}, macro-F1 "
            f"{bound.macro_f1:.3f}, log-loss {bound.log_loss:.3f}, NDCG@10 {bound.ndcg10:.3f}.",
            "",
        ]
    lines += [f"- probe of {name}'s user vector: cosine {cosine:.3f}" for name, cosine in one.probe_cosine.items()]
    lines += [f"- {verdict(margin)}" for margin in one.margins]
    lines += [f"- {line}" for line in _where_behind(one)]
    lines += [f"- {name} has no figures: {why}" for name, why in one.failed.items()]
    return "\n".join([*lines, ""])


def _where_behind(one: SetResult) -> list[str]:
    """For each contender that is not above a baseline of the floor on real data: by slice, where it is not."""
    if one.omega is not None:
        return []
    by_name = {ranking.contender: ranking for ranking in one.rankings}
    lines = []
    for margin in one.margins:
        if margin.contender in one.baselines or margin.metric != "NDCG@10" or margin.difference.low > 0:
            continue
        ours, theirs = by_name[margin.contender], by_name[margin.baseline]
        if margin.baseline in FLOOR:
            slices = [name for name in ours.slices if name != "all" and name in theirs.slices]
            told = ", ".join(f"{name} {_ndcg(ours, name):.3f} to {_ndcg(theirs, name):.3f}" for name in slices)
            lines.append(f"where {margin.contender} is not above {margin.baseline}: {told}")
    return lines


def _rankings(one: SetResult) -> str:
    rows = []
    for ranking in one.rankings:
        figures = ranking.slices["all"]
        rows.append(
            [
                ranking.contender,
                interval(figures["HR@10"]),
                interval(figures["NDCG@10"]),
                f"{figures['MRR'].value:.3f}",
                f"{figures['recall@50'].value:.3f}",
                f"{ranking.shuffled_ndcg10.value:.3f}",
                "" if ranking.engaged_auc is None else f"{ranking.engaged_auc:.3f}",
                ", ".join(f"{key} {value}" for key, value in ranking.choice.items()),
            ]
        )
    return table(["ranking", "HR@10", "NDCG@10", "MRR", "recall@50", "NDCG@10 shuffled", "AUC", "chosen"], rows)


def _slices(one: SetResult) -> str:
    names = list(dict.fromkeys(name for ranking in one.rankings for name in ranking.slices if name != "all"))
    rows = [
        [r.contender, *(interval(r.slices[name]["NDCG@10"]) if name in r.slices else "" for name in names)]
        for r in one.rankings
    ]
    note = "" if one.repeats else "\n\nNobody comes back to an item here: what was seen is no candidate."
    return table(["NDCG@10 by slice", *names], rows) + note


def _cold(rankings: Sequence[Ranking]) -> str:
    ks = list(dict.fromkeys(k for ranking in rankings for k in ranking.cold_start_ndcg10))
    rows = []
    for ranking in rankings:
        figures = ranking.cold_start_ndcg10
        warm = figures.get("all", 0.0)
        shares = [f"{figures[k]:.3f} ({figures[k] / warm:.2f})" if warm else f"{figures[k]:.3f}" for k in ks]
        rows.append([ranking.contender, *shares])
    return table(["NDCG@10 (share of warm) with", *(f"{k} events" for k in ks)], rows)


def _actions(actions: Sequence[Actions]) -> str:
    rows = [
        [
            one.contender,
            interval(one.accuracy),
            f"{one.macro_f1:.3f}",
            interval(one.log_loss),
            f"{one.calibration_error:.3f}",
            f"{one.shuffled_accuracy:.3f}",
        ]
        for one in actions
    ]
    return table(["next action", "accuracy", "macro-F1", "log-loss", "calibration error", "accuracy shuffled"], rows)


def _calibrated(one: SetResult) -> list[Actions]:
    shown = [a for a in one.actions if a.contender not in one.baselines or a.contender == _best_actions(one)]
    return shown or list(one.actions[:1])


def _ndcg(ranking: Ranking, name: str = "all") -> float:
    return ranking.slices[name]["NDCG@10"].value


def _best_ranking(one: SetResult) -> str | None:
    found = [r for r in one.rankings if r.contender in one.baselines]
    return max(found, key=_ndcg).contender if found else None


def _best_actions(one: SetResult) -> str | None:
    found = [a for a in one.actions if a.contender in one.baselines]
    return max(found, key=lambda a: a.accuracy.value).contender if found else None


def _label(one: SetResult, contender: str) -> str:
    return "best baseline" if contender in one.baselines else contender


def _kept(one: SetResult, name: str) -> bool:
    return name not in one.baselines or name == _best_actions(one)
