"""The reference checkpoint in the repository."""

import json
from pathlib import Path

import pytest

from training.card import checkpoint_card
from training.checkpoint import CONFIG, Checkpoint
from training.errors import TrainingError

REFERENCE = Path("checkpoints/reference")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared_reference() -> Checkpoint:
    return Checkpoint.load(ROOT / REFERENCE)


def test_the_checkpoint_is_small() -> None:
    assert sum(file.stat().st_size for file in (ROOT / REFERENCE).iterdir()) < 9_000_000


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


def test_a_checkpoint_of_another_format_is_refused(shared_reference: Checkpoint, tmp_path: Path) -> None:
    shared_reference.save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | {"format": 1}))
    with pytest.raises(TrainingError, match="has format 1, this program reads 2"):
        Checkpoint.load(tmp_path)
