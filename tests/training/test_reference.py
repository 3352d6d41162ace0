"""The checkpoint that comes with the project."""

from pathlib import Path

import pytest

from training.card import checkpoint_card
from training.checkpoint import Checkpoint

REFERENCE = Path("checkpoints/reference")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> Checkpoint:
    return Checkpoint.load(ROOT / REFERENCE)


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in (ROOT / REFERENCE).iterdir()) < 8_000_000


def test_its_card_is_generated(reference: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (REFERENCE / "README.md").read_text() == checkpoint_card(reference, REFERENCE)


def test_it_was_trained_on_nobodys_data(reference: Checkpoint) -> None:
    assert "simulated" in reference.data["name"]
    assert "simulator" in reference.data["licence"]


def test_it_learned_something(reference: Checkpoint) -> None:
    first, best = reference.metrics[0]["validation"], min(reference.metrics, key=lambda one: one["validation"]["loss"])
    assert best["validation"]["loss"] < first["loss"]
    assert len(reference.sample["now_us"]) > 50
