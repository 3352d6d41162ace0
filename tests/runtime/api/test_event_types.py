"""A site's own types of events: weighed as they were declared, the action that they stand for to the models."""

import json

import numpy as np
import pytest

from runtime.personalization.actions import event_types
from runtime.setting_fields import SettingsError
from runtime.settings import Settings

TYPES = "purchase=share:10, like=save, hide=skip, open.2=view"


def test_what_is_declared():
    found = event_types(TYPES)
    assert list(found) == ["view", "save", "share", "skip", "purchase", "like", "hide", "open.2"]
    assert found["purchase"][1:] == ("share", 10)
    assert found["like"][1:] == ("save", 3)
    assert found["hide"][1:] == ("skip", 0)
    assert list(event_types("")) == ["view", "save", "share", "skip"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("buy=purchase", "is not one of view, save, share, skip"),
        ("buy", "is not one of view, save, share, skip"),
        ("view=save", "built in"),
        ("a=save,a=view", "there twice"),
        ("a b=save", "has no name"),
        ("=save", "has no name"),
        ("a=save:-1", "no whole number"),
        ("a=save:1.5", "no whole number"),
        ("a=save:1001", "no whole number"),
        ("a=save:0", "1 or more"),
        ("a=skip:1", "a skip has 0"),
        (",".join(f"t{n}=view" for n in range(65)), "the limit is 64"),
    ],
)
def test_what_cannot_be_declared_is_refused_at_the_start(text, said):
    with pytest.raises(SettingsError, match="VOWS_EVENT_TYPES") as refusal:
        Settings(event_types=text)
    assert said in str(refusal.value)


@pytest.fixture(scope="module")
def server(start_server):
    server = start_server(event_types=TYPES)
    texts = {"barn": "a rustic barn", "yacht": "a yacht at sea", "tent": "a white tent"}
    server.client.post("/content/batch", json=[{"id": id, "text": text} for id, text in texts.items()])
    return server


def events(user, *types):
    at = "2026-01-01T00:00:00Z"
    return [{"user_id": user, "content_id": content, "type": type, "timestamp": at} for type, content in types]


def simple(client, user):
    return np.array(client.get(f"/user/{user}/embedding").json()["embedding"])


def vector(client, *weights):
    mean = sum(weight * np.array(client.get(f"/content/{id}").json()["embedding"]) for id, weight in weights)
    return mean / np.linalg.norm(mean)


def test_each_weighs_what_was_declared_and_is_undone_exactly(server):
    client = server.client
    sent = events("own-ann", ("purchase", "barn"), ("like", "yacht"), ("hide", "tent"), ("view", "tent"))
    answer = client.post("/interactions", json=[*sent[:-1], sent[-1] | {"event_id": "own-view"}]).json()
    assert answer["stored"] == 4
    expected = [("barn", 10), ("yacht", 3), ("tent", 1)]
    np.testing.assert_allclose(simple(client, "own-ann"), vector(client, *expected), atol=1e-6)
    client.delete("/interactions/own-view")
    np.testing.assert_allclose(simple(client, "own-ann"), vector(client, *expected[:2]), atol=1e-6)
    client.put("/content/tent", json={"text": "a blue tent"})  # whose history must be read again
    client.put("/content/barn", json={"text": "an oak barn"})
    np.testing.assert_allclose(simple(client, "own-ann"), vector(client, *expected[:2]), atol=1e-6)
    explained = client.post(
        "/rank?explain=true", json={"user_id": "own-ann", "candidates": ["barn"], "model": "simple"}
    ).json()["explanations"][0]["interactions"]
    assert explained[0]["type"] == "purchase"
    assert abs(sum(one["contribution"] for one in explained) -
               float(vector(client, *expected[:2]) @ vector(client, ("barn", 1)))) < 1e-5  # fmt: skip


def test_models_read_the_action(server):
    client = server.client
    client.post("/interactions", json=events("own-bob", ("purchase", "barn"), ("hide", "yacht")))
    done = client.get("/user/own-bob/recommendations").json()["results"]
    assert {one["id"] for one in done} == {"tent"}
    style = client.get("/user/own-bob/style", params={"dislikes": True}).json()
    assert style["dislikes"]["skips"] == 1
    assert client.post("/user/own-bob/next-action", json={"candidates": ["tent"]}).json()["events"] == 2


def test_the_export_names_them_and_goes_in_again(server, start_server):
    client = server.client
    client.post("/interactions", json=events("own-cem", ("purchase", "barn"), ("save", "barn")))
    lines = [json.loads(line) for line in client.get("/events/export?user_id=own-cem").text.splitlines()]
    assert [(one["type"], one.get("action")) for one in lines] == [("purchase", "share"), ("save", None)]
    assert client.post("/interactions", json=lines).json()["duplicates"] == 2
    other = {**lines[0], "type": "share"}
    assert client.post("/interactions", json=other).json()["error"]["code"] == "event_id_conflict"
    assert client.delete("/user/own-cem").json()["deleted"]["interactions"] == 2


def test_others_are_refused_with_the_whole_list(server, shared_server):
    sent = events("own-dia", ("purchas", "barn"))[0]
    message = server.client.post("/interactions", json=sent).json()["error"]["message"]
    assert "'purchas' is not one of" in message
    for name in event_types(TYPES):
        assert name in message
    message = shared_server.client.post("/interactions", json=sent | {"type": "like"}).json()["error"]["message"]
    assert "'like' is not one of" in message
    assert "purchase" not in message
    kinds = server.client.get("/openapi.json").json()["components"]["schemas"]["InteractionRequest"]["properties"]
    assert kinds["type"]["enum"] == list(event_types(TYPES))


def test_a_type_that_is_no_longer_declared_stays_in_the_log_as_it_was(start_server):
    first = start_server(event_types="buy=share:9")
    first.client.put("/content/a", json={"text": "a barn"})
    first.client.put("/content/b", json={"text": "a yacht"})
    first.client.post("/interactions", json=events("u", ("buy", "a"), ("view", "b")))
    before = simple(first.client, "u")
    first.stop()
    second = start_server(first.data_dir, event_types="buy=share:2")
    np.testing.assert_array_equal(simple(second.client, "u"), before)
    second.client.post("/interactions", json=events("v", ("buy", "a"), ("view", "b")))
    np.testing.assert_allclose(simple(second.client, "v"), vector(second.client, ("a", 2), ("b", 1)), atol=1e-6)
    assert '"type":"buy"' in second.client.get("/events/export").text
