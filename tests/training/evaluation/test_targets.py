"""A target is reached by the figure it names, and not by a figure that was not measured."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from training.evaluation.baselines import EASE, KNN_AND_MARKOV, SIMPLE
from training.evaluation.results import Actions, Bins, Figure, Margin, Oracle, Ranking, Results, SetResult
from training.evaluation.targets import Target, targets
from training.ranker import action_comparison
from training.report.details import verdict, write_details
from training.report.model_card import model_card

EXACT = Figure(0.5, 0.5, 0.5)


def ranking(recommender: str, few: float = 0.1) -> Ranking:
    return Ranking(
        model=recommender, slices={"all": {"NDCG@10": EXACT}}, shuffled_ndcg10=EXACT,
        cold_start_ndcg10={"5": few, "all": 0.1}, engaged_auc=None, choice={}, settings_tried=0, fit_seconds=0,
    )  # fmt: skip


def acting(recommender: str, accuracy: float) -> Actions:
    return Actions(
        model=recommender, accuracy=Figure(accuracy, accuracy - 0.01, accuracy + 0.01), log_loss=EXACT, macro_f1=0.5,
        calibration_error=0.0, bins=Bins([], [], []), shuffled_accuracy=0.5, choice={}, fit_seconds=0,
    )  # fmt: skip


def margin(baseline: str, low: float, metric: str = "NDCG@10") -> Margin:
    return Margin(model="model", baseline=baseline, metric=metric, difference=Figure(low + 0.01, low, low + 0.02))


def found(*sets: SetResult) -> dict[str, list[Target]]:
    by_target: dict[str, list[Target]] = {}
    for target in targets(Results(sets=list(sets))):
        by_target.setdefault(target.target, []).append(target)
    return by_target


def one(by_target: dict[str, list[Target]], words: str) -> Target:
    (target,) = next(rows for target, rows in by_target.items() if words in target)
    return target


def test_without_results_no_target_is_measured() -> None:
    rows = found()
    assert len(rows) == 10
    assert all(target.found == "not measured" and target.reached is None for part in rows.values() for target in part)


def test_targets_of_a_simulated_world() -> None:
    rows = found(
        SetResult(
            key="simulated, order strength 1", name="simulated", protocol="time", order_strength=1.0,
            baselines=["counted"], rankings=[ranking("model", few=0.095)],
            actions=[acting("counted", 0.55), acting("model", 0.69)], margins=[margin("counted", 0.1, "accuracy")],
            probe_cosine={"model": 0.9},
            oracle=Oracle(
                users=1, events=1, accuracy=Figure(0.76, 0.7, 0.8), log_loss=1, macro_f1=1, ndcg10=None,
                model_accuracy={}, model_ndcg10={}, gap_closed={"model": 0.66},
            ),
        )
    )  # fmt: skip
    assert one(rows, "accuracy above").reached is False
    assert "the oracle has 0.760" in one(rows, "accuracy above").found
    assert one(rows, "above the best baseline").reached is True
    assert one(rows, "half of the gap").reached is True
    assert one(rows, "probe").reached is True
    assert one(rows, "R(5)").reached is True
    assert one(rows, "ω = 0").found == "not measured"


@pytest.mark.parametrize(
    ("low", "reached", "words"),
    [
        (0.01, False, "significantly better"),
        (-0.05, False, "significantly worse"),
        (-0.01, True, "no difference found"),
    ],
)
def test_at_order_strength_0_any_significant_difference_misses_the_target(
    low: float, reached: bool, words: str
) -> None:
    world = SetResult(
        key="simulated, order strength 0", name="simulated", protocol="time", order_strength=0.0, baselines=[SIMPLE],
        rankings=[ranking("model")], margins=[margin(SIMPLE, low)],
    )  # fmt: skip
    target = one(found(world), "ω = 0")
    assert target.reached is reached
    assert words in target.found


def test_real_data_has_to_be_above_both_reference_baselines() -> None:
    both = [EASE.name, KNN_AND_MARKOV]
    for lows, reached in (((0.01, 0.02), True), ((0.01, -0.01), False)):
        row = SetResult(
            key="articles, time", name="articles", protocol="time", baselines=both, rankings=[ranking("model")],
            margins=[margin(baseline, low) for baseline, low in zip(both, lows, strict=True)],
        )  # fmt: skip
        target = one(found(row), "real data: above")
        assert target.reached is reached
        assert target.data == "articles (time)"


@pytest.mark.parametrize(
    ("low", "words"),
    [(0.01, "is better than"), (-0.01, "no difference found between"), (-0.05, "is **significantly worse** than")],
)
def test_a_verdict_says_which_way_a_difference_is_significant(low: float, words: str) -> None:
    assert words in verdict(margin("counted", low))


def test_action_figures_of_a_single_class_are_not_printed(tmp_path: Path) -> None:
    row = SetResult(
        key="groceries, time", name="groceries", protocol="time", baselines=["counted"], action_events=10,
        actions=[
            replace(acting(name, 1.0), accuracy=Figure(1.0, 1.0, 1.0)) for name in ("counted", "model")
        ],
        margins=[margin("counted", 0.0, "accuracy")],
    )  # fmt: skip
    write_details(Results(sets=[row]), tmp_path / "DETAILS.md", tmp_path, tmp_path)
    report = (tmp_path / "DETAILS.md").read_text()
    card = model_card(Results(sets=[row]), action_comparison.Results())
    assert "every event of this data set has the same action" in report
    assert "every event has the same action" in card
    assert "1.000" not in report + card
