"""Trials are trained once; incremental training is tested on both periods."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.small_world import small_world
from training.__main__ import main
from training.data.split import by_time, periods
from training.evaluation import incremental_records, trial_records
from training.evaluation.trial_records import Trial
from training.experiments import incremental
from training.experiments.trials import PlannedTrial, TrialRunner
from training.experiments.tuning import search
from training.recipes import RECIPES, Recipe, tiny
from training.report.training_section import training_section

TUNED = Path(__file__).parents[3] / "training" / trial_records.TUNING
TUNED_SETS = sorted({one.data for one in trial_records.read(TUNED)})


@pytest.fixture(scope="module")
def base() -> Recipe:
    return replace(tiny(), epochs=1)


@pytest.fixture(scope="module")
def shared_trials(base: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trials")
    runner = TrialRunner(by_time(small_world()), "small", folder / trial_records.TUNING, folder / "scratch")
    planned = [PlannedTrial("start", base), PlannedTrial("no ids", replace(base, id_rank=0))]
    first = [runner.trial(one) for one in planned]
    assert [runner.trial(one) for one in planned] == first  # read, not trained: nothing was added
    assert len(trial_records.read(folder / trial_records.TUNING)) == len(planned)
    assert not any((folder / "scratch").iterdir())
    return folder


def test_each_trial_is_a_line(shared_trials: Path) -> None:
    found = trial_records.read(shared_trials / trial_records.TUNING)
    assert [one.name for one in found] == ["start", "no ids"]
    assert all(np.isfinite(one.loss) and 0 <= one.ndcg10 <= 1 for one in found)
    assert trial_records.read(shared_trials / trial_records.TUNING, "another set") == []
    table = training_section(shared_trials, shared_trials / "no checkpoint", shared_trials)
    assert "| small | 2 |" in table


def test_a_search_keeps_changes_that_improve() -> None:
    """Wide models are better here, and everything else changes nothing."""
    tried: list[Recipe] = []

    def run(one: PlannedTrial) -> Trial:
        tried.append(one.recipe)
        return trial(one.recipe, ndcg10=one.recipe.width / 1000)

    best = search(run, "small", float("inf"))
    widths = [recipe.width for recipe in tried]
    assert best.recipe["width"] == widths[-1] > widths[0]
    assert widths == sorted(widths)  # a kept change stays


def test_a_search_out_of_time_tries_only_its_start() -> None:
    tried: list[Recipe] = []

    def run(one: PlannedTrial) -> Trial:
        tried.append(one.recipe)
        return trial(one.recipe, ndcg10=0.5)

    search(run, "small", 0.0)
    assert len(tried) == 1


def trial(recipe: Recipe, ndcg10: float) -> Trial:
    return Trial(
        data="small", name="", recipe=recipe.parameters(), epochs=1, best_epoch=1, loss=1.0,
        action_loss=1.0, item_loss=1.0, accuracy=0.5, hit_rate=0.5, ndcg10=ndcg10, seconds=1.0,
    )  # fmt: skip


def test_there_are_tuned_sets() -> None:
    assert "deskdrop" in TUNED_SETS


@pytest.mark.parametrize("name", TUNED_SETS)
def test_the_recipe_of_a_set_is_the_best_of_its_trials(name: str) -> None:
    best = max(trial_records.read(TUNED, name), key=lambda one: one.ndcg10)
    recipe = trial_records.as_stored(RECIPES[name]().parameters())
    known = recipe.keys() & best.recipe.keys()  # a parameter may be newer than the trials
    assert {key: recipe[key] for key in known} == {key: best.recipe[key] for key in known}


def test_incremental_training_is_tested_on_both_periods(base: Recipe, tmp_path: Path) -> None:
    file = tmp_path / incremental_records.INCREMENTAL
    dataset = small_world()
    rows = incremental.measure(dataset, "small", base, file, tmp_path / "scratch")
    assert [row.name for row in rows] == [
        "before", "continued, replay 0", "continued, replay 0.5", "continued, replay 1", "from scratch",
    ]  # fmt: skip
    assert len({row.old.events for row in rows}) == len({row.new.events for row in rows}) == 1
    assert rows[1].events < rows[-1].events
    assert incremental_records.read(file) == rows
    parts = incremental.Periods(dataset)
    assert parts.old_test.events.time_us.max() < parts.new.events.time_us.min()
    assert "continued, replay 0.5" in training_section(tmp_path, tmp_path / "no checkpoint", tmp_path)


def test_periods_agree_with_the_time_split() -> None:
    dataset = small_world()
    for ours, theirs in zip(periods(dataset, (0.7, 0.1, 0.2)), by_time(dataset), strict=True):
        np.testing.assert_array_equal(ours.events.time_us, theirs.events.time_us)
    with pytest.raises(ValueError, match="must be positive and sum to 1"):
        periods(dataset, (0.5, 0.2))


def test_worlds_reserved_for_evaluation_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incremental", "--seed", "1001", "--out", str(tmp_path / "lines")]) == 1
    assert "world 1001 is for evaluation" in capsys.readouterr().err
