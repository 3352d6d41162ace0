"""From a checkpoint to a bundle that the runtime loads; every history length agrees with PyTorch."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main
from export.errors import GateError
from export.sequence import _load, export_sequence
from export.sequence_agreement import LENGTHS, Sample, SequenceGate, TorchModel, held_out_agreement, length_agreement
from runtime.models.bundle import Bundle, BundleError
from runtime.models.sequence_model import History, SequenceModel, golden_history, load_sequence_model
from runtime.personalization.sequence_features import DAYS_TO_EVENT_KEY
from tests.small_world import small_world, split
from training.recipes import PARTS, tiny, without
from training.train import train

TRAINING_ONLY = ("factorised ids", "contrastive loss")  # parts that are no part of what is exported


@pytest.fixture(scope="module")
def models(shared_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    assert main(["sequence", "--checkpoint", str(shared_checkpoint), "--out", str(folder / "sequence")]) == 0
    return folder


@pytest.fixture(scope="module")
def model(models: Path) -> SequenceModel:
    return load_sequence_model(Bundle.load(models / "sequence", kind="sequence"), "sentence-bert-v1")


@pytest.mark.parametrize("events", LENGTHS)
def test_every_history_length_agrees_with_pytorch(shared_checkpoint: Path, model: SequenceModel, events: int) -> None:
    checkpoint = _load(shared_checkpoint)
    sample = Sample.of(checkpoint)
    found = length_agreement(TorchModel(checkpoint, sample), model, sample, events)
    assert found.user_cosine_min > 0.99999
    assert found.probability_difference < 1e-4


def test_held_out_histories_agree_with_pytorch(shared_checkpoint: Path, model: SequenceModel, models: Path) -> None:
    checkpoint = _load(shared_checkpoint)
    sample = Sample.of(checkpoint)
    found = held_out_agreement(TorchModel(checkpoint, sample), model, sample)
    assert found.histories > 50
    assert found.user_cosine_p5 > 0.9999
    assert found.ndcg == pytest.approx(found.ndcg_torch)
    manifest = json.loads((models / "sequence" / "manifest.json").read_text())
    assert manifest["quality"]["held_out"]["histories"] == found.histories
    assert set(manifest["quality"]["lengths"]) == set(map(str, LENGTHS))
    assert manifest["quality"]["validation"]["events"] > 0


@pytest.mark.parametrize("parts", [[*PARTS], *([part] for part in PARTS if part not in TRAINING_ONLY)], ids=" + ".join)
def test_a_model_without_parts_agrees_with_pytorch(parts: list[str], tmp_path: Path) -> None:
    recipe = replace(without(tiny(), parts), epochs=1)
    train(*split(small_world()), recipe, tmp_path / "run", progress=False)
    export_sequence(tmp_path / "run" / "best", tmp_path / "sequence")
    model = load_sequence_model(Bundle.load(tmp_path / "sequence", kind="sequence"), "sentence-bert-v1")
    checkpoint = _load(tmp_path / "run" / "best")
    sample = Sample.of(checkpoint)
    for events in LENGTHS[:3]:
        found = length_agreement(TorchModel(checkpoint, sample), model, sample, events)
        assert found.user_cosine_min > 0.99999
        assert found.probability_difference < 1e-4


def test_a_missed_gate_writes_nothing(shared_checkpoint: Path, tmp_path: Path) -> None:
    impossible = SequenceGate(min_user_cosine_p5=1.1, max_probability_difference=-1.0, max_ndcg_loss=-1.0)
    with pytest.raises(GateError, match="cosine to PyTorch") as refusal:
        export_sequence(shared_checkpoint, tmp_path / "sequence", impossible)
    assert "probabilities differ" in str(refusal.value)
    assert "NDCG@10" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sequence", "--checkpoint", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "is not a checkpoint" in capsys.readouterr().err


def test_the_same_checkpoint_gives_the_same_bytes(shared_checkpoint: Path, models: Path, tmp_path: Path) -> None:
    again = export_sequence(shared_checkpoint, tmp_path / "again")
    for file in (models / "sequence").iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_bundle_says_where_the_server_finds_the_days_to_the_event(
    shared_checkpoint: Path, model: SequenceModel, tmp_path: Path
) -> None:
    checkpoint = _load(shared_checkpoint)
    assert model.days_to_event_key == DAYS_TO_EVENT_KEY
    checkpoint.data["days_to_event_key"] = "days_to_launch"
    checkpoint.save(tmp_path / "checkpoint")
    out = export_sequence(tmp_path / "checkpoint", tmp_path / "bundle")
    exported = load_sequence_model(Bundle.load(out, kind="sequence"), "sentence-bert-v1")
    assert exported.days_to_event_key == "days_to_launch"


def test_a_known_item_is_more_than_its_text_and_another_text_is_a_new_item(
    shared_checkpoint: Path, model: SequenceModel
) -> None:
    sample = Sample.of(_load(shared_checkpoint))
    learned = model.learned(sample.ids, sample.metadata)
    assert (np.abs(learned - sample.metadata).max(axis=1) > 1e-4).all()
    np.testing.assert_allclose(np.linalg.norm(learned, axis=1), 1, atol=1e-6)
    other = np.roll(sample.metadata, 1, axis=0)
    assert (model.learned(sample.ids, other) == other).all()
    assert (model.learned([f"new {id}" for id in sample.ids], sample.metadata) == sample.metadata).all()


def test_time_and_device_change_the_user_vector(model: SequenceModel) -> None:
    history = golden_history(9)
    now_us = int(history.time_us[-1]) + 1
    vectors = [
        model.user(history, now_us, 1).vector,
        model.user(history, now_us, 3).vector,
        model.user(history, now_us + 30 * 86_400_000_000, 1).vector,
    ]
    assert len({vector.tobytes() for vector in vectors}) == 3


def test_no_candidates_and_no_events(model: SequenceModel) -> None:
    nothing = golden_history(0)
    user = model.user(nothing, 1_750_000_000_000_000, 0)
    assert model.actions(user, np.zeros((0, 384), np.float32)).shape == (0, 4)
    assert model.items(np.zeros((0, 384), np.float32)).shape == (0, model.dimensions)
    np.testing.assert_allclose(model.actions(user, golden_history(3).content).sum(axis=1), 1, atol=1e-6)
    assert len(History(**vars(nothing))) == 0


def test_the_runtime_refuses_what_is_not_this_bundle(models: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(models / "sequence", kind="sequence")
    with pytest.raises(BundleError, match="same text encoder"):
        load_sequence_model(bundle, "sentence-bert-v2")
    with pytest.raises(BundleError, match="kind is 'sequence'"):
        Bundle.load(models / "sequence", kind="text-encoder")
    with pytest.raises(BundleError, match="export sequence"):
        Bundle.load(tmp_path, kind="sequence")
