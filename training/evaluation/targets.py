"""What was promised of the model, beside what was found: reached, not reached, or not measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from training.evaluation.baselines import FLOOR, SIMPLE
from training.evaluation.results import Figure, Margin, Ranking, Results, SetResult

ACCURACY, WAY, PROBE, FEW_EVENTS = 0.7, 0.5, 0.85, 0.9
_FEW = "5"


@dataclass(frozen=True)
class Target:
    """One promise on one set. reached: None where it was not measured, or where a figure is given without a promise."""

    promise: str
    place: str
    contender: str
    found: str
    reached: bool | None


def targets(results: Results) -> list[Target]:
    """Every promise, with one line for each set and contender that it was measured on, or one that says that it was
    not."""
    simulated = sorted((one for one in results.sets if one.omega is not None), key=lambda one: one.omega or 0)
    real = [one for one in results.sets if one.omega is None]
    groups = [
        _group("next-action accuracy above 70 %", (t for one in simulated if one.omega == 1 for t in _accuracy(one))),
        _group("and above the best baseline", (t for one in simulated if one.omega == 1 for t in _above(one))),
        _group(
            "and half of the way from it to the bound", (t for one in simulated if one.omega == 1 for t in _way(one))
        ),
        _group("at ω = 0 not above the simple model", (t for one in simulated if one.omega == 0 for t in _level(one))),
        _group("linear probe of the user vector 0.85", (t for one in simulated if one.omega == 1 for t in _probe(one))),
        _group("R(5) at least 0.9", (t for one in [*simulated, *real] for t in _few(one))),
        _group("real sets: above " + " and ".join(FLOOR), (t for one in real for t in _floor(one))),
        _group("the blend without the model is below the one with it", (t for one in real for t in _twins(one))),
        _group("order matters (NDCG@10 lost by shuffling)", (t for one in [*simulated, *real] for t in _order(one))),
        _group("engaged above skipped, real sets (AUC; gap)", (t for one in real for t in _apart(one))),
    ]
    return [target for group in groups for target in group]


def set_name(one: SetResult) -> str:
    """deskdrop (time): the same set can be there under both protocols."""
    return f"{one.name} ({one.key.rpartition(', ')[2]})" if one.omega is None else f"simulated, ω = {one.omega:g}"


def _group(promise: str, found: Iterator[Target]) -> list[Target]:
    return [Target(promise, t.place, t.contender, t.found, t.reached) for t in found] or [
        Target(promise, "", "", "not measured", None)
    ]


def _accuracy(one: SetResult) -> Iterator[Target]:
    for acting in one.actions:
        if acting.contender not in one.baselines:
            bound = f"; the bound is {one.bound.accuracy.value:.3f}" if one.bound else ""
            yield _line(one, acting.contender, interval(acting.accuracy) + bound, acting.accuracy.value > ACCURACY)


def _above(one: SetResult) -> Iterator[Target]:
    best = max((a for a in one.actions if a.contender in one.baselines), key=lambda a: a.accuracy.value, default=None)
    for margin in _of_models(one, "accuracy"):
        if best and margin.baseline == best.contender:
            found = f"{signed(margin.difference)} over {margin.baseline}"
            yield _line(one, margin.contender, found, margin.difference.low > 0)


def _way(one: SetResult) -> Iterator[Target]:
    for name, share in one.bound.way_from_baseline.items() if one.bound else ():
        yield _line(one, name, f"{share:.0%}", share >= WAY)


def _level(one: SetResult) -> Iterator[Target]:
    for margin in _of_models(one, "NDCG@10"):
        if margin.baseline == SIMPLE:
            yield _line(one, margin.contender, f"NDCG@10 {signed(margin.difference)}", margin.difference.low <= 0)


def _probe(one: SetResult) -> Iterator[Target]:
    for name, cosine in one.probe_cosine.items():
        if name not in one.baselines:
            yield _line(one, name, f"{cosine:.3f}", cosine >= PROBE)


def _few(one: SetResult) -> Iterator[Target]:
    for ranking in _models(one):
        warm, few = (ranking.cold_start_ndcg10.get(key, 0.0) for key in ("all", _FEW))
        if warm:
            yield _line(one, ranking.contender, f"{few / warm:.2f}", few / warm >= FEW_EVENTS)


def _floor(one: SetResult) -> Iterator[Target]:
    for ranking in _models(one):
        margins = [m for m in _of_models(one, "NDCG@10") if m.contender == ranking.contender and m.baseline in FLOOR]
        if margins:
            found = "; ".join(f"{signed(m.difference)} over {m.baseline}" for m in margins)
            yield _line(one, ranking.contender, found, all(m.difference.low > 0 for m in margins))


def _twins(one: SetResult) -> Iterator[Target]:
    for margin in _of_models(one, "NDCG@10"):
        if one.twins.get(margin.contender) == margin.baseline:
            yield _line(one, margin.contender, signed(margin.difference), margin.difference.low > 0)


def _order(one: SetResult) -> Iterator[Target]:
    for ranking in _models(one):
        if ranking.order_ndcg10:
            yield _line(one, ranking.contender, signed(ranking.order_ndcg10), None)


def _apart(one: SetResult) -> Iterator[Target]:
    for ranking in _models(one):
        if ranking.engaged_auc is not None:
            gap = "" if ranking.engaged_gap is None else f"; {ranking.engaged_gap:+.2f} standard deviations"
            yield _line(one, ranking.contender, f"{ranking.engaged_auc:.3f}{gap}", None)


def _line(one: SetResult, contender: str, found: str, reached: bool | None) -> Target:
    return Target("", set_name(one), contender, found, reached)


def _models(one: SetResult) -> list[Ranking]:
    return [ranking for ranking in one.rankings if ranking.contender not in one.baselines]


def _of_models(one: SetResult, metric: str) -> list[Margin]:
    return [m for m in one.margins if m.metric == metric and m.contender not in one.baselines]


def interval(figure: Figure) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def signed(figure: Figure) -> str:
    return f"{figure.value:+.4f} [{figure.low:+.4f}, {figure.high:+.4f}]"
