"""A promise is reached by the figure that was promised, and what was not measured is not reached."""

from training.evaluation.baselines import EASE, KNN_AND_MARKOV, SIMPLE
from training.evaluation.results import Actions, Bins, Bound, Figure, Margin, Ranking, Results, SetResult
from training.evaluation.targets import Target, targets

EXACT = Figure(0.5, 0.5, 0.5)


def ranking(contender: str, few: float = 0.1) -> Ranking:
    return Ranking(
        contender=contender, slices={"all": {"NDCG@10": EXACT}}, shuffled_ndcg10=EXACT,
        cold_start_ndcg10={"5": few, "all": 0.1}, engaged_auc=None, choice={}, settings_tried=0, fit_seconds=0,
    )  # fmt: skip


def acting(contender: str, accuracy: float) -> Actions:
    return Actions(
        contender=contender, accuracy=Figure(accuracy, accuracy - 0.01, accuracy + 0.01), log_loss=EXACT, macro_f1=0.5,
        calibration_error=0.0, bins=Bins([], [], []), shuffled_accuracy=0.5, choice={}, fit_seconds=0,
    )  # fmt: skip


def margin(baseline: str, low: float, metric: str = "NDCG@10") -> Margin:
    return Margin(contender="model", baseline=baseline, metric=metric, difference=Figure(low + 0.01, low, low + 0.02))


def found(*sets: SetResult) -> dict[str, list[Target]]:
    by_promise: dict[str, list[Target]] = {}
    for target in targets(Results(sets=list(sets))):
        by_promise.setdefault(target.promise, []).append(target)
    return by_promise


def one(by_promise: dict[str, list[Target]], words: str) -> Target:
    (target,) = next(rows for promise, rows in by_promise.items() if words in promise)
    return target


def test_nothing_measured_is_nothing_reached() -> None:
    rows = found()
    assert all(target.found == "not measured" and target.reached is None for part in rows.values() for target in part)


def test_a_simulated_world() -> None:
    rows = found(
        SetResult(
            key="simulated, omega 1", name="simulated, omega 1", protocol="time", omega=1.0, baselines=["counted"],
            rankings=[ranking("model", few=0.095)], actions=[acting("counted", 0.55), acting("model", 0.69)],
            margins=[margin("counted", 0.1, "accuracy")], probe_cosine={"model": 0.9},
            bound=Bound(
                users=1, events=1, accuracy=Figure(0.76, 0.7, 0.8), log_loss=1, macro_f1=1, ndcg10=None,
                contender_accuracy={}, contender_ndcg10={}, way_from_baseline={"model": 0.66},
            ),
        )
    )  # fmt: skip
    assert one(rows, "accuracy above").reached is False
    assert "the bound is 0.760" in one(rows, "accuracy above").found
    assert one(rows, "above the best baseline").reached is True
    assert one(rows, "half of the way").reached is True
    assert one(rows, "probe").reached is True
    assert one(rows, "R(5)").reached is True
    assert one(rows, "ω = 0").found == "not measured"


def test_at_omega_0_being_above_is_the_failure() -> None:
    world = SetResult(
        key="simulated, omega 0", name="", protocol="time", omega=0.0, baselines=[SIMPLE], rankings=[ranking("model")],
        margins=[margin(SIMPLE, 0.01)],
    )  # fmt: skip
    assert one(found(world), "ω = 0").reached is False


def test_a_real_set_needs_both_of_the_floor() -> None:
    both = [EASE.name, KNN_AND_MARKOV]
    for lows, reached in (((0.01, 0.02), True), ((0.01, -0.01), False)):
        row = SetResult(
            key="articles, time", name="articles", protocol="time", baselines=both, rankings=[ranking("model")],
            margins=[margin(baseline, low) for baseline, low in zip(both, lows, strict=True)],
        )  # fmt: skip
        assert one(found(row), "real sets").reached is reached
        assert one(found(row), "real sets").place == "articles (time)"
