"""The comparison of what predicts the next action: its figures, its entries, and that the stack loses to no part."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.personalization.next_action import own_rates
from tests.small_world import small_world
from training.__main__ import main
from training.data.events import Dataset, Events, Histories
from training.data.split import by_time
from training.evaluation import metrics
from training.evaluation.protocol import Scores
from training.evaluation.queries import QueryBudget
from training.evaluation.sequence import SequenceRecommender
from training.ranker.action_comparison import (
    ALONE,
    PARTS,
    RATES,
    SEQUENCE,
    STACKED,
    Results,
    World,
    as_markdown,
    compare,
    predict,
    read,
)
from training.ranker.actions import ActionModel
from training.recipes import tiny


@pytest.fixture(scope="module")
def world() -> World:
    sequence = SequenceRecommender(tiny(), name=SEQUENCE, refit=True)
    return predict(by_time(small_world(each=60)), sequence, "a test", QueryBudget(actions=400))


def test_figures_are_those_of_the_probabilities(world: World) -> None:
    queries, found, _ = world
    row = compare("small, time", "time", "small", [world]).row(ALONE)
    losses = metrics.log_losses(found[ALONE], queries.action)
    assert row.log_loss.value == pytest.approx(losses.mean(), abs=1e-5)
    assert row.accuracy.value == pytest.approx((found[ALONE].argmax(axis=1) == queries.action).mean(), abs=1e-5)
    assert row.ahead is not None
    stacked = metrics.log_losses(found[STACKED], queries.action)
    assert row.ahead.value == pytest.approx((losses - stacked).mean(), abs=1e-5)


def test_the_stack_is_not_below_its_best_part_by_more_than_the_interval(world: World) -> None:
    found = compare("small, time", "time", "small", [world])
    best = min(map(found.row, PARTS), key=lambda row: row.log_loss.value)
    assert best.ahead is not None
    assert best.ahead.high >= 0
    assert found.row(STACKED).log_loss.value < found.row(RATES).log_loss.value


def test_own_rates_are_those_that_are_served(world: World) -> None:
    queries, found, _ = world
    for number, own in enumerate(queries.histories.take(slice(0, 20))):
        np.testing.assert_allclose(found[RATES][number], own_rates(own.action[-256:]), atol=1e-6)


def test_where_the_stack_does_not_help_the_regression_answers_alone() -> None:
    """A sequence model that answers by chance."""

    class Random(SequenceRecommender):
        def learn(self, data: Dataset) -> None:
            pass

        def action_probabilities(
            self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
        ) -> Scores:
            draw = np.random.default_rng(len(histories))
            return draw.dirichlet(np.ones(4), len(histories)).astype(np.float32)

    split = by_time(small_world(each=60))
    model = ActionModel(Random(tiny(), name="random"))
    model.fit(split.train, split.validation)
    losses = {name: figures["log_loss"][0] for name, figures in model.quality.items() if name != "events"}
    kept = model.model is not None and model.model.stacked is not None
    assert kept == (losses["both, stacked"] < losses["logistic regression"])
    assert losses["sequence model"] > losses["logistic regression"]


def test_a_log_of_one_action_is_predicted_with_certainty() -> None:
    world = small_world(each=60)
    columns = vars(world.events) | {"action": np.ones(len(world.events))}
    split = by_time(replace(world, events=Events.of(**columns)))
    model = ActionModel()
    model.fit(split.train, split.validation)
    assert model.model is not None
    assert model.quality == {}
    x = np.zeros((3, len(model.model.alone.weights[0])), np.float32)
    assert (model.model.probabilities(x, None)[:, 1] > 0.9999).all()


def test_the_command_keeps_entries_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared_checkpoint: Path
) -> None:
    results = tmp_path / "results.json"
    arguments = ["evaluate", "actions", "simulated", "--worlds", "5", "--order-strengths", "1", "--world-users", "60"]
    arguments += ["--events-judged", "200", "--results", str(results), "--cache", str(tmp_path / "cache")]
    arguments += ["--checkpoint", str(shared_checkpoint)]
    assert main(arguments) == 0
    kept = read(results)
    assert [one.key for one in kept.sets] == ["simulated, order strength 1"]
    assert "| simulated, ω = 1 |" in capsys.readouterr().out
    page = results.with_suffix(".md").read_text()
    assert page == as_markdown(kept)
    assert "level with" in page or "better than" in page or "worse than" in page
    before = results.read_bytes()
    assert main(arguments) == 0
    assert "--again replaces it" in capsys.readouterr().err
    assert results.read_bytes() == before
    assert msgspec.json.decode(before, type=Results) == kept
