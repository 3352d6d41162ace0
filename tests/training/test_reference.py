"""The reference checkpoint in the repository."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from training.card import checkpoint_card
from training.checkpoint import CONFIG, SAMPLE, WEIGHTS, Checkpoint
from training.legacy_names import _FIELDS, _PARAMETERS, _SAMPLE

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


def test_a_checkpoint_of_format_1_is_read_with_the_names_of_today(shared_reference: Checkpoint, tmp_path: Path) -> None:
    shared_reference.save(tmp_path / "today")
    before = tmp_path / "before"
    shutil.copytree(tmp_path / "today", before)
    state = load_file(before / WEIGHTS)
    save_file({_before(name, _PARAMETERS): tensor for name, tensor in state.items()}, before / WEIGHTS)
    assert "taste.usual" in load_file(before / WEIGHTS)
    sample = load_file(before / SAMPLE)
    save_file({_before(name, [(old, new) for old, new in _SAMPLE.items()]): one for name, one in sample.items()},
              before / SAMPLE)  # fmt: skip
    config = json.loads((before / CONFIG).read_text())
    renamed = {now: old for old, now in _FIELDS.items()}
    for part in ("recipe", "model"):
        config[part] = {renamed.get(name, name): value for name, value in config[part].items()}
    (before / CONFIG).write_text(json.dumps(config | {"format": 1}))
    found = Checkpoint.load(before)
    assert (found.recipe, found.data) == (shared_reference.recipe, shared_reference.data)
    assert "preference_embedding" in found.sample
    for name, tensor in shared_reference.model.state_dict().items():
        assert tensor.equal(found.model.state_dict()[name])


def _before(name: str, renamed: Sequence[tuple[str, str]]) -> str:
    """What a name of today was in format 1."""
    return next((old + name.removeprefix(new) for old, new in renamed if name.startswith(new)), name)
