"""`vows-edge train`, from its arguments to a checkpoint with a card."""

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.environment import OF_OTHER_COMMANDS
from training import command
from training.__main__ import main
from training.checkpoint import Checkpoint
from training.data.command import DATA_VARIABLE
from training.data.vectors import CACHE_VARIABLE
from training.errors import TrainingError
from training.recipes import NOT_FOR_LOGS, deskdrop, fine_tuning, ml_100k, of_log, without


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated worlds of a few users: the path of `make train`, at a size for tests."""
    out = tmp_path_factory.mktemp("train") / "run"
    arguments = ["train", "--out", str(out), "--recipe", "tiny", "--worlds", "5", "6", "--users", "30"]
    assert main([*arguments, "--epochs", "1"]) == 0
    return out / "best"


def test_worlds_become_one_data_set(shared_run: Path) -> None:
    checkpoint = Checkpoint.load(shared_run)
    assert checkpoint.data["users"] == 60
    assert {id.partition("/")[0] for id in checkpoint.ids} == {"5", "6"}
    assert (checkpoint.interactions > 0).any()
    assert len(checkpoint.sample["now_us"]) > 10
    assert checkpoint.sample["preference_embedding"].any()


def test_the_model_card_states_data_and_limits(shared_run: Path) -> None:
    card = (shared_run / "README.md").read_text()
    assert "2 simulated worlds, order strength 1, seeds 5, 6" in card
    assert "has never seen data of real people" in card
    assert "{" not in card


def test_fine_tuning_a_checkpoint(shared_run: Path, tmp_path: Path) -> None:
    arguments = [
        "train",
        "--out",
        str(tmp_path),
        "--worlds",
        "5",
        "--users",
        "30",
        "--epochs",
        "1",
        "--from",
        str(shared_run),
    ]
    assert main([*arguments, "--since", "2000-01-01"]) == 0
    assert Checkpoint.load(tmp_path / "best").metrics[0]["step"] == 0


def test_training_on_the_probabilities_of_actions(shared_run: Path, tmp_path: Path) -> None:
    arguments = ["train", "--from", str(shared_run), "--worlds", "7", "8", "--users", "30", "--epochs", "1"]
    assert main([*arguments, "--out", str(tmp_path / "drawn")]) == 0
    assert main([*arguments, "--out", str(tmp_path / "expected"), "--expected-actions"]) == 0
    drawn, expected = (Checkpoint.load(tmp_path / name / "best") for name in ("drawn", "expected"))
    assert expected.recipe.expected_actions
    assert not fine_tuning(expected.recipe).expected_actions  # another world's log has drawn actions alone
    assert expected.data["sha256"] == drawn.data["sha256"]
    assert expected.metrics[-1]["training"] != drawn.metrics[-1]["training"]


def test_the_key_of_the_days_to_the_event_stays_with_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    world = ["simulate", "--users", "30", "--items", "48", "--oracle-users", "0", "--out", str(tmp_path / "world")]
    assert main(world) == 0
    log = ["--events", str(tmp_path / "world/events.parquet"), "--items", str(tmp_path / "world/items.parquet")]
    log += ["--epochs", "1"]
    first, tuned, other = (str(tmp_path / name) for name in ("first", "tuned", "other"))
    named = [*log, "--days-to-event-key", "days_to_launch"]
    assert main(["train", "--recipe", "tiny", "--out", first, *named]) == 0
    assert Checkpoint.load(tmp_path / "first/best").data["days_to_event_key"] == "days_to_launch"
    assert main(["train", "--from", f"{first}/best", "--out", tuned, *log]) == 0
    assert Checkpoint.load(tmp_path / "tuned/best").data["days_to_event_key"] == "days_to_launch"
    assert main(["train", "--recipe", "tiny", "--out", other, "--days-to-event-key", "days_to_launch"]) == 1


def test_the_server_knows_the_variables_of_training() -> None:
    assert {CACHE_VARIABLE, DATA_VARIABLE} == OF_OTHER_COMMANDS


def test_a_log_of_any_size_gets_the_layers_that_were_measured_on_public_logs() -> None:
    for known, measured in ((1.0, ml_100k()), (0.0, deskdrop())):
        expected = without(measured, NOT_FOR_LOGS)
        for events in (1_000, 100_000, 10_000_000):
            recipe = of_log(events, known)
            assert replace(recipe, name=expected.name, epochs=expected.epochs) == expected
            assert 3 <= recipe.epochs <= 20


def test_contradicting_options_are_errors(shared_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--out", str(tmp_path), "--since", "2026-01-01"]) == 1
    assert main(["train", "--out", str(tmp_path), "--from", str(shared_run), "--layers", "6", "--worlds", "5"]) == 1
    assert main(["train", "--out", str(tmp_path), "--from", str(tmp_path)]) == 1
    assert main(["train", "--out", str(tmp_path), "--set", "deskdrop", "--expected-actions"]) == 1
    errors = capsys.readouterr().err
    assert "--from" in errors
    assert "has 4 layers" in errors
    assert "only their simulator knows" in errors
    assert "not a checkpoint" in errors


def test_a_failed_upload_names_the_folder_of_the_checkpoint(shared_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TrainingError, match="the checkpoint is in"):
        command.push(shared_run, "nobody/nothing")
