"""The sequence model over HTTP: absent, installed, switched under load, and back."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from export.sequence import export_sequence
from runtime.models.bundle import Bundle
from runtime.models.installed import install
from runtime.models.sequence_model import History, SequenceModel
from runtime.models.text_encoder import TextEncoder
from tests.conftest import ROOT, Server
from tests.waiting import WAIT_S, until

DAY_S = 86_400
TEXTS = {f"seq-{n}": text for n, text in enumerate((
    "a rustic barn with hay bales", "a ballroom with chandeliers", "a yacht at sea", "wildflower bouquets",
    "a black-tie band", "a lace dress", "a vegan wedding cake", "letterpress invitations",
))}  # fmt: skip
TRAINED = "item-0"  # of the world that the model of these tests was trained on


@pytest.fixture(scope="module")
def models(bundle_path: Path, shared_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "minilm").symlink_to(bundle_path.resolve())
    export_sequence(shared_checkpoint, folder / "sequence")
    return folder


@pytest.fixture(scope="module")
def shared_sequence_server(start_server: Callable[..., Server], models: Path) -> Server:
    server = start_server(models_dir=models)
    _store_catalogue(server)
    return server


@pytest.fixture(scope="module")
def model(models: Path) -> SequenceModel:
    return SequenceModel(Bundle.load(models / "sequence", kind="sequence"))


def _store_catalogue(server: Server) -> None:
    items = [{"id": id, "text": text} for id, text in {**TEXTS, TRAINED: "an item of the training log"}.items()]
    assert server.client.post("/content/batch", json=items).json()["stored"] == len(items)


def _act(server: Server, user: str, *acts: tuple[str, str], **more: object) -> None:
    """Events a day apart, the last an hour ago."""
    now = time.time()
    events = [
        {
            "user_id": user, "content_id": id, "type": type,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 3600 - DAY_S * (len(acts) - n))), **more,
        }
        for n, (id, type) in enumerate(acts)
    ]  # fmt: skip
    assert server.client.post("/interactions", json=events).json()["stored"] == len(acts)


def _answer(server: Server, path: str, **body: object) -> dict:
    answer = server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _scores(
    server: Server, user: str, model: str = "sequence", ids: Sequence[str] = tuple(TEXTS)
) -> list[float | None]:
    ranking = _answer(server, "/rank", user_id=user, candidates=list(ids), model=model)
    return [one["score"] for one in ranking["scores"]]


HISTORY = (("seq-0", "view"), ("seq-3", "save"), ("seq-2", "skip"), ("seq-5", "share"))


def test_without_a_bundle_everything_else_works_and_the_model_is_refused(
    start_server: Callable[..., Server], bundle_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "minilm").symlink_to(bundle_path.resolve())
    server = start_server(models_dir=tmp_path)
    server.client.put("/content/plain-1", json={"text": "a barn"})
    asked = [
        server.client.get("/user/nobody/embedding", params={"model": "sequence"}),
        server.client.post("/rank", json={"user_id": "nobody", "candidates": ["plain-1"], "model": "sequence"}),
    ]
    for answer in asked:
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_sequence_model")
        assert "vows-edge export sequence" in answer.json()["error"]["message"]
    rates = _answer(server, "/user/nobody/next-action", candidates=["plain-1"])
    assert (rates["model_version"], rates["source"], rates["actions"][0]["view"]) == ("action-rates-v1", "none", 0.25)
    assert "vows-edge export sequence" in rates["fallback"]
    simple = _answer(server, "/rank", user_id="nobody", candidates=["plain-1"], model="simple")
    assert (simple["model_version"], "fallback" in simple) == ("simple-v1", False)
    assert server.client.get("/info").json()["sequence"] is None
    wrong = server.client.get("/user/nobody/embedding", params={"model": "best"})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "model")


def test_the_answer_is_the_models_own(
    shared_sequence_server: Server, model: SequenceModel, encoder: TextEncoder
) -> None:
    """The same events, features and vectors by hand: what is served is what was trained."""
    _act(
        shared_sequence_server,
        "ada",
        *HISTORY,
        device="iPhone",
        duration_ms=4000,
        context={"days_to_wedding": 120, "note": "x"},
    )
    ids = [id for id, _ in HISTORY]
    metadata = np.stack([encoder.embed(encoder.tokenize(TEXTS[id]).ids) for id in ids])
    stamps = [json.loads(line) for line in shared_sequence_server.client.get("/user/ada/embedding").text.splitlines()]
    assert len(stamps[0]["embedding"]) == 384
    now_us = time.time_ns() // 1000
    times = np.array([int(now_us // 1e6 - 3600 - DAY_S * (4 - n)) * 1_000_000 for n in range(4)])
    codes = {"skip": 0, "view": 1, "save": 2, "share": 3}
    content = model.learned(ids, metadata)
    history = History(
        content=content,
        item=model.items(content),
        action=np.array([codes[type] for _, type in HISTORY], np.int8),
        device=np.ones(4, np.int8),
        time_us=times,
        duration_ms=np.full(4, 4000, np.float32),
        days_to_event=np.full(4, 120, np.float32),
    )
    expected = model.user(history, now_us, 1)
    found = shared_sequence_server.client.get("/user/ada/embedding", params={"model": "sequence"}).json()
    assert (found["model_version"], found["source"], found["interaction_count"]) == ("sequence-v1", "history", 4)
    assert len(found["embedding"]) == 128
    np.testing.assert_allclose(np.array(found["embedding"]) @ expected.vector, 1, atol=1e-4)

    everything = np.stack([encoder.embed(encoder.tokenize(text).ids) for text in TEXTS.values()])
    learned = model.learned(list(TEXTS), everything)
    ranking = _answer(shared_sequence_server, "/rank", user_id="ada", candidates=[*TEXTS, "nowhere"], model="sequence")
    assert (ranking["model_version"], ranking["unknown"]) == ("sequence-v1", ["nowhere"])
    scores = [one["score"] for one in ranking["scores"][:-1]]
    np.testing.assert_allclose(scores, model.items(learned) @ expected.vector, atol=2e-3)
    assert [one["score"] for one in ranking["ranked"]] == sorted(scores, reverse=True)

    actions = _answer(shared_sequence_server, "/user/ada/next-action", candidates=[*TEXTS, "nowhere"])
    assert (actions["events"], actions["source"], actions["unknown"]) == (4, "history", ["nowhere"])
    order = ("skip", "view", "save", "share")
    probabilities = [[one[action] for action in order] for one in actions["actions"][:-1]]
    np.testing.assert_allclose(probabilities, model.actions(expected, learned), atol=2e-3)
    assert actions["actions"][-1]["view"] is None


def test_own_vectors_and_a_query_of_the_models_length(shared_sequence_server: Server, encoder: TextEncoder) -> None:
    _act(shared_sequence_server, "own", *HISTORY)
    vector = encoder.embed(encoder.tokenize(TEXTS["seq-4"]).ids).tolist()
    ranking = _answer(
        shared_sequence_server,
        "/rank",
        user_id="own",
        candidates=[{"id": "mine", "embedding": vector}, "seq-4"],
        model="sequence",
    )
    mine, stored = (one["score"] for one in ranking["scores"])
    assert abs(mine - stored) < 2e-3
    query = shared_sequence_server.client.get("/user/own/embedding", params={"model": "sequence"}).json()["embedding"]
    again = _answer(shared_sequence_server, "/rank", embedding=query, candidates=["seq-4"], model="sequence")
    assert (again["source"], abs(again["scores"][0]["score"] - stored) < 1e-2) == ("embedding", True)
    refused = shared_sequence_server.client.post(
        "/rank", json={"embedding": vector, "candidates": ["seq-4"], "model": "sequence"}
    )
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "$.embedding")


def test_new_users_get_the_cold_start_and_a_fallback_that_says_so(shared_sequence_server: Server) -> None:
    _act(shared_sequence_server, "fresh", *HISTORY[:2])
    found = shared_sequence_server.client.get("/user/fresh/embedding", params={"model": "sequence"}).json()
    assert (found["model_version"], found["source"], found["fallback"]) == ("simple-v1", "history", "2 of 3 events")
    assert len(found["embedding"]) == 384
    ranking = _answer(shared_sequence_server, "/rank", user_id="nobody-yet", candidates=["seq-1"], model="sequence")
    assert (ranking["source"], ranking["fallback"]) == ("popular", "0 of 3 events")
    shared_sequence_server.client.put("/user/told/preferences", json={"preferences": ["lace"]})
    ranking = _answer(shared_sequence_server, "/rank", user_id="told", candidates=["seq-1"], model="sequence")
    assert ranking["source"] == "preferences"
    assert _answer(shared_sequence_server, "/user/told/next-action", candidates=["seq-1"])["source"] == "preferences"
    none = _answer(shared_sequence_server, "/user/nobody-yet/next-action", candidates=["seq-1"])
    assert (none["source"], none["events"]) == ("none", 0)
    np.testing.assert_allclose(
        sum(none["actions"][0][name] for name in ("skip", "view", "save", "share")), 1, atol=1e-5
    )


def test_a_model_that_knows_no_item_of_the_catalogue_leaves_the_answer_to_others_and_says_so(
    start_server: Callable[..., Server], models: Path
) -> None:
    server = start_server(models_dir=models)
    server.client.post("/content/batch", json=[{"id": id, "text": text} for id, text in TEXTS.items()])
    _act(server, "ada", *HISTORY)
    body = {"user_id": "ada", "candidates": list(TEXTS)}

    def known() -> tuple[int, int]:
        info = server.client.get("/info").json()["sequence"]
        return info["known_items"], info["trained_items"]

    simple = _answer(server, "/rank", **body, model="simple")
    ranking = _answer(server, "/rank", **body, model="sequence")
    assert (ranking["model_version"], ranking["scores"]) == ("simple-v1", simple["scores"])
    assert f"knows none of the {len(TEXTS)} items" in ranking["fallback"]
    assert server.client.get("/user/ada/embedding", params={"model": "sequence"}).json()["model_version"] == "simple-v1"
    actions = _answer(server, "/user/ada/next-action", candidates=["seq-1", "nowhere"])
    assert (actions["model_version"], actions["events"], actions["source"]) == ("action-rates-v1", 4, "history")
    assert actions["fallback"] == ranking["fallback"]
    assert actions["actions"][0] == {"id": "seq-1", "view": 0.25, "save": 0.25, "share": 0.25, "skip": 0.25}
    assert actions["actions"][1]["view"] is None
    assert known()[0] == 0 < known()[1]

    server.client.put(f"/content/{TRAINED}", json={"text": "an item of the training log"})
    assert known()[0] == 1
    assert _answer(server, "/rank", **body, model="sequence")["model_version"] == "sequence-v1"
    assert "fallback" not in _answer(server, "/user/ada/next-action", candidates=["seq-1"])
    for hidden, count in ((True, 0), (False, 1)):
        server.client.patch(f"/content/{TRAINED}", json={"hidden": hidden})
        assert known()[0] == count
    server.client.delete(f"/content/{TRAINED}")
    assert known()[0] == 0


def test_an_event_changes_the_next_ranking_and_a_skip_counts(shared_sequence_server: Server) -> None:
    server = shared_sequence_server
    _act(server, "moving", *HISTORY)
    before, simple = _scores(server, "moving"), _scores(server, "moving", "simple")
    server.client.post("/interactions", json={"user_id": "moving", "content_id": "seq-6", "type": "skip"})
    assert np.abs(np.subtract(_scores(server, "moving"), before)).max() > 1e-3
    assert _scores(server, "moving", "simple") == simple


def test_item_vectors_follow_the_content(shared_sequence_server: Server) -> None:
    """Replaced content is ranked by its new text; deleted content leaves histories and rankings."""
    _act(shared_sequence_server, "editor", *HISTORY, ("seq-7", "view"))

    def score(id: str) -> float | None:
        return _scores(shared_sequence_server, "editor", ids=[id])[0]

    shared_sequence_server.client.put("/content/seq-edit", json={"text": TEXTS["seq-1"]})
    assert abs(score("seq-edit") - score("seq-1")) < 2e-3
    shared_sequence_server.client.put("/content/seq-edit", json={"text": TEXTS["seq-6"]})
    assert abs(score("seq-edit") - score("seq-6")) < 2e-3
    shared_sequence_server.client.delete("/content/seq-edit")
    assert score("seq-edit") is None
    info = shared_sequence_server.client.get("/info").json()["sequence"]
    assert info["item_vectors"] == len(TEXTS) + 1
    before = _answer(shared_sequence_server, "/user/editor/next-action", candidates=["seq-0"])["events"]
    shared_sequence_server.client.delete("/content/seq-7")
    assert _answer(shared_sequence_server, "/user/editor/next-action", candidates=["seq-0"])["events"] == before - 1
    shared_sequence_server.client.put("/content/seq-7", json={"text": TEXTS["seq-7"]})


def test_odd_contexts_and_devices_are_no_errors(shared_sequence_server: Server) -> None:
    for n, context in enumerate(
        ({"days_to_wedding": "soon"}, {"days_to_wedding": 1e300}, {"days_to_wedding": True}, {})
    ):
        _act(shared_sequence_server, f"odd-{n}", *HISTORY, device="🛰 satellite", context=context)
        answer = shared_sequence_server.client.get(
            f"/user/odd-{n}/embedding", params={"model": "sequence", "device": "fridge"}
        )
        assert np.isfinite(answer.json()["embedding"]).all()


def test_a_bundle_is_switched_without_dropping_a_request_and_back(
    start_server: Callable[..., Server], models: Path, shared_checkpoint: Path, bundle_path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "minilm").symlink_to(bundle_path.resolve())
    first = export_sequence(shared_checkpoint, folder / "sequences" / "first")
    install(folder, first)
    other = _other_bundle(first)
    server = start_server(models_dir=folder)
    _store_catalogue(server)
    _act(server, "ada", *HISTORY)

    def served() -> str:
        return server.client.get("/info").json()["sequence"]["bundle_sha256"]

    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            while not stop.is_set():
                body = {"user_id": "ada", "candidates": list(TEXTS), "model": "sequence"}
                statuses.append(client.post("/rank", json=body).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        before = served()
        _switch(folder, "install", str(other))
        until(lambda: served() != before)
        _switch(folder, "back")
        until(lambda: served() == before)
        (folder / "sequence" / "golden.json").write_text("[]")  # a damaged bundle is not taken over
        (folder / "sequence" / "manifest.json").touch()
        until(lambda: "is still served" in server.log.read_text())
        assert served() == before
    finally:
        stop.set()
        asking.join()
    assert set(statuses) == {200}


def test_a_bundle_that_appears_is_served_and_one_that_is_broken_leaves_the_rest(
    start_server: Callable[..., Server], models: Path, bundle_path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "minilm").symlink_to(bundle_path.resolve())
    shutil.copytree(models / "sequence", folder / "sequences" / "one")
    (folder / "sequences" / "one" / "user.ort").write_bytes(b"not a graph")
    (folder / "sequence").symlink_to("sequences/one")
    server = start_server(models_dir=folder)
    server.client.put("/content/a", json={"text": "a barn"})
    assert server.client.get("/user/x/embedding", params={"model": "sequence"}).status_code == 409
    without = _answer(server, "/user/x/next-action", candidates=["a"])
    assert (without["model_version"], without["actions"][0]["save"]) == ("action-rates-v1", 0.25)
    assert "cannot be served" in without["fallback"]
    shutil.copytree(models / "sequence", folder / "sequences" / "two")
    _switch(folder, "install", str(folder / "sequences" / "two"))
    until(lambda: server.client.get("/info").json()["sequence"] is not None)


def _other_bundle(first: Path) -> Path:
    """A copy with another manifest, and so another digest."""
    other = first.with_name("other")
    shutil.copytree(first, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["quality"]["note"] = "other"
    (other / "manifest.json").write_text(json.dumps(manifest))
    return other


def _switch(models: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "runtime", "models", *arguments]
    subprocess.run(command, cwd=ROOT, env={"VOWS_MODELS_DIR": str(models)}, check=True, capture_output=True)
