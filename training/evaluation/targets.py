"""The targets of the sequence model beside what was measured: reached, not reached, or not measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from training.data import public
from training.evaluation.baselines import REFERENCE_BASELINES, SIMPLE
from training.evaluation.results import Figure, Margin, Ranking, Results, SetResult

ACCURACY, GAP_CLOSED, PROBE, FEW_EVENTS = 0.7, 0.5, 0.85, 0.9
_FEW = "5"

Found = Iterator[tuple[str, str, bool | None]]  # model, figures, reached


@dataclass(frozen=True)
class Target:
    """One target on one data set. reached: None where it was not measured, or where a figure has no target."""

    target: str
    data: str
    model: str
    found: str
    reached: bool | None


def targets(results: Results) -> list[Target]:
    """Every target, with one row per data set and model it was measured on, or one row that says it was not."""
    simulated = sorted(
        (one for one in results.sets if one.order_strength is not None), key=lambda one: one.order_strength or 0
    )
    real = [one for one in results.sets if one.order_strength is None]
    ordered = [one for one in simulated if one.order_strength == 1]
    unordered = [one for one in simulated if one.order_strength == 0]
    groups = [
        _group("simulated, ω = 1: next-action accuracy above 70 %", ordered, _accuracy),
        _group("simulated, ω = 1: above the best baseline", ordered, _above_best_baseline),
        _group("simulated, ω = 1: at least half of the gap between the best baseline and the oracle", ordered, _gap),
        _group("simulated, ω = 0: no difference to the simple model", unordered, _no_difference),
        _group("simulated, ω = 1: linear probe of the user vector, cosine at least 0.85", ordered, _probe),
        _group("R(5) at least 0.9", [*simulated, *real], _few_events),
        _group("real data: above " + " and ".join(REFERENCE_BASELINES), real, _above_reference_baselines),
        _group("real data: the blend is better with the sequence model than without", real, _above_own_blend),
        _group("NDCG@10 lost when histories are shuffled (no target)", [*simulated, *real], _order),
        _group("real data: engaged above skipped items, AUC and score gap (no target)", real, _engaged_above_skipped),
    ]
    return [target for group in groups for target in group]


def set_name(one: SetResult) -> str:
    """The name of a data set with its protocol, such as "Deskdrop (time)", or its order strength ω."""
    return public.title(one.name, one.key.rpartition(", ")[2], one.order_strength)


def _group(target: str, sets: Sequence[SetResult], measure: Callable[[SetResult], Found]) -> list[Target]:
    found = [
        Target(target, set_name(one), model, found, reached) for one in sets for model, found, reached in measure(one)
    ]
    return found or [Target(target, "", "", "not measured", None)]


def _accuracy(one: SetResult) -> Found:
    for acting in one.actions:
        if acting.model not in one.baselines:
            oracle = f"; the oracle has {one.oracle.accuracy.value:.3f}" if one.oracle else ""
            yield acting.model, interval(acting.accuracy) + oracle, acting.accuracy.value > ACCURACY


def _above_best_baseline(one: SetResult) -> Found:
    best = max((a for a in one.actions if a.model in one.baselines), key=lambda a: a.accuracy.value, default=None)
    for margin in _margins(one, "accuracy"):
        if best and margin.baseline == best.model:
            yield margin.model, f"{signed(margin.difference)} over {margin.baseline}", margin.difference.low > 0


def _gap(one: SetResult) -> Found:
    for name, share in one.oracle.gap_closed.items() if one.oracle else ():
        yield name, f"{share:.0%}", share >= GAP_CLOSED


def _no_difference(one: SetResult) -> Found:
    """Two-sided: a model that is significantly worse differs, too."""
    for margin in _margins(one, "NDCG@10"):
        if margin.baseline == SIMPLE:
            words = {1: "significantly better", 0: "no difference found", -1: "significantly worse"}
            side = sign(margin.difference)
            yield margin.model, f"{words[side]}: NDCG@10 {signed(margin.difference)}", side == 0


def _probe(one: SetResult) -> Found:
    for name, cosine in one.probe_cosine.items():
        if name not in one.baselines:
            yield name, f"{cosine:.3f}", cosine >= PROBE


def _few_events(one: SetResult) -> Found:
    for ranking in _models(one):
        warm, few = (ranking.cold_start_ndcg10.get(key, 0.0) for key in ("all", _FEW))
        if warm:
            yield ranking.model, f"{few / warm:.2f}", few / warm >= FEW_EVENTS


def _above_reference_baselines(one: SetResult) -> Found:
    for ranking in _models(one):
        margins = [
            m for m in _margins(one, "NDCG@10") if m.model == ranking.model and m.baseline in REFERENCE_BASELINES
        ]
        if margins:
            found = "; ".join(f"{signed(m.difference)} over {m.baseline}" for m in margins)
            yield ranking.model, found, all(m.difference.low > 0 for m in margins)


def _above_own_blend(one: SetResult) -> Found:
    for margin in _margins(one, "NDCG@10"):
        if one.without_model.get(margin.model) == margin.baseline:
            yield margin.model, signed(margin.difference), margin.difference.low > 0


def _order(one: SetResult) -> Found:
    for ranking in _models(one):
        if ranking.order_ndcg10:
            yield ranking.model, signed(ranking.order_ndcg10), None


def _engaged_above_skipped(one: SetResult) -> Found:
    for ranking in _models(one):
        if ranking.engaged_auc is not None:
            gap = "" if ranking.engaged_gap is None else f"; {ranking.engaged_gap:+.2f} standard deviations"
            yield ranking.model, f"{ranking.engaged_auc:.3f}{gap}", None


def _models(one: SetResult) -> list[Ranking]:
    return [ranking for ranking in one.rankings if ranking.model not in one.baselines]


def _margins(one: SetResult, metric: str) -> list[Margin]:
    return [m for m in one.margins if m.metric == metric and m.model not in one.baselines]


def interval(figure: Figure) -> str:
    """0.123 [0.101, 0.145]."""
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def signed(figure: Figure) -> str:
    """+0.0123 [+0.0011, +0.0235], for differences."""
    return f"{figure.value:+.4f} [{figure.low:+.4f}, {figure.high:+.4f}]"


def sign(difference: Figure) -> int:
    """1 where the whole interval is above zero, −1 where it is below, else 0: no difference found."""
    return (difference.low > 0) - (difference.high < 0)
