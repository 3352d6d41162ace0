"""The models over HTTP: what is served, and back to the bundle before."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.ranker_bundle import write_ranker
from runtime.models.installed import install
from runtime.models.ranker import RankerFile, RankerLog
from runtime.personalization.hybrid import prior
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.personalization.ranking_features import HISTORY_EVENTS
from tests.waiting import until


@pytest.fixture
def models(models_with_two_sequences: Path) -> Path:
    return models_with_two_sequences


def found(server, name):
    return next(one for one in server.client.get("/models").json()["models"] if one["name"] == name)


def test_back_and_forth_while_requests_are_answered(start_server, models):
    server = start_server(models_dir=models)
    server.client.put("/content/0%2Fitem-0", json={"text": "a barn"})
    sequence = found(server, "sequence")
    assert (sequence["model_version"], sequence["before"], sequence["problem"]) == ("second", "first", None)
    listed = {one["folder"]: (one["installed"], one["before"]) for one in sequence["bundles"]}
    assert listed == {"sequences/second": (True, False), "sequences/first": (False, True)}
    with ThreadPoolExecutor() as pool:
        body = {"user_id": "ada", "candidates": ["136/item-0"], "model": "sequence"}
        ranked = [pool.submit(server.client.post, "/rank", json=body) for _ in range(20)]
        back = server.client.post("/models/sequence/back")
        assert {one.result().status_code for one in ranked} == {200}
    assert back.status_code == 200, back.text
    assert (back.json()["model_version"], back.json()["before"]) == ("first", "second")
    assert server.client.get("/info").json()["sequence"]["model_version"] == "first"
    assert os.readlink(models / "sequence") == "sequences/first"  # also after a restart
    assert server.client.post("/models/sequence/back").json()["model_version"] == "second"


def test_a_bundle_that_cannot_be_served_changes_nothing(start_server, models):
    (models / "sequences" / "first" / "golden.json").write_text("[]")
    server = start_server(models_dir=models)
    answer = server.client.post("/models/sequence/back")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_other_bundle")
    assert "golden.json" in answer.json()["error"]["message"]
    assert os.readlink(models / "sequence") == "sequences/second"
    sequence = found(server, "sequence")
    assert (sequence["model_version"], sequence["problem"]) == ("second", None)


def test_a_ranker_goes_back_to_the_weights_that_need_no_bundle_and_forth(start_server, models):
    server = start_server(models_dir=models)
    ranker = found(server, "ranker")
    assert (ranker["model_version"], ranker["before"], ranker["bundles"]) == (prior().version, None, [])
    answer = server.client.post("/models/ranker/back")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_other_bundle")
    install(models, ranker_bundle(models / "rankers" / "mine"))
    until(lambda: found(server, "ranker")["model_version"] == "mine")
    assert found(server, "ranker")["before"] == prior().version
    back = server.client.post("/models/ranker/back").json()
    assert (back["model_version"], back["before"]) == (prior().version, "mine")
    assert server.client.post("/models/ranker/back").json()["model_version"] == "mine"


def ranker_bundle(folder: Path) -> Path:
    """A ranker with weights of its own and no neighbours."""
    log = RankerLog(name="a log", events=1, users=1, items=1, first="2026-01-01T00:00:00Z", last="2026-01-01T00:00:00Z")
    file = RankerFile(weights={"own": 1.0}, half_lives_hours=HALF_LIVES_HOURS, history_events=HISTORY_EVENTS, log=log)
    write_ranker(folder, file, "mine")
    return folder


def test_what_cannot_be_switched(start_server, models):
    server = start_server(models_dir=models)
    for name in ("minilm", "nothing"):
        answer = server.client.post(f"/models/{name}/back")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_model")
        assert "sequence and ranker" in answer.json()["error"]["message"]
    encoder = found(server, "minilm")
    assert (encoder["model_version"], encoder["before"]) == ("sentence-bert-v1", None)
