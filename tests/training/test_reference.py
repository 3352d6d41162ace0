"""The reference checkpoint in the repository."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from training.card import checkpoint_card
from training.checkpoint import Checkpoint

REFERENCE = Path("checkpoints/reference")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared_reference() -> Checkpoint:
    return Checkpoint.load(ROOT / REFERENCE)


def test_the_checkpoint_is_small() -> None:
    assert sum(file.stat().st_size for file in (ROOT / REFERENCE).iterdir()) < 8_000_000


def test_the_model_card_is_generated(shared_reference: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (REFERENCE / "README.md").read_text() == checkpoint_card(shared_reference, REFERENCE)


def test_it_was_trained_on_simulated_data_alone(shared_reference: Checkpoint) -> None:
    assert "simulated" in shared_reference.data["name"]
    assert "simulator" in shared_reference.data["licence"]


def test_training_improved_the_validation_loss(shared_reference: Checkpoint) -> None:
    first, best = (
        shared_reference.metrics[0]["validation"],
        min(shared_reference.metrics, key=lambda one: one["validation"]["loss"]),
    )
    assert best["validation"]["loss"] < first["loss"]
    assert len(shared_reference.sample["now_us"]) > 50


def test_a_checkpoint_of_format_1_is_read_with_the_names_of_today(shared_reference: Checkpoint) -> None:
    config = json.loads((ROOT / REFERENCE / "config.json").read_text())
    assert config["format"] == 1
    assert shared_reference.recipe.regression_steps == config["recipe"]["taste_steps"]
    stored = load_file(ROOT / REFERENCE / "model.safetensors")
    state = shared_reference.model.state_dict()
    assert len(state) == len(stored)
    assert state["preference_regression.prior_mean"].equal(stored["taste.usual"])
    assert "order strength 1" in shared_reference.data["name"]
    assert "preference_embedding" in shared_reference.sample
