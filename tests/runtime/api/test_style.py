"""Taste over time."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

ITEMS = {
    **{f"barn-{n}": (f"a rustic barn number {n} with hay", ["rustic"], "Oak Farm") for n in range(60)},
    **{f"yacht-{n}": (f"a luxury yacht number {n} at sea", ["luxury", "sea"], "Blue Sails") for n in range(60)},
    "disco": ("a neon disco with strobe lights", ["neon"], "Club 9"),
}


@pytest.fixture(scope="module")
def shared_client(start_server):
    client = start_server().client
    items = [
        {"id": id, "text": text, "tags": tags, "vendor_name": vendor} for id, (text, tags, vendor) in ITEMS.items()
    ]
    assert client.post("/content/batch", json=items).json()["stored"] == len(ITEMS)
    return client


def act(client, user, *events):
    now = datetime.now(UTC)
    body = [
        {"user_id": user, "content_id": content, "type": type, "timestamp": (now - timedelta(days=days)).isoformat()}
        for content, type, days in events
    ]
    assert client.post("/interactions", json=body).json()["stored"] == len(events)


def style(client, user, **query):
    answer = client.get(f"/user/{user}/style", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(found):
    return [one["name"] for one in found]


def test_a_taste_that_moved(shared_client):
    act(
        shared_client,
        "mira",
        *((f"barn-{n}", "save", 50) for n in range(4)),
        *((f"yacht-{n}", "share", 1) for n in range(9)),
    )
    found = style(shared_client, "mira", weeks=10)
    assert names(found["then"]["tags"])[0] == "rustic"
    assert names(found["then"]["vendors"])[0] == "Oak Farm"
    assert names(found["now"]["tags"])[:2] == ["luxury", "sea"]
    assert names(found["now"]["vendors"])[0] == "Blue Sails"
    assert found["now"]["tags"][0]["items"] > 40
    assert 0.8 < found["now"]["tags"][0]["share"] <= 1
    assert found["drift"] < 0.9
    assert [week["interactions"] for week in found["weeks"]] == [0, 0, 4, 0, 0, 0, 0, 0, 0, 9]
    assert [week["to_now"] is None for week in found["weeks"]] == [True, True, *[False] * 8]
    assert found["weeks"][2]["to_now"] == pytest.approx(found["drift"])
    assert found["weeks"][-1]["to_now"] == pytest.approx(1)
    assert found["weeks"][4]["to_previous"] == pytest.approx(1, abs=1e-6)
    assert found["weeks"][-1]["to_previous"] == pytest.approx(found["drift"], abs=1e-6)
    ends = [datetime.fromisoformat(week["ends_at"]) for week in found["weeks"]]
    assert {later - sooner for sooner, later in itertools.pairwise(ends)} == {timedelta(days=7)}
    assert found["then"]["at"] == found["weeks"][2]["ends_at"]
    assert "dislikes" not in found


def test_now_is_the_vector_that_the_user_has(shared_client):
    act(shared_client, "nora", ("barn-1", "view", 30), ("yacht-1", "save", 3))
    now = shared_client.get("/user/nora/embedding").json()["embedding"]
    scores = shared_client.post("/rank", json={"embedding": now, "candidates": list(ITEMS)}).json()["ranked"][:50]
    expected = [one["id"].partition("-")[0] for one in scores]
    (tag,) = [tag for tag in style(shared_client, "nora")["now"]["tags"] if tag["name"] == "luxury"]
    assert tag["items"] == expected.count("yacht")


def test_skips_are_shown_as_dislikes_and_move_nothing(shared_client):
    act(
        shared_client, "skye", ("barn-1", "save", 2), ("disco", "skip", 1), ("disco", "skip", 1), ("yacht-2", "skip", 1)
    )
    found = style(shared_client, "skye", dislikes="true", top_k=2)
    assert found["dislikes"]["skips"] == 3
    assert set(names(found["dislikes"]["tags"])) <= {"neon", "luxury", "sea"}
    assert set(names(found["dislikes"]["vendors"])) == {"Club 9", "Blue Sails"}
    assert len(found["now"]["tags"]) <= 2
    act(shared_client, "slim", ("barn-1", "save", 2))
    assert style(shared_client, "slim")["now"]["tags"] == style(shared_client, "skye")["now"]["tags"]


def test_without_a_history_there_is_no_taste_yet(shared_client):
    found = style(shared_client, "nobody", weeks=2)
    assert (found["drift"], found["then"], found["now"]) == (None, None, None)
    assert [week["interactions"] for week in found["weeks"]] == [0, 0]


def test_a_long_history(shared_client):
    act(shared_client, "lena", *((f"barn-{n % 60}", "view", n / 10) for n in range(700)))
    found = style(shared_client, "lena", weeks=52)
    assert sum(week["interactions"] for week in found["weeks"]) == 700


@pytest.mark.parametrize("query", ["weeks=1", "weeks=105", "top_k=0", "dislikes=often", "week=3"])
def test_bad_queries(shared_client, query):
    assert shared_client.get(f"/user/mira/style?{query}").status_code == 422
