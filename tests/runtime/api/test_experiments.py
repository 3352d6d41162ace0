"""Experiments over HTTP, with the real models: what a site does, and what happens by itself."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import WAIT_S

ITEMS = [f"item-{n}" for n in range(12)]
TWO_ARMS = [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]
QUIET = {"p95_ms": None, "error_rate": None, "cold_start_ratio": None}  # the test's machine may be busy


@pytest.fixture(scope="module")
def server(start_server):
    server = start_server()
    items = [{"id": id, "text": f"a venue with {n} rooms"} for n, id in enumerate(ITEMS)]
    assert server.client.post("/content/batch", json=items).status_code == 200
    return server


@pytest.fixture
def client(server):
    """A client of a server on which nothing runs and nothing is promoted."""
    yield server.client
    for found in server.client.get("/experiments").json()["experiments"]:
        if found["state"] == "running":
            assert server.client.post(f"/experiments/{found['name']}/stop").status_code == 200
        if found["state"] == "promoted":
            assert server.client.post(f"/experiments/{found['name']}/rollback").status_code == 200


def define(client, name, **more):
    body = {"arms": TWO_ARMS, "window_s": 60, "guardrails": QUIET, **more}
    response = client.put(f"/experiments/{name}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def rank(client, user, **more):
    response = client.post("/rank", json={"user_id": user, "candidates": ITEMS, "top_k": 3, **more})
    assert response.status_code == 200, response.text
    return response.json()


def visit(client, users, rates):
    """Each user is shown a ranking and, at the rate of their arm, saves its first item."""

    def one(numbered):
        n, user = numbered
        shown = rank(client, user)
        if "arm" in shown and (n * 0.618034) % 1 < rates[shown["arm"]]:
            event = {"user_id": user, "content_id": shown["ranked"][0]["id"], "type": "save"}
            assert client.post("/interactions", json=event | {"ranking_id": shown["ranking_id"]}).status_code == 200
        return shown.get("arm")

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, enumerate(users)))


def until(client, name, wanted):
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = client.get(f"/experiments/{name}").json()
        if wanted(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"not so within {WAIT_S} s: {found}")


def closed(found):
    return sum(arm["closed"] for arm in found["arms"])


def test_a_ranking_within_an_experiment_says_so_and_is_exported(client):
    define(client, "export")
    shown = rank(client, "ada")
    assert shown["experiment"] == "export"
    assert shown["arm"] in ("control", "treatment")
    recommended = client.get("/user/ada/recommendations", params={"top_k": 2}).json()
    assert recommended["arm"] == shown["arm"]
    first = shown["ranked"][0]["id"]
    event = {"user_id": "ada", "content_id": first, "type": "save", "event_id": "answers-the-ranking"}
    client.post("/interactions", json=event | {"ranking_id": shown["ranking_id"]})
    lines = client.get("/events/export", params={"exposures_after": 0}).text.splitlines()
    exported = {line["ranking_id"]: line for line in map(json.loads, lines) if line["kind"] == "exposure"}
    assert [item["id"] for item in exported[shown["ranking_id"]]["items"]] == [one["id"] for one in shown["ranked"]]
    assert exported[shown["ranking_id"]]["arm"] == shown["arm"]
    assert len(exported[recommended["ranking_id"]]["items"]) == 2
    (answer,) = [line for line in map(json.loads, lines) if line.get("event_id") == "answers-the-ranking"]
    assert (answer["kind"], answer["ranking_id"]) == ("interaction", shown["ranking_id"])


def test_without_an_experiment_nothing_is_recorded(client):
    shown = rank(client, "nobody-yet")
    assert "ranking_id" not in shown
    assert rank(client, "nobody-yet", model="simple")["model_version"] == "simple-v1"
    define(client, "asked-for")
    assert "ranking_id" not in rank(client, "nobody-yet", model="simple")  # a model that was named is no experiment


def test_arms_rank_with_their_models(client):
    define(client, "models")
    versions = {}
    for n in range(30):
        shown = rank(client, f"visitor-{n}")
        versions.setdefault(shown["arm"], set()).add(shown["model_version"])
    assert versions["control"] == {"simple-v1"}
    assert len(versions["treatment"]) == 1
    assert versions["treatment"] != versions["control"]


def test_a_better_arm_is_promoted_by_itself_and_rolled_back_at_once(client):
    define(client, "better", window_s=1.0, min_lift=0.1)
    arms = visit(client, [f"better-{n}" for n in range(400)], {"control": 0.15, "treatment": 0.6})
    assert {"control", "treatment"} <= set(arms)  # the last users may come after the promotion
    found = until(client, "better", lambda found: found["state"] == "promoted")
    assert found["promoted_arm"] == "treatment"
    assert "lift is at least" in found["reason"]
    assert found["series"]
    shown = rank(client, "a-new-user")
    assert "arm" not in shown
    assert shown["model_version"] != "simple-v1"
    assert client.get("/experiments").json()["model"] == "hybrid"
    assert client.post("/experiments/better/rollback").json()["state"] == "rolled_back"
    assert client.get("/experiments").json()["model"] is None
    assert client.post("/experiments/better/rollback").status_code == 409


def test_a_harmful_arm_is_stopped_by_itself(client):
    define(client, "harmful", window_s=1.0)
    visit(client, [f"harmful-{n}" for n in range(400)], {"control": 0.6, "treatment": 0.15})
    found = until(client, "harmful", lambda found: found["state"] == "stopped")
    assert "harm" in found["reason"]
    assert client.get("/experiments").json()["model"] is None
    assert "arm" not in rank(client, "another-new-user")


def test_without_an_effect_nothing_is_decided(client):
    define(client, "null", window_s=1.0)
    users = [f"null-{n}" for n in range(400)]
    visit(client, users, {"control": 0.4, "treatment": 0.4})
    found = until(client, "null", lambda found: closed(found) == 400)
    time.sleep(1.5)  # a decision is made within a second
    found = client.get("/experiments/null").json()
    assert (found["state"], found["decision"]) == ("running", "continue")
    assert not found["sample_ratio"]["mismatch"]
    low, high = found["arms"][1]["lift_interval"]
    assert low < 0 < high
    assert sum(arm["engaged"] for arm in found["arms"]) > 100


def test_by_hand_an_experiment_only_says_what_it_would_decide(client):
    define(client, "by-hand", window_s=1.0, promote="manual")
    visit(client, [f"by-hand-{n}" for n in range(400)], {"control": 0.1, "treatment": 0.6})
    until(client, "by-hand", lambda found: found["decision"] == "promote")
    time.sleep(1.5)
    assert client.get("/experiments/by-hand").json()["state"] == "running"
    promoted = client.post("/experiments/by-hand/promote", params={"arm": "control"}).json()
    assert (promoted["state"], promoted["promoted_arm"]) == ("promoted", "control")
    assert rank(client, "yet-another")["model_version"] == "simple-v1"


def test_a_change_of_arms_begins_a_new_period_and_of_coverage_does_not(client):
    assert define(client, "periods", coverage=0.5)["period"] == 1
    visit(client, [f"periods-{n}" for n in range(40)], {"control": 0, "treatment": 0})
    grown = define(client, "periods", coverage=1.0)
    assert grown["period"] == 1
    assert 5 < sum(arm["users"] for arm in grown["arms"]) < 35
    changed = define(client, "periods", arms=[TWO_ARMS[0], TWO_ARMS[1] | {"weight": 3}])
    assert changed["period"] == 2
    assert sum(arm["users"] for arm in changed["arms"]) == 0


def test_experiments_that_could_share_users_do_not_run_together(client):
    half = {"name": "page", "start": 0.0, "end": 0.5}
    define(client, "first", namespace=half)
    body = {"arms": TWO_ARMS, "guardrails": QUIET}
    response = client.put("/experiments/second", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "experiment_conflict")
    define(client, "second", namespace=half | {"start": 0.5, "end": 1.0})
    found = {rank(client, f"page-{n}").get("experiment") for n in range(40)}
    assert found == {"first", "second"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"arms": TWO_ARMS[:1]}, "$.arms"),
        ({"arms": [TWO_ARMS[0], TWO_ARMS[0]]}, "$.arms[1].name"),
        ({"arms": [*TWO_ARMS, {"name": "x", "model": "best"}]}, "$.arms[2].model"),
        ({"coverage": 1.5}, "$.coverage"),
        ({"namespace": {"name": "a", "start": 0.5, "end": 0.5}}, "$.namespace"),
        ({"alpha": 0}, "$.alpha"),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused(client, change, field):
    response = client.put("/experiments/wrong", json={"arms": TWO_ARMS, **change})
    assert response.status_code == 422
    assert response.json()["error"]["field"] == field


def test_an_arm_of_a_model_that_is_not_installed_is_refused(start_server, bundle_path, tmp_path):
    (tmp_path / "minilm").symlink_to(bundle_path)
    server = start_server(models_dir=tmp_path)
    body = {"arms": [TWO_ARMS[0], {"name": "treatment", "model": "sequence"}]}
    response = server.client.put("/experiments/sequence", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "no_sequence_model")


def test_what_is_not_there_is_404(client):
    for method, path in [("GET", ""), ("POST", "/stop"), ("POST", "/promote"), ("POST", "/rollback")]:
        response = client.request(method, f"/experiments/nothing{path}")
        assert response.status_code == 404


def test_exploration_is_seeded_and_its_propensities_are_exact(client):
    explore = {"method": "plackett_luce", "temperature": 0.05, "top": 6, "seed": 3}
    define(client, "explored", explore=explore)
    orders = set()
    for n in range(20):
        shown = rank(client, f"explored-{n % 4}")
        orders.add(tuple(one["id"] for one in shown["ranked"]))
        assert len(shown["ranked"]) == 3
    assert len(orders) > 5
    lines = client.get("/events/export", params={"exposures_after": 0}).text.splitlines()
    items = [line["items"] for line in map(json.loads, lines) if line.get("experiment") == "explored"]
    assert len(items) == 20
    assert all(0 < item["propensity"] <= 1 for one in items for item in one)
    assert any(item["propensity"] < 0.9 for one in items for item in one)


def test_weights_follow_the_outcomes_and_a_user_keeps_the_arm_they_were_shown(client):
    allocation = {"method": "thompson", "batch": 100}
    define(client, "sampled", window_s=0.5, allocation=allocation, promote="manual")
    users = [f"sampled-{n}" for n in range(120)]
    arms = visit(client, users, {"control": 0.1, "treatment": 0.9})
    found = until(client, "sampled", lambda found: found["arms"][1]["share"] > 0.95)
    assert found["arms"][0]["share"] == pytest.approx(0.01, abs=0.03)
    later = visit(client, [f"sampled-later-{n}" for n in range(100)], {"control": 0.1, "treatment": 0.9})
    assert later.count("treatment") > 85
    assert [rank(client, user)["arm"] for user in users] == arms
    lines = client.get("/events/export", params={"exposures_after": 0}).text.splitlines()
    shown = [line for line in map(json.loads, lines) if line.get("experiment") == "sampled"]
    assert {line["arm"] for line in shown} == {"control", "treatment"}
    by_batch = {line.get("batch", 0): set() for line in shown}
    for line in shown:
        by_batch[line.get("batch", 0)].add((line["arm"], round(line["arm_propensity"], 6)))
    assert by_batch[0] == {("control", 0.5), ("treatment", 0.5)}
    assert dict(by_batch[1])["treatment"] > 0.95
    again = until(client, "sampled", lambda found: closed(found) == 220)
    assert sum(arm["users"] for arm in again["arms"]) == 220
    assert not again["sample_ratio"]["mismatch"]
    assert again["decision"] == "promote"
    low, high = again["arms"][1]["lift_interval"]
    assert 0 < low < 8 < high
    assert "difference" not in again["arms"][1]


def test_weights_that_follow_outcomes_are_refused_where_no_interval_would_hold(client):
    body = {"arms": TWO_ARMS, "metric": "weighted", "allocation": {"method": "thompson"}}
    response = client.put("/experiments/wrong", json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (422, "$.allocation.method")
