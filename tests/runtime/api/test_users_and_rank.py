"""Cold start, being forgotten, ranking."""

import numpy as np
import pytest

CATALOGUE = {
    "rank-barn": "a rustic barn with hay bales and string lights",
    "rank-farm": "a country farmhouse wedding with wildflowers",
    "rank-ballroom": "a black-tie hotel ballroom with crystal chandeliers",
    "rank-yacht": "a luxury yacht reception at sea",
}


@pytest.fixture(scope="module")
def shared_server_with_catalogue(start_server):
    """A server of its own: popularity counts everything it holds."""
    server = start_server()
    server.client.post("/content/batch", json=[{"id": id, "text": text} for id, text in CATALOGUE.items()])
    return server


def vector(server, id):
    return np.array(server.client.get(f"/content/{id}").json()["embedding"])


def rank(server, **body):
    answer = server.client.post("/rank", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_cold_start_goes_from_popular_to_preferences_to_history(shared_server_with_catalogue):
    client = shared_server_with_catalogue.client
    state = client.get("/user/new/embedding").json()
    mean = np.mean([vector(shared_server_with_catalogue, id) for id in CATALOGUE], axis=0)
    assert (state["source"], state["interaction_count"], state["last_updated"]) == ("popular", 0, None)
    np.testing.assert_allclose(state["embedding"], mean / np.linalg.norm(mean), atol=1e-6)

    stored = client.put("/user/new/preferences", json={"preferences": ["black tie", " grand ballroom "]}).json()
    assert (stored["tokens"], stored["truncated"]) == (7, False)  # [CLS] black tie , grand ballroom [SEP]
    state = client.get("/user/new/embedding").json()
    assert state["source"] == "preferences"
    text = client.post("/embed", json={"text": "black tie, grand ballroom"}).json()
    np.testing.assert_allclose(state["embedding"], text["embedding"], atol=1e-7)
    assert (
        rank(shared_server_with_catalogue, user_id="new", candidates=list(CATALOGUE))["ranked"][0]["id"]
        == "rank-ballroom"
    )

    client.post("/interactions", json={"user_id": "new", "content_id": "rank-yacht", "type": "skip"})
    assert client.get("/user/new/embedding").json()["source"] == "preferences"  # a skip moves nothing
    client.post("/interactions", json={"user_id": "new", "content_id": "rank-barn", "type": "view"})
    assert client.get("/user/new/embedding").json()["source"] == "history"


def test_popular_content_is_what_was_acted_on_and_before_that_everything(start_server):
    server = start_server()
    server.client.post("/content/batch", json=[{"id": f"p{n}", "text": f"venue number {n}"} for n in range(30)])
    everything = np.mean([vector(server, f"p{n}") for n in range(30)], axis=0)
    state = server.client.get("/user/x/embedding").json()
    np.testing.assert_allclose(state["embedding"], everything / np.linalg.norm(everything), atol=1e-6)
    server.client.post("/interactions", json={"user_id": "y", "content_id": "p7", "type": "view"})
    state = server.client.get("/user/x/embedding").json()
    np.testing.assert_allclose(state["embedding"], vector(server, "p7"), atol=1e-6)


def test_without_content_there_is_nothing_to_start_from(start_server):
    empty = start_server()
    answer = empty.client.get("/user/x/embedding")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_content")


def test_rank_scores_are_cosines_in_candidate_order(shared_server_with_catalogue):
    shared_server_with_catalogue.client.post(
        "/interactions", json={"user_id": "rik", "content_id": "rank-barn", "type": "save"}
    )
    own = [3.0] + [0.0] * 383
    candidates = ["rank-yacht", "nowhere", {"id": "mine", "embedding": own}, "rank-barn", "rank-farm", "rank-yacht"]
    answer = rank(shared_server_with_catalogue, user_id="rik", model="simple", candidates=candidates)
    user = np.array(shared_server_with_catalogue.client.get("/user/rik/embedding").json()["embedding"])
    assert [one["id"] for one in answer["scores"]] == [
        "rank-yacht", "nowhere", "mine", "rank-barn", "rank-farm", "rank-yacht",
    ]  # fmt: skip
    expected = [
        user @ vector(shared_server_with_catalogue, "rank-yacht"),
        None,
        user[0],
        1.0,
        user @ vector(shared_server_with_catalogue, "rank-farm"),
    ]
    for one, score in zip(answer["scores"], expected, strict=False):
        assert (one["score"] is None) if score is None else abs(one["score"] - score) < 1e-6
    assert (answer["unknown"], answer["source"], answer["model_version"]) == (["nowhere"], "history", "simple-v1")
    assert [one["id"] for one in answer["ranked"]][:2] == ["rank-barn", "rank-farm"]
    assert len(answer["ranked"]) == 5
    scores = [one["score"] for one in answer["ranked"]]
    assert scores == sorted(scores, reverse=True)
    assert (
        rank(shared_server_with_catalogue, user_id="rik", model="simple", candidates=candidates, top_k=2)["ranked"]
        == answer["ranked"][:2]
    )


def test_rank_by_a_vector(shared_server_with_catalogue):
    query = shared_server_with_catalogue.client.post("/embed", json={"text": "boat on the ocean"}).json()["embedding"]
    answer = rank(shared_server_with_catalogue, embedding=query, candidates=list(CATALOGUE), top_k=1)
    assert (answer["source"], answer["ranked"][0]["id"]) == ("embedding", "rank-yacht")
    scaled = rank(shared_server_with_catalogue, embedding=[1e3 * x for x in query], candidates=list(CATALOGUE), top_k=1)
    assert abs(scaled["ranked"][0]["score"] - answer["ranked"][0]["score"]) < 1e-6


def test_only_unknown_candidates(shared_server_with_catalogue):
    answer = rank(shared_server_with_catalogue, user_id="rik", candidates=["nowhere"])
    assert (answer["ranked"], answer["unknown"]) == ([], ["nowhere"])


def test_a_user_is_forgotten(shared_server_with_catalogue):
    client = shared_server_with_catalogue.client
    client.put("/user/gone/preferences", json={"preferences": ["yachts"]})
    for n, id in enumerate(CATALOGUE):
        one = {"user_id": "gone", "content_id": id, "type": "share", "event_id": f"gone-event-{n}"}
        client.post("/interactions", json=one)
    receipt = client.delete("/user/gone").json()
    assert (receipt["deleted"]["interactions"], receipt["deleted"]["preferences"]) == (4, 1)
    state = client.get("/user/gone/embedding").json()
    assert (state["source"], state["interaction_count"]) == ("popular", 0)
    assert set(client.delete("/user/gone").json()["deleted"].values()) == {0}
    again = {"user_id": "gone", "content_id": "rank-barn", "type": "share", "event_id": "gone-event-0"}
    late = client.post("/interactions", json=again)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "event_deleted")
    assert client.get("/user/gone/embedding").json()["source"] == "popular"
    of_another = again | {"user_id": "other"}
    assert client.post("/interactions", json=of_another).json()["stored"] == 1
