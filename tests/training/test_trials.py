"""Trials are trained once, whatever is run again; what goes on from a checkpoint is asked of both times."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.small_world import small_world
from training import incremental
from training.__main__ import main
from training.ablations import inverse_frequency, plan
from training.data.split import by_time, periods
from training.evaluation import continued, trials
from training.evaluation.trainings import trainings
from training.evaluation.trials import Trial
from training.recipes import RECIPES, Recipe, tiny
from training.trials import Bench, Planned
from training.tuning import search

TUNED = Path("training") / trials.TUNING


@pytest.fixture(scope="module")
def base() -> Recipe:
    return replace(tiny(), epochs=1)


@pytest.fixture(scope="module")
def benched(base: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trials")
    bench = Bench(by_time(small_world()), "small", folder / trials.ABLATIONS, folder / "scratch")
    planned = [
        Planned("as it is", "seed 0", base),
        Planned("ids", "off", replace(base, id_rank=0)),
        Planned("text", "off", base, text=False),
    ]
    first = bench.run_all(planned)
    assert bench.run_all(planned) == first  # read, not trained
    assert not bench.run(planned[0])[1]
    assert not any((folder / "scratch").iterdir())
    return folder


def test_each_trial_is_a_line(benched: Path) -> None:
    found = trials.read(benched / trials.ABLATIONS)
    assert [(one.group, one.name, one.text) for one in found] == [
        ("as it is", "seed 0", True), ("ids", "off", True), ("text", "off", False),
    ]  # fmt: skip
    assert all(np.isfinite(one.loss) and 0 <= one.ndcg10 <= 1 for one in found)
    assert trials.read(benched / trials.ABLATIONS, "another set") == []
    table = trainings(benched, benched / "no checkpoint", benched)
    assert "| ids | off |" in table


def test_a_plan_changes_one_thing_at_a_time(base: Recipe) -> None:
    planned = plan(RECIPES["reference"](), small_world())
    assert {one.group for one in planned} == {
        "as it is", "actions", "items", "window", "layers", "width", "steps of a taste", "contrastive", "ids", "text",
    }  # fmt: skip
    questions = [(one.recipe.parameters(), one.text) for one in planned]
    assert all(questions.count(question) == 1 for question in questions)


def test_inverse_frequency_weighs_each_kind_the_same() -> None:
    dataset = small_world()
    weights = np.array(inverse_frequency(dataset))
    counts = np.bincount(dataset.events.action, minlength=4)
    of_kind = (weights * counts)[counts > 0]
    assert of_kind == pytest.approx(np.full(len(of_kind), of_kind[0]), rel=1e-3)
    assert (weights * counts).sum() == pytest.approx(len(dataset.events), rel=1e-3)
    assert weights[counts == 0].tolist() == [0.0]


def test_a_search_keeps_what_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        """A bench on which wide models are better and everything else changes nothing."""

        asked: list[Recipe]

        def __init__(self) -> None:
            self.asked = []

        def run(self, one: Planned) -> tuple[Trial, bool]:
            self.asked.append(one.recipe)
            return trial(one.recipe, ndcg10=one.recipe.width / 1000), True

    bench = Fake()
    best = search(bench, "small", float("inf"))  # type: ignore[arg-type]
    widths = [recipe.width for recipe in bench.asked]
    assert best.recipe["width"] == widths[-1] > widths[0]
    assert widths == sorted(widths)  # what is kept stays
    bench = Fake()
    search(bench, "small", 0.0)  # type: ignore[arg-type]
    assert len(bench.asked) == 1


def trial(recipe: Recipe, ndcg10: float) -> Trial:
    return Trial(
        data="small", group="tuning", name="", recipe=recipe.parameters(), epochs=1, best_epoch=1, loss=1.0,
        action_loss=1.0, item_loss=1.0, accuracy=0.5, hit_rate=0.5, ndcg10=ndcg10, seconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted({one.data for one in trials.read(TUNED)}))
def test_a_sets_recipe_is_the_best_that_was_tried(name: str) -> None:
    best = max(trials.read(TUNED, name), key=lambda one: one.ndcg10)
    recipe = trials.as_stored(RECIPES[name]().parameters())
    known = recipe.keys() & best.recipe.keys()  # a parameter can have come since
    assert {key: recipe[key] for key in known} == {key: best.recipe[key] for key in known}


def test_going_on_is_measured_on_both_times(base: Recipe, tmp_path: Path) -> None:
    file = tmp_path / continued.INCREMENTAL
    dataset = small_world()
    rows = incremental.measure(dataset, "small", base, file, tmp_path / "scratch")
    assert [row.name for row in rows] == [
        "before", "continued, replay 0", "continued, replay 0.5", "continued, replay 1", "from scratch",
    ]  # fmt: skip
    assert len({row.old.events for row in rows}) == len({row.new.events for row in rows}) == 1
    assert rows[1].events < rows[-1].events
    assert continued.read(file) == rows
    times = incremental.Times(dataset)
    assert times.old_test.events.time_us.max() < times.new.events.time_us.min()
    assert "continued, replay 0.5" in trainings(tmp_path, tmp_path / "no checkpoint", tmp_path)


def test_periods_are_cut_as_the_split_is() -> None:
    dataset = small_world()
    for ours, theirs in zip(periods(dataset, (0.7, 0.1, 0.2)), by_time(dataset), strict=True):
        np.testing.assert_array_equal(ours.events.time_us, theirs.events.time_us)
    with pytest.raises(ValueError, match="must be positive and sum to 1"):
        periods(dataset, (0.5, 0.2))


def test_worlds_for_evaluation_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("ablate", "incremental"):
        assert main([command, "--seed", "1001", "--out", str(tmp_path / "lines")]) == 1
    assert "world 1001 is for evaluation" in capsys.readouterr().err
