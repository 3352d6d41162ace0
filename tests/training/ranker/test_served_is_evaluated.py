"""A log is replayed through HTTP: the server then ranks as the evaluation does, untrained and trained."""

from dataclasses import replace

import numpy as np
import pytest

from runtime.models.bundle import Bundle
from runtime.models.installed import back, install
from runtime.models.ranker import load_ranker
from runtime.personalization.hybrid import FEW_EVENTS, MET, Ranker, few
from tests.small_world import ITEMS
from tests.training.ranker.replayed import USERS, rfc3339
from tests.waiting import until
from training.data.events import Histories
from training.data.split import periods
from training.errors import TrainingError
from training.evaluation.protocol import Scores
from training.ranker.actions import ActionModel
from training.ranker.bundle import write_bundle
from training.ranker.command import train_ranker
from training.ranker.recommender import Hybrid, Prior


def evaluated(recommender: Hybrid, log, at_us: int, users: list[int]) -> Scores:
    """What the evaluation gives these users at a time, from what they did before it."""
    starts, ends = log.starts[users], log.starts[np.array(users) + 1]
    times = log.events.time_us
    ends = np.array([a + np.searchsorted(times[a:b], at_us) for a, b in zip(starts, ends, strict=True)])
    histories = Histories(log.events, starts, ends, np.array(users, np.int32), log.events)
    device = np.array([log.events.device[b - 1] if b > a else 0 for a, b in zip(starts, ends, strict=True)], np.int8)
    return recommender.item_scores(histories, np.full(len(users), at_us), device)  # on the last one, as without any


def assert_nearly(served: list[dict], order: list[str], expected: dict[str, float], tolerance: float) -> None:
    ids = [one["id"] for one in served]
    if ids == order:
        return
    assert sorted(ids) == sorted(order)
    scores = np.array([expected[id] for id in ids])
    off = {one["id"]: (one["score"], expected[one["id"]]) for one in served}
    assert (np.diff(scores) <= tolerance).all(), f"served and evaluated scores: {off}"


def assert_same_order(
    server, log, recommender: Hybrid, at_us: int, users: list[int], tolerance: float = 1e-6, version: str | None = None
) -> None:
    """tolerance: of a score; items that are no further apart may change places. version: what has to rank."""
    at = rfc3339(at_us)
    for user, scores in zip(users, evaluated(recommender, log, at_us, users), strict=True):
        order = [log.catalogue.ids[row] for row in np.argsort(-scores, kind="stable")]
        expected = dict(zip(log.catalogue.ids, scores.tolist(), strict=True))
        path = f"/user/{log.users[user]}/recommendations"
        found = server.client.get(path, params={"top_k": ITEMS, "exclude": "", "at": at}).json()
        assert version in (None, found["model_version"]), server.log.read_text()
        assert_nearly(found["results"], order, expected, tolerance)
        body = {"user_id": log.users[user], "candidates": log.catalogue.ids, "at": at}
        ranking = server.client.post("/rank", json=body).json()
        assert version in (None, ranking["model_version"]), server.log.read_text()
        assert_nearly(ranking["ranked"], order, expected, tolerance)
        assert [one["score"] for one in ranking["scores"]] == pytest.approx(scores.tolist(), abs=tolerance)


def test_the_prior_ranks_200_users_over_http_as_in_the_evaluation(server, log):
    prior = Prior()
    prior.fit(log, log)
    after_us = int(log.events.time_us.max()) + 3_600_000_000
    assert_same_order(server, log, prior, after_us, list(range(USERS)))


def test_as_of_the_middle_of_the_log(server, log):
    prior = Prior()
    prior.fit(log, log)
    assert_same_order(server, log, prior, int(np.median(log.events.time_us)), list(range(0, USERS, 20)))


def test_a_trained_ranker_is_taken_over_ranks_as_evaluated_and_is_switched_back(server, log, tmp_path):
    found = train_ranker(log, tmp_path / "mine", "mine-1")
    assert found.startswith("mine-1: NDCG@10 ")
    loaded = load_ranker(Bundle.load(tmp_path / "mine", kind="ranker"))
    assert (loaded.log.events, loaded.log.users, loaded.log.items) == (len(log.events), USERS, ITEMS)
    assert install(server.models, tmp_path / "mine") == "ranker"
    wait_for(server, "mine-1")
    trained = Hybrid()
    trained.learn(log)
    trained.ranker = loaded.ranker
    after_us = int(log.events.time_us.max()) + 3_600_000_000
    assert_same_order(server, log, trained, after_us, list(range(0, USERS, 10)))
    back(server.models, "ranker")
    wait_for(server, "hybrid-prior-1")


def test_a_damaged_ranker_leaves_the_one_before_in_place(server, log, tmp_path):
    train_ranker(log, tmp_path / "broken", "broken")
    (tmp_path / "broken" / "ranker.json").write_text("{}")
    install(server.models, tmp_path / "broken")
    until(lambda: "hybrid-prior-1 still ranks" in server.log.read_text(), server.log.read_text)
    assert version(server) == "hybrid-prior-1"
    back(server.models, "ranker")


def test_a_log_that_is_too_small_is_refused(log, tmp_path):
    few = replace(log, events=log.events.take(slice(0, 500)))
    with pytest.raises(TrainingError, match="a ranker needs 2,000"):
        train_ranker(few, tmp_path / "few", "few")


@pytest.mark.parametrize("reach", [FEW_EVENTS, 16])
def test_users_with_few_events_are_ranked_as_evaluated(server, log, tmp_path, reach):
    """Each as of the time when they had so many; and somebody who is unknown, now."""
    weights = {"simple": 4.0, "count_day": 0.5, "own": 1.0, "follows": 3.0}
    more = {"count_day": 1.5, "count_year": 2.0, "simple": -1.0, f"{MET}count_year": -0.5}
    weights |= {f"{few(reach)}{name}": weight for name, weight in more.items()}
    trained, actions = Hybrid(), ActionModel()
    trained.learn(log)
    actions.fit(*periods(log, (0.9, 0.1)))
    write_bundle(tmp_path / "few", f"few-{reach}", log, weights, trained.table, actions, {})
    install(server.models, tmp_path / "few")
    wait_for(server, f"few-{reach}")
    trained.ranker = Ranker.of(f"few-{reach}", weights)
    whole = Hybrid()
    whole.dataset, whole.table = log, trained.table
    whole.ranker = replace(trained.ranker, more_if_few=None)
    for events in (0, 2, 5, 16):
        others = 0
        for user in range(0, USERS, 20):
            at_us = int(log.events.time_us[log.starts[user] + events])  # before that one
            assert_same_order(server, log, trained, at_us, [user], version=f"few-{reach}")
            others += (evaluated(trained, log, at_us, [user]) != evaluated(whole, log, at_us, [user])).any()
        # Ranked otherwise than somebody with a long history, as long as their own is short
        assert (others > 5) if events < reach else (others == 0)
    now_us = int(log.events.time_us.max()) + 3_600_000_000
    nobody = Histories(log.events, *np.zeros((2, 1), np.int64), np.zeros(1, np.int32), log.events)
    (scores,) = trained.item_scores(nobody, np.array([now_us]), np.zeros(1, np.int8))
    body = {"user_id": "nobody", "candidates": log.catalogue.ids, "at": rfc3339(now_us)}
    ranking = server.client.post("/rank?explain=true", json=body).json()
    assert [one["score"] for one in ranking["scores"]] == pytest.approx(scores.tolist(), abs=1e-6)
    best, parts = ranking["ranked"][0], ranking["explanations"][0]["features"]
    assert sum(parts.values()) == pytest.approx(best["score"], abs=1e-5)
    info = server.client.get("/info").json()["ranker"]["weights"]
    assert info == pytest.approx(weights)


def version(server) -> str:
    body = {"user_id": "user-1", "candidates": ["item-1"]}
    return server.client.post("/rank", json=body).json()["model_version"]


def wait_for(server, wanted: str) -> None:
    until(lambda: version(server) == wanted, server.log.read_text)
