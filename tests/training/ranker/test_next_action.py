"""The next action through HTTP is what the evaluation predicts: by the rates, by the regression, and by the stack."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.sequence import export_sequence
from runtime.models.bundle import Bundle
from runtime.models.installed import back, install
from runtime.models.ranker import load_ranker
from tests.conftest import ROOT
from tests.small_world import ITEMS
from tests.training.ranker.replayed import rfc3339, trained_sequence
from tests.waiting import until
from training.checkpoint import BEST, VALIDATED, Checkpoint
from training.data.events import ACTIONS, Histories
from training.errors import TrainingError
from training.evaluation.sequence import GivenCheckpoint
from training.ranker.actions import ActionModel
from training.ranker.command import train_ranker

DEVICES = ("phone", "tablet", "desktop")
CODES = (1, 2, 3)


@pytest.fixture(scope="module")
def run(server, tmp_path_factory):
    return trained_sequence(server, tmp_path_factory.mktemp("checkpoints") / "our-couples")


def serve(server, folder: Path, kind: str, version: str) -> None:
    install(server.models, folder)
    until(lambda: (server.client.get("/info").json()[kind] or {}).get("model_version") == version, server.log.read_text)


def assert_as_evaluated(server, log, model: ActionModel, name: str, at_us: int, users: range, tolerance: float) -> None:
    users = np.array(users, np.int32)
    times = log.events.time_us
    starts, ends = log.starts[users], log.starts[users + 1]
    ends = np.array([a + np.searchsorted(times[a:b], at_us) for a, b in zip(starts, ends, strict=True)])
    histories = Histories(log.events, starts, ends, users, log.events)
    items = np.array([log.catalogue.ids.index(f"item-{user % ITEMS}") for user in users], np.int32)
    device = np.array([CODES[user % 3] for user in users], np.int8)
    expected = model.action_probabilities(histories, np.full(len(users), at_us), device, items)
    for user, item, wanted in zip(users.tolist(), items.tolist(), expected.tolist(), strict=True):
        body = {
            "candidates": ["item-0", log.catalogue.ids[item], "nowhere"], "device": DEVICES[user % 3],
            "at": rfc3339(at_us),
        }  # fmt: skip
        answer = server.client.post(f"/user/{log.users[user]}/next-action", json=body).json()
        assert (answer["model_version"], answer["unknown"]) == (name, ["nowhere"]), answer
        found = [answer["actions"][1][action] for action in ACTIONS]
        assert found == pytest.approx(wanted, abs=tolerance), log.users[user]
        assert answer["actions"][2]["save"] is None


def test_the_regression_and_the_stack_answer_over_http_as_in_the_evaluation(server, log, run, tmp_path):
    after_us, middle_us = int(log.events.time_us.max()) + 3_600_000_000, int(np.median(log.events.time_us))
    before = server.client.post("/user/user-1/next-action", json={"candidates": ["item-1"]}).json()
    assert before["model_version"] == "action-rates-v1"
    assert "no sequence model is installed" in before["fallback"]

    train_ranker(log, tmp_path / "mine", "mine")
    loaded = load_ranker(Bundle.load(tmp_path / "mine", kind="ranker")).next_action
    serve(server, tmp_path / "mine", "ranker", "mine")
    alone = ActionModel()
    alone.learn(log)
    alone.model = loaded.model
    assert_as_evaluated(server, log, alone, "mine", after_us, range(200), 1e-5)
    assert_as_evaluated(server, log, alone, "mine", middle_us, range(0, 200, 10), 1e-5)
    info = server.client.get("/info").json()["ranker"]
    assert info["next_action"] == {"features": len(loaded.model.alone.weights[0]), "sequence": None}
    assert info["log"]["events"] == len(log.events)

    given = GivenCheckpoint(Checkpoint.load(run / VALIDATED), name="our-couples")
    given.fit(log, log)
    stacked = ActionModel(given)
    stacked.fit(*halves(log))
    assert stacked.model.sequence == "our-couples" or stacked.model.stacked is None
    train_ranker(log, tmp_path / "both", "both", run)
    loaded = load_ranker(Bundle.load(tmp_path / "both", kind="ranker")).next_action
    assert loaded.model.sequence == "our-couples", "the stack was not better here: give the test another model"
    serve(server, tmp_path / "both", "ranker", "both")
    alone.model = loaded.model
    assert_as_evaluated(server, log, alone, "both", after_us, range(0, 200, 20), 1e-5)  # its model is not served yet

    exported = export_sequence(run / BEST, tmp_path / "sequences" / "mine")
    serve(server, exported, "sequence", "our-couples")
    final = GivenCheckpoint(Checkpoint.load(run / BEST), name="our-couples")
    final.fit(log, log)
    stacked = ActionModel(final)
    stacked.learn(log)
    stacked.model = loaded.model
    assert_as_evaluated(server, log, stacked, "both+our-couples", after_us, range(200), 2e-3)
    assert_as_evaluated(server, log, stacked, "both+our-couples", middle_us, range(0, 200, 10), 2e-3)
    assert server.client.get("/info").json()["ranker"]["next_action"]["sequence"] == "our-couples"
    ranker = "both, with a model of the next action"
    assert doctor(server.models, tmp_path) == f"{ranker} beside our-couples, with the score of our-couples"
    back(server.models, "sequence")
    alone = f"{ranker} alone: our-couples is not served, without the score of our-couples, which is not served"
    assert doctor(server.models, tmp_path) == alone


def doctor(models: Path, data_dir: Path) -> str:
    environment = {"VOWS_MODELS_DIR": str(models), "VOWS_DATA_DIR": str(data_dir), "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "runtime", "doctor"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    (found,) = re.findall(r"^.{8}ranker +(.*)$", done.stdout, re.MULTILINE)
    return found


def halves(log):
    late = log.events.time_us > np.median(log.events.time_us)
    return tuple(log.with_events(log.events.take(np.flatnonzero(rows))) for rows in (~late, late))


def test_the_owners_model_has_seen_the_whole_log_and_has_its_name(run, log):
    final, chosen = Checkpoint.load(run / BEST), Checkpoint.load(run / VALIDATED)
    newest_us = int(log.events.time_us.max())
    assert final.data["model_name"] == chosen.data["model_name"] == "our-couples"
    assert final.data["trained_until_us"] == final.data["seen_until_us"] == newest_us
    assert chosen.data["trained_until_us"] < newest_us == chosen.data["seen_until_us"]
    changed = [
        not (one == two).all() for one, two in zip(*(c.model.parameters() for c in (final, chosen)), strict=True)
    ]
    assert any(changed)
    assert final.interactions.sum() == len(log.events) > chosen.interactions.sum()


def test_a_model_that_has_seen_what_the_ranker_is_fitted_to_is_refused(run, log, tmp_path):
    early = log.events.time_us < np.quantile(log.events.time_us, 0.8)
    older = log.with_events(log.events.take(np.flatnonzero(early)))
    with pytest.raises(TrainingError, match="was fitted to events of the newest tenth"):
        train_ranker(older, tmp_path / "mine", "mine", run)
