"""Search by words, items like an item, recommendations."""

import numpy as np
import pytest

ITEMS = [
    ("barn", "A rustic barn with hay bales and string lights", ["rustic", "barn"], "Oak Farm", "venue"),
    ("farm", "A country farmhouse with wildflower meadows", ["rustic", "outdoor"], "Oak Farm", "venue"),
    ("ballroom", "A black-tie hotel ballroom with crystal chandeliers", ["luxury"], "Ritz", "venue"),
    ("yacht", "A luxury yacht reception at sea", ["luxury", "outdoor"], "Blue Sails", "venue"),
    ("lace", "A vintage lace wedding dress with long sleeves", ["vintage"], "Atelier Ana", "dress"),
    ("satin", "A minimal satin wedding gown", ["modern"], "Atelier Ana", "dress"),
    ("peonies", "Loose garden bouquets of peonies and wildflowers", ["rustic", "garden"], "Petal & Co", "florist"),
    ("roses", "Formal white rose centrepieces", ["luxury"], "Petal & Co", "florist"),
]


@pytest.fixture(scope="module", params=["float32", "int8", "disk"])
def shared_server_with_labels(start_server, request):
    """A server of its own: whole-catalogue answers see everything it holds. So few are all scored exactly, however they
    are held."""
    server = start_server(catalog_vectors=request.param)
    items = [
        {"id": id, "description": text, "tags": tags, "vendor_name": vendor, "category": category}
        for id, text, tags, vendor, category in ITEMS
    ]
    assert server.client.post("/content/batch", json=items).json()["stored"] == len(ITEMS)
    return server


def ids(answer):
    return [one["id"] for one in answer["results"]]


def search(server, **body):
    answer = server.client.post("/search", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(server, path, **query):
    answer = server.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def act(server, user, *events):
    for content, type in events:
        event = {"user_id": user, "content_id": content, "type": type}
        assert server.client.post("/interactions", json=event).json()["stored"] == 1


def ranked(server, **body):
    """By the cosine with the query's vector."""
    body = {"model": "simple", **body, "candidates": [item[0] for item in ITEMS]}
    answer = server.client.post("/rank", json=body).json()
    return [one["id"] for one in answer["ranked"]], {one["id"]: one["score"] for one in answer["scores"]}


def test_search_is_the_ranking_of_everything_by_the_text(shared_server_with_labels):
    text = "dance under a chandelier"
    answer = search(shared_server_with_labels, text=text, top_k=100)
    vector = shared_server_with_labels.client.post("/embed", json={"text": text}).json()
    order, scores = ranked(shared_server_with_labels, embedding=vector["embedding"])
    assert ids(answer) == order
    for one in answer["results"]:
        assert one["score"] == pytest.approx(scores[one["id"]], abs=1e-6)
    assert (answer["matched"], answer["tokens"], answer["truncated"]) == (len(ITEMS), vector["tokens"], False)
    assert answer["model_version"] == "sentence-bert-v1"
    assert ids(search(shared_server_with_labels, text=text, top_k=2)) == order[:2]
    assert len(ids(search(shared_server_with_labels, text=text))) == len(ITEMS)  # ten by default


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"tags": ["rustic"]}, {"barn", "farm", "peonies"}),
        ({"tags": ["rustic", "outdoor"]}, {"farm"}),
        ({"vendor": "Oak Farm"}, {"barn", "farm"}),
        ({"vendor": "oak  FARM "}, {"barn", "farm"}),
        ({"category": "dress"}, {"lace", "satin"}),
        ({"category": "venue", "tags": ["luxury"], "vendor": "Ritz"}, {"ballroom"}),
        ({"tags": ["oak farm"]}, set()),  # a vendor is no tag
        ({"category": "rust"}, set()),  # in full, not the start of it
        ({"vendor": " "}, {item[0] for item in ITEMS}),
    ],
)
def test_filters(shared_server_with_labels, filters, passes):
    answer = search(shared_server_with_labels, text="anything", filters=filters)
    assert (set(ids(answer)), answer["matched"]) == (passes, len(passes))
    query = {"tag" if name == "tags" else name: value for name, value in filters.items()}
    similar = ask(shared_server_with_labels, "/content/barn/similar", **query)
    assert set(ids(similar)) == passes - {"barn"}
    recommended = ask(shared_server_with_labels, "/user/newcomer/recommendations", **query)
    assert set(ids(recommended)) == passes


def test_similar_items_are_ranked_by_the_items_own_vector_and_leave_it_out(shared_server_with_labels):
    answer = ask(shared_server_with_labels, "/content/barn/similar", top_k=3)
    own = shared_server_with_labels.client.get("/content/barn").json()["embedding"]
    order, _ = ranked(shared_server_with_labels, embedding=own)
    assert order[0] == "barn"
    assert ids(answer) == order[1:4]
    assert answer["matched"] == len(ITEMS) - 1
    missing = shared_server_with_labels.client.get("/content/nowhere/similar")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_content")


def test_recommendations_leave_out_what_was_seen(shared_server_with_labels):
    act(shared_server_with_labels, "ada", ("barn", "save"), ("yacht", "skip"), ("barn", "view"))
    order, _ = ranked(shared_server_with_labels, user_id="ada")
    answer = ask(shared_server_with_labels, "/user/ada/recommendations", top_k=100, model="simple")
    assert ids(answer) == [id for id in order if id not in ("barn", "yacht")]
    assert (answer["source"], answer["model_version"], answer["matched"]) == ("history", "simple-v1", len(ITEMS) - 2)
    everything = ask(shared_server_with_labels, "/user/ada/recommendations", top_k=100, exclude="", model="simple")
    assert ids(everything) == order


def test_a_long_history_is_read_in_steps_and_excluded_whole(shared_server_with_labels):
    for round in range(3):
        events = [
            {"user_id": "eve", "content_id": "barn" if n else ITEMS[2 + round][0], "type": "view"} for n in range(300)
        ]
        assert shared_server_with_labels.client.post("/interactions", json=events).json()["stored"] == 300
    seen = {"barn", "ballroom", "yacht", "lace"}
    assert (
        set(ids(ask(shared_server_with_labels, "/user/eve/recommendations", top_k=100, exclude_seen="true")))
        == {item[0] for item in ITEMS} - seen
    )


def test_diversity_is_maximal_marginal_relevance(shared_server_with_labels):
    act(shared_server_with_labels, "mia", ("barn", "save"), ("farm", "view"))
    vectors = {
        item[0]: np.array(shared_server_with_labels.client.get(f"/content/{item[0]}").json()["embedding"])
        for item in ITEMS
    }
    user = np.array(shared_server_with_labels.client.get("/user/mia/embedding").json()["embedding"])
    chosen = []
    while len(chosen) < 4:

        def gain(id):
            alike = max((vectors[id] @ vectors[other] for other in chosen), default=0.0)
            return 0.3 * (user @ vectors[id]) - 0.7 * alike if chosen else user @ vectors[id]

        chosen.append(max((item[0] for item in ITEMS if item[0] not in chosen), key=gain))
    answer = ask(
        shared_server_with_labels, "/user/mia/recommendations", top_k=4, exclude="", diversity=0.7, model="simple"
    )
    assert ids(answer) == chosen
    assert chosen != ranked(shared_server_with_labels, user_id="mia")[0][:4]


def test_new_users_get_what_is_popular_or_what_they_prefer(shared_server_with_labels):
    shared_server_with_labels.client.put("/user/nia/preferences", json={"preferences": ["a boat on the ocean"]})
    answer = ask(shared_server_with_labels, "/user/nia/recommendations", top_k=1, model="simple")
    assert (answer["source"], ids(answer)) == ("preferences", ["yacht"])
    assert ask(shared_server_with_labels, "/user/somebody-new/recommendations")["source"] == "popular"


def test_replaced_and_deleted_content_is_in_no_answer_at_once(shared_server_with_labels):
    client = shared_server_with_labels.client
    act(shared_server_with_labels, "zoe", ("lace", "save"))
    client.put("/content/teepee", json={"text": "a teepee in the woods", "tags": ["camping"], "category": "venue"})
    assert ids(search(shared_server_with_labels, text="teepee tent", top_k=1)) == ["teepee"]
    assert ids(search(shared_server_with_labels, text="tent", filters={"tags": ["camping"]})) == ["teepee"]
    client.put("/content/teepee", json={"text": "a marble spa", "tags": ["wellness"]})
    assert ids(search(shared_server_with_labels, text="tent", filters={"tags": ["camping"]})) == []
    assert (
        ids(search(shared_server_with_labels, text="tent", filters={"category": "venue", "tags": ["wellness"]})) == []
    )
    assert ids(search(shared_server_with_labels, text="spa", filters={"tags": ["wellness"]})) == ["teepee"]
    act(shared_server_with_labels, "zoe", ("teepee", "share"))
    assert client.delete("/content/teepee").status_code == 204
    assert "teepee" not in ids(search(shared_server_with_labels, text="marble spa", top_k=100))
    assert "teepee" not in ids(ask(shared_server_with_labels, "/content/barn/similar", top_k=100))
    assert "teepee" not in ids(
        ask(shared_server_with_labels, "/user/zoe/recommendations", top_k=100, exclude_seen="false")
    )
    assert client.get("/content/teepee/similar").status_code == 404
    ranking = client.post("/rank", json={"user_id": "zoe", "candidates": ["teepee", "barn"]}).json()
    assert ranking["unknown"] == ["teepee"]
    assert client.get("/user/zoe/embedding").json()["source"] == "history"  # the lace alone is left of it
    scores = ranked(shared_server_with_labels, user_id="zoe")[1]
    assert scores["lace"] == pytest.approx(1, abs=1e-6)


def test_a_restart_finds_the_same(start_server):
    server = start_server()
    for id, text, tags, vendor, category in ITEMS:
        fields = {"text": text, "tags": tags, "vendor_name": vendor, "category": category}
        server.client.put(f"/content/{id}", json=fields)
    before = search(server, text="wildflowers", filters={"tags": ["rustic"]})
    assert len(before["results"]) == 3
    assert server.stop() == 0
    again = start_server(data_dir=server.data_dir)
    assert search(again, text="wildflowers", filters={"tags": ["rustic"]}) == before


def test_an_id_that_looks_like_a_path(shared_server_with_labels):
    """The slash before "similar" counts when it is sent as a slash."""
    client = shared_server_with_labels.client
    client.put("/content/a%2Fsimilar", json={"text": "a tricky name"})
    assert client.get("/content/a%2Fsimilar").json()["id"] == "a/similar"
    assert client.get("/content/a/similar").status_code == 404  # items like "a", which is not there
    assert client.get("/content/a%2Fsimilar/similar").status_code == 200
    assert client.delete("/content/a%2Fsimilar").status_code == 204


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/user/x/recommendations", {"top_k": "0"}, "top_k"),
        ("/user/x/recommendations", {"top_k": "101"}, "top_k"),
        ("/user/x/recommendations", {"top_k": "many"}, "top_k"),
        ("/user/x/recommendations", {"diversity": "1.5"}, "diversity"),
        ("/user/x/recommendations", {"diversity": "nan"}, "diversity"),
        ("/user/x/recommendations", {"exclude_seen": "perhaps"}, "exclude_seen"),
        ("/user/x/recommendations", {"tag": [str(n) for n in range(17)]}, "tag"),
        ("/user/x/recommendations", {"top_k": ["3", "4"]}, "top_k"),
        ("/user/x/recommendations", {"vender": "a"}, ""),
        ("/content/barn/similar", {"diversity": "0.5"}, ""),
        ("/content/barn/similar", {"tag": ""}, "tag[0]"),
    ],
)
def test_bad_queries_are_named(shared_server_with_labels, path, query, field):
    answer = shared_server_with_labels.client.get(path, params=query)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["error"].get("field") or "").strip("$") == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": " "}, "$.text"),
        ({"text": "a", "top_k": 101}, "$.top_k"),
        ({"text": "a", "filters": {"tag": "x"}}, "$.filters"),
        ({"text": "a", "filters": {"tags": "x"}}, "$.filters.tags"),
        ({"filters": {}}, "$"),
    ],
)
def test_bad_searches_are_named(shared_server_with_labels, body, field):
    answer = shared_server_with_labels.client.post("/search", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_a_query_that_is_not_utf8(shared_server_with_labels):
    assert shared_server_with_labels.client.get("/content/barn/similar?vendor=%FF").status_code == 400
