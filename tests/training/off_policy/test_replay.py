"""Logged rankings replayed: against simulated worlds where the truth is known, and against what the server ranks."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from training.__main__ import main
from training.data.event_log import read_event_log
from training.data.exposures import Exposure, Exposures
from training.data.files import read_files
from training.errors import TrainingError
from training.off_policy.estimators import position_weights
from training.off_policy.rankings import beside_target, drawn_rankings, entry_rewards
from training.off_policy.replay import as_text, estimates, replay
from training.off_policy.simulated import slates
from training.off_policy.targets import target
from training.simulator.parameters import Parameters

WINDOW_US = 10**12
LOGS, RANKINGS = 60, 600


def embed(texts):
    """Vectors that follow the texts' words, without a model."""
    vectors = np.zeros((len(texts), 384), np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().split():
            vectors[row, sum(word.encode()) % 384] += 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@pytest.fixture(scope="module")
def world():
    parameters = replace(Parameters(), users=120, items=96, order_strength=0.0)
    return slates(parameters, 3, pool=5, positions=2, temperature=0.15, embed=embed)


@pytest.fixture(scope="module")
def other(world):
    """Order and scores of the hybrid ranker, and what it really gets."""
    order, scores = world.order(target("hybrid"))
    return order, scores, world.truth(order)


def test_intervals_cover_the_truth_of_a_simulated_world_at_their_rate(world, other):
    order, scores, truth = other
    covered, values = {}, {}
    for number in range(LOGS):
        logged = world.rankings(order, scores, RANKINGS, np.random.default_rng([1, number]))
        weights = position_weights(logged.target, logged.logged)
        for row in estimates(logged, weights, alpha=0.1, seed=number, resamples=200):
            value, lower, upper = row.value
            covered[row.name] = covered.get(row.name, 0) + (lower <= truth <= upper)
            values.setdefault(row.name, []).append(value)
    for name, count in covered.items():
        assert count >= 46, (name, count)  # of 60 at 90 %: fewer has a probability of 1 in 600
        assert np.mean(values[name]) == pytest.approx(truth, abs=4 * np.std(values[name]) / LOGS**0.5)
    assert np.std(values["doubly robust"]) < np.std(values["IPS"])


def test_a_log_as_a_server_keeps_it_gives_the_same_as_its_arrays(world, other):
    order, _, truth = other
    found = replay(
        world.log(1_500, np.random.default_rng(5)), target("hybrid"), positions=2, metric="engaged", window_us=WINDOW_US
    )
    assert (found.rankings, found.target, found.left_out) == (1_500, "hybrid", {})
    for row in found.rows:
        assert row.value[1] <= truth <= row.value[2]
    assert 50 < found.effective_users < found.users <= 120
    users, drawn, _ = world.draw(1_500, np.random.default_rng(5))
    share = np.mean((order[users][:, :2] == drawn[:, :2]).all(axis=1))
    logged = replay(
        world.log(1_500, np.random.default_rng(5)), target("simple"), positions=2, metric="engaged", window_us=WINDOW_US
    )
    assert found.largest_weight >= 1 / share / 10
    assert logged.shown == found.shown


def test_clipping_is_stated_with_its_share(world):
    log = world.log(800, np.random.default_rng(6))
    options = {"positions": 2, "metric": "engaged", "window_us": WINDOW_US}
    free = replay(log, target("hybrid"), **options)
    clipped = replay(log, target("hybrid"), clip=3.0, **options)
    assert free.clipped == 0
    assert 0 < clipped.clipped < 1
    assert clipped.rows[0].value[0] < free.rows[0].value[0]
    assert clipped.effective_users > free.effective_users
    assert "no weight is clipped" in as_text(free)
    assert "weights above 3 are clipped in" in as_text(clipped)


def _exposures(*logged):
    users = {one.user_id: row for row, one in enumerate(logged)}
    items = {id: row for row, id in enumerate(dict.fromkeys(id for one in logged for id in one.ids))}
    return Exposures.of(logged, users, items)


def _exposure(key, shown, not_shown=(), group="a"):
    return Exposure(key, f"user-{key}", 1_000 * key, group, shown, not_shown)


def test_what_a_draw_could_move_is_distinguished_from_what_follows_it():
    found = drawn_rankings(
        _exposures(
            _exposure(1, [("a", 0.5), ("b", 0.9), ("c", 1.0), ("d", 1.0)]),  # d was never drawn
            _exposure(2, [("a", 0.5), ("b", 0.9)], ["c", "d"]),
            _exposure(3, [("a", 0.5), ("b", 0.9)]),  # what else there was is not known
            _exposure(4, [("a", 1.0), ("b", 1.0)]),  # as certain as a draw can be
            _exposure(5, [("a", 0.5), ("a", 0.9), ("c", 1.0)]),
            _exposure(6, [("a", 1.0), ("b", 1.0)], group="fixed"),
        )
    )
    assert (found.rows.tolist(), found.pool.tolist()) == ([0, 1, 3], [3, 4, 0])
    assert found.left_out == {
        "of arms without exploration": 1, "logged without what was not shown": 1, "with an item twice": 1,
    }  # fmt: skip


def test_rewards_are_the_answers_within_the_window(world):
    log = world.log(200, np.random.default_rng(2))
    engaged = entry_rewards(log.events, log.exposures, "engaged", WINDOW_US)
    weighted = entry_rewards(log.events, log.exposures, "weighted", WINDOW_US)
    answers = log.events.exposure >= 0
    assert engaged.sum() == (log.events.action[answers] >= 2).sum() > 20
    assert weighted.sum() == np.array([0, 1, 3, 5])[log.events.action[answers]].sum()
    assert entry_rewards(log.events, log.exposures, "engaged", 1).sum() == 0


def test_the_order_of_equals_does_not_depend_on_the_draw(world):
    log = world.log(50, np.random.default_rng(4))
    drawn = drawn_rankings(log.exposures)
    made = beside_target(log, drawn, [np.zeros(5, np.float32)] * 50, positions=2, metric="engaged", window_us=WINDOW_US)
    pools = log.exposures.item.reshape(50, 5)
    np.testing.assert_array_equal(made.target_item, np.sort(pools, axis=1)[:, :2])


def test_a_log_without_exploration_says_what_to_do(world):
    log = world.log(50, np.random.default_rng(4))
    options = {"positions": 2, "metric": "engaged", "window_us": WINDOW_US}
    certain = replace(log.exposures, propensity=np.where(np.isnan(log.exposures.propensity), np.nan, 1.0))
    with pytest.raises(TrainingError, match=r"50 exposures and no exploration .*set \"explore\" in the experiment"):
        replay(replace(log, exposures=certain), target("hybrid"), **options)
    with pytest.raises(TrainingError, match="exposures_after=0"):
        replay(replace(log, exposures=None), target("hybrid"), **options)
    with pytest.raises(TrainingError, match="no ranking is called 'best'"):
        target("best")


WORDS = ("rustic barn", "modern loft", "coastal tent", "garden hall", "urban roof", "alpine hut", "vintage inn")
IDS = [f"item-{n}" for n in range(14)]


@pytest.fixture(scope="module")
def explored(start_server, tmp_path_factory):
    """A server that ran an experiment with exploration: its export, its texts, and how each model ranked the same
    candidates at the same time."""
    server = start_server()
    client = server.client
    texts = {id: f"a {WORDS[n % 7]} number {n}" for n, id in enumerate(IDS)}
    client.post("/content/batch", json=[{"id": id, "text": text} for id, text in texts.items()]).raise_for_status()
    random = np.random.default_rng(1)
    for n in range(40):
        event = {"user_id": f"u-{n % 10}", "content_id": str(random.choice(IDS)), "type": "save" if n % 3 else "view"}
        client.post("/interactions", json=event).raise_for_status()
    explore = {"method": "plackett_luce", "temperature": 0.2, "top": 6}
    arms = [{"name": name, "model": "simple"} for name in ("control", "treatment")]
    client.put("/experiments/drawn", json={"arms": arms, "explore": explore}).raise_for_status()
    ranked = {"simple": [], "hybrid": []}
    for n in range(12):
        body = {"user_id": f"u-{n}", "candidates": IDS}  # the last two did nothing yet
        for model, orders in ranked.items():
            answer = client.post("/rank", json={**body, "model": model}).json()
            orders.append([one["id"] for one in answer["ranked"]])
        shown = client.post("/rank", json={**body, "top_k": 3}).json()
        answers = [{"user_id": f"u-{n}", "content_id": shown["ranked"][0]["id"], "type": "share",
                    "ranking_id": shown["ranking_id"]}] if n % 2 else []  # fmt: skip
        for event in answers:
            client.post("/interactions", json=event).raise_for_status()
        time.sleep(0.002)
    folder = tmp_path_factory.mktemp("export")
    (folder / "log.ndjson").write_text(client.get("/events/export", params={"exposures_after": 0}).text)
    lines = [json.dumps({"content_id": id, "text": text}) for id, text in texts.items()]
    (folder / "items.ndjson").write_text("\n".join(lines) + "\n")
    return server, folder, ranked


def test_the_pool_of_a_draw_is_exported(explored):
    _, folder, _ = explored
    shown = [json.loads(line) for line in (folder / "log.ndjson").read_text().splitlines() if '"exposure"' in line]
    assert len(shown) == 12
    for one in shown:
        assert [len(one["items"]), len(one["not_shown"])] == [3, 3]
        assert len({item["id"] for item in one["items"]} | set(one["not_shown"])) == 6


@pytest.mark.parametrize("source", ["export", "database"])
@pytest.mark.parametrize("model", ["simple", "hybrid"])
def test_the_order_that_is_judged_is_the_order_that_was_served(explored, source, model):
    server, folder, ranked = explored
    if source == "export":
        log = read_files(folder / "log.ndjson", folder / "items.ndjson")
    else:
        log = read_event_log(server.data_dir)
    drawn = drawn_rankings(log.exposures)
    assert len(drawn.rows) == 12
    scores = target(model).scores(log, log.exposures, drawn.rows)
    for row, scored, order in zip(drawn.rows.tolist(), scores, ranked[model], strict=True):
        items = log.exposures.item[log.exposures.entries(row)]
        judged = {log.catalogue.ids[item]: score for item, score in zip(items, scored, strict=True)}
        # As it was served; time goes on between two requests, and counts with it, which may decide what was level.
        assert max(np.diff([judged[id] for id in order if id in judged])) <= 1e-3
    assert entry_rewards(log.events, log.exposures, "engaged", WINDOW_US).sum() == 6


def test_the_command_prints_estimates_and_what_limits_them(explored, capsys):
    _, folder, _ = explored
    source = ["--events", str(folder / "log.ndjson"), "--items", str(folder / "items.ndjson")]
    assert main(["replay", *source, "--model", "simple", "--positions", "1"]) == 0
    text = capsys.readouterr().out
    assert "12 rankings of 12 users, drawn in: drawn, period 1, control; drawn, period 1, treatment" in text
    for part in (
        "simple: IPS",
        "simple: self-normalised IPS",
        "simple: doubly robust",
        "effective users",
        "note: below",
    ):
        assert part in text
    assert main(["replay", *source, "--model", "simple", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rankings"] == 12
    assert main(["replay", *source[:2], "--model", "simple"]) == 1
    assert "no text of any of the" in capsys.readouterr().err
    one = (folder / "items.ndjson").read_text().splitlines()[:5]
    (folder / "few.ndjson").write_text("\n".join(one) + "\n")
    assert main(["replay", *source[:3], str(folder / "few.ndjson"), "--model", "simple"]) == 0
    assert "items have no text here" in capsys.readouterr().out
    assert main(["replay", *source, "--model", "simple", "--clip", "0.5"]) == 1
    assert "--clip is 0.5" in capsys.readouterr().err
