"""A killed run resumes, a loss that is not finite stops the run, and fine-tuning does not forget."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.small_world import small_world, split
from tests.waiting import until
from training.batches import Windows
from training.checkpoint import Checkpoint, RunState, save_run
from training.data.events import Dataset
from training.errors import TrainingError
from training.losses import contrastive_loss, item_loss
from training.recipes import PARTS, RECIPES, Recipe, tiny, without
from training.train import learning_rate, losses, new_model, optimizer_of, step, train, validate

ROOT = Path(__file__).parents[2]

KILLED = """
import sys
sys.path.insert(0, {root!r})
import torch
from pathlib import Path
from dataclasses import replace
from tests.small_world import small_world, split
from training.recipes import tiny
from training.train import train
torch.set_num_threads(1)
recipe = replace(tiny(), averaged=sys.argv[2] == "averaged")
train(*split(small_world()), recipe, Path(sys.argv[1]), save_every_s=0.0, progress=False)
"""


def curve(checkpoint: Checkpoint) -> list[dict[str, object]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in checkpoint.metrics]


@pytest.mark.parametrize(("weights", "saved"), [("last", "run-[3-9]*"), ("averaged", "run-*/mean.safetensors")])
def test_a_killed_run_resumes_to_the_identical_result(
    world: tuple[Dataset, Dataset], recipe: Recipe, shared_checkpoint: Path, tmp_path: Path, weights: str, saved: str
) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED.format(root=str(ROOT)), str(out), weights]
    process = subprocess.Popen(command, cwd=ROOT)
    until(
        lambda: process.poll() is not None or any(out.glob(saved)),
        lambda: f"the run saved no {saved}", every_s=0.01,
    )  # fmt: skip
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    torch.set_num_threads(1)
    recipe = replace(recipe, averaged=weights == "averaged")
    resumed = train(*world, recipe, out, progress=False)
    whole = Checkpoint.load(shared_checkpoint)
    if recipe.averaged:
        last, whole = whole, train(*world, recipe, tmp_path / "whole", progress=False)
        assert not whole.model.scale.equal(last.model.scale)
    assert curve(resumed) == curve(whole)
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], tensor, rtol=0, atol=0)
    assert not list(out.glob("run-*"))


def test_another_recipe_does_not_continue_a_run(world: tuple[Dataset, Dataset], recipe: Recipe, tmp_path: Path) -> None:
    model = new_model(recipe, world[0])
    checkpoint = Checkpoint(model, replace(recipe, seed=1), {}, world[0].catalogue.ids, *np.zeros((2, 40), np.int64))
    save_run(tmp_path, checkpoint, optimizer_of(model, recipe), RunState(step=1))
    with pytest.raises(TrainingError, match="another recipe"):
        train(*world, recipe, tmp_path, progress=False)


def test_a_loss_that_is_not_finite_stops_before_the_step(world: tuple[Dataset, Dataset], recipe: Recipe) -> None:
    model = new_model(recipe, world[0])
    batch = Windows(world[0], recipe.context).batch(np.arange(4), (0,))
    batch.event_features[0, 0, 0] = torch.nan
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(TrainingError, match="not finite"):
        step(model, optimizer_of(model, recipe), batch, recipe, 0, 10)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_training_learns_the_order_of_the_small_world(
    shared_checkpoint: Path, world: tuple[Dataset, Dataset], recipe: Recipe
) -> None:
    metrics = json.loads((shared_checkpoint / "metrics.json").read_text())
    assert metrics[-1]["validation"]["loss"] < metrics[0]["validation"]["loss"]
    assert metrics[-1]["validation"]["accuracy"] > 0.6


def test_a_checkpoint_is_read_and_written_unchanged(
    shared_checkpoint: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "again")
    for file in shared_checkpoint.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name
    (tmp_path / "again" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="not a checkpoint"):
        Checkpoint.load(tmp_path / "again")


def test_fine_tuning_learns_new_events_and_keeps_old_ones(
    world: tuple[Dataset, Dataset], recipe: Recipe, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """Events of other users, from the earlier weights: the metrics start with the loss before fine-tuning."""
    later = small_world(seed=5)
    training, validation = split(later)
    new = np.arange(len(training.events)) >= len(training.events) // 2
    continued = train(
        training, validation, replace(recipe, epochs=1, warmup=1), tmp_path, start=checkpoint, new=new, progress=False
    )
    assert continued.metrics[0]["step"] == 0
    assert continued.metrics[1]["validation"]["loss"] < continued.metrics[0]["validation"]["loss"]
    old = Windows(world[0], recipe.context)
    before, after = (validate(one.model, old, recipe).loss for one in (_known(checkpoint, world[0]), continued))
    assert after < before * 1.1


def _known(checkpoint: Checkpoint, dataset: Dataset) -> Checkpoint:
    checkpoint.model.metadata = torch.from_numpy(dataset.catalogue.vectors)
    return checkpoint


def test_the_learning_rate_warms_up_and_decays() -> None:
    recipe = tiny()
    rates = [learning_rate(recipe, number, 50) for number in range(60)]
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates[0] == pytest.approx(recipe.learning_rate / recipe.warmup)
    assert rates[-1] == pytest.approx(recipe.learning_rate / 10)


def test_contradicting_recipes_raise() -> None:
    assert {name: make().name for name, make in RECIPES.items()} == {name: name for name in RECIPES}
    with pytest.raises(TrainingError, match="longer than the context"):
        replace(tiny(), window=32)
    with pytest.raises(TrainingError, match="4 to 24"):
        replace(tiny(), layers=2)
    assert Recipe.of(json.loads(json.dumps(tiny().parameters()))) == tiny()


def test_sampling_every_item_equals_the_full_softmax() -> None:
    torch.manual_seed(0)
    users, items = torch.randn(6, 8), torch.randn(10, 8)
    targets, weights, scale = torch.arange(6), torch.tensor([1.0, 0, 1, 2, 1, 1]), torch.tensor(3.0, requires_grad=True)
    full = item_loss(users, targets, weights, items, scale, negatives=None)
    sampled = item_loss(users, targets, weights, items, scale, negatives=torch.arange(10))
    torch.testing.assert_close(full, sampled)
    gradients = [torch.autograd.grad(loss, scale)[0] for loss in (full, sampled)]
    torch.testing.assert_close(*gradients)  # also where a target is drawn as a negative


def test_the_mean_of_weights_is_that_of_every_step(world: tuple[Dataset, Dataset], recipe: Recipe) -> None:
    state, model, scales = RunState(), new_model(recipe, world[0]), (1.0, 2.0, 6.0)
    for scale in scales:
        model.scale.data.fill_(scale)
        state.average_in(model)
    assert state.mean["scale"].item() == pytest.approx(np.mean(scales))
    assert model.scale.item() == scales[-1]


def test_probabilities_are_trained_on_in_place_of_the_drawn_actions(
    world: tuple[Dataset, Dataset], recipe: Recipe
) -> None:
    training, _ = world
    one_hot = np.eye(4, dtype=np.float32)[training.events.action]
    model = new_model(recipe, training).eval()
    windows = [Windows(training, recipe.context, expected=expected) for expected in (None, one_hot, 0 * one_hot + 0.25)]
    drawn, certain, uniform = (
        losses(model, one.batch(np.arange(len(one)), (0,)), recipe)[0]["action"].item() for one in windows
    )
    assert certain == pytest.approx(drawn, rel=1e-5)
    assert uniform != pytest.approx(drawn, rel=1e-3)


def test_the_contrastive_loss_penalises_similarity_to_skipped_items() -> None:
    users = torch.eye(3)
    items = torch.cat([torch.eye(3), torch.eye(3)])
    engaged, none = torch.tensor([0, 1, 2]), torch.full((3, 2), -1)
    alone = contrastive_loss(users, engaged, none, items, torch.tensor(5.0))
    unlike = contrastive_loss(users, engaged, torch.tensor([[4, -1], [5, -1], [3, -1]]), items, torch.tensor(5.0))
    alike = contrastive_loss(users, engaged, torch.tensor([[3, -1], [4, -1], [5, -1]]), items, torch.tensor(5.0))
    assert alone < unlike < alike


def test_a_recipe_records_newer_fields_only_where_they_are_changed() -> None:
    """So that checkpoints, bundles and trials made before a field existed stay equal to their recipe."""
    assert "pointer" not in tiny().parameters()
    plain = without(tiny(), PARTS)
    assert plain.parameters()["pointer"] is False
    assert Recipe.of(json.loads(json.dumps(plain.parameters()))) == plain


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is usable")
def test_a_device_that_is_not_there_is_refused(world: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="leave out --device cuda"):
        train(*world, tiny(), tmp_path, progress=False, device="cuda")
