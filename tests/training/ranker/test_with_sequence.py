"""The hybrid ranker with the score of a sequence model: through HTTP as in the evaluation, and what ranks without."""

import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from export.sequence import export_sequence
from runtime.models.bundle import Bundle
from runtime.models.installed import back, install
from runtime.models.ranker import SequenceFile, load_ranker
from runtime.personalization.hybrid import Ranker
from runtime.personalization.ranking_features import NAMES_WITH_SEQUENCE
from tests.small_world import ITEMS
from tests.training.ranker.replayed import replayed_server, trained_sequence
from tests.training.ranker.test_served_is_evaluated import assert_same_order, evaluated
from tests.waiting import until
from training.__main__ import main
from training.checkpoint import BEST, VALIDATED, Checkpoint
from training.data.events import Events
from training.data.exposures import Exposure, Exposures
from training.data.split import periods
from training.errors import TrainingError
from training.evaluation.queries import last_events, sample_queries
from training.evaluation.sequence import GivenCheckpoint
from training.evaluation.sequence_bundle import GivenBundle
from training.off_policy.targets import target
from training.ranker import command
from training.ranker.actions import ActionModel
from training.ranker.bundle import write_bundle
from training.ranker.command import train_ranker
from training.ranker.find_sequence import find_sequence
from training.ranker.neighbours import learn_neighbours
from training.ranker.recommender import Hybrid, Prior, Simple, scores_of
from training.ranker.with_sequence import HybridWithSequence

MINE, OURS = "mine", "our-couples"
BOTH = f"{MINE}+{OURS}"


@pytest.fixture(scope="module")
def run(server, tmp_path_factory):
    return trained_sequence(server, tmp_path_factory.mktemp("checkpoints") / OURS)


@pytest.fixture(scope="module")
def fitted(log, run):
    """Both sets of weights, by the model that has not seen what they are fitted to; the final one then ranks."""
    older, newest = periods(log, (0.9, 0.1))
    sequence = GivenCheckpoint(Checkpoint.load(run / VALIDATED), name=OURS)
    sequence.fit(older, newest)
    both = HybridWithSequence(sequence)
    both.fit_weights(older, newest, learn_neighbours(older))
    assert both.weights_with_sequence["sequence"] != 0
    both.sequence = GivenCheckpoint(Checkpoint.load(run / BEST), name=OURS)
    both.sequence.fit(log, log)
    both.learn(log)
    return both


@pytest.fixture(scope="module")
def bundle(fitted, log, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rankers") / MINE
    actions = ActionModel()
    actions.fit(*periods(log, (0.9, 0.1)))
    beside = SequenceFile(model_version=OURS, run=Checkpoint.load(run / BEST).run, weights=fitted.weights_with_sequence)
    write_bundle(folder, MINE, log, fitted.weights, fitted.table, actions, {}, beside)
    # What was rounded for the bundle
    fitted.ranker = Ranker.of(MINE, {name: round(w, 6) for name, w in fitted.weights.items()})
    rounded = {name: round(weight, 6) for name, weight in fitted.weights_with_sequence.items()}
    fitted.with_sequence = Ranker.of(BOTH, rounded, NAMES_WITH_SEQUENCE)
    return folder


@pytest.fixture(scope="module")
def sequence_bundle(run, tmp_path_factory):
    return export_sequence(run / BEST, tmp_path_factory.mktemp("sequences") / OURS)


def ranked(server, user="user-1", query="", **more):
    body = {"user_id": user, "candidates": [f"item-{n}" for n in range(ITEMS)], **more}
    answer = server.client.post(f"/rank{query}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for(server, wanted: str) -> None:
    until(lambda: ranked(server)["model_version"] == wanted, server.log.read_text)


def beside(server):
    return server.client.get("/info").json()["ranker"]["sequence"]


def test_the_score_of_the_sequence_model_ranks_over_http_as_in_the_evaluation(
    server, log, fitted, bundle, sequence_bundle, run, tmp_path
):
    assert beside(server) is None
    install(server.models, bundle)
    wait_for(server, MINE)
    assert (beside(server)["served"], beside(server)["reason"]) == (False, f"{OURS} is not installed")
    assert (beside(server)["catalogue"], beside(server)["catalogue_reason"]) == (False, f"{OURS} is not installed")
    install(server.models, sequence_bundle)
    wait_for(server, BOTH)
    found = beside(server)
    assert (found["model_version"], found["served"], found["reason"]) == (OURS, True, None)
    assert (found["catalogue"], found["catalogue_reason"]) == (True, None)
    assert found["weights"]["sequence"] == pytest.approx(fitted.weights_with_sequence["sequence"], abs=1e-6)
    until(lambda: f"{MINE} ranks, with the score of {OURS}" in server.log.read_text(), server.log.read_text)
    after_us, middle_us = int(log.events.time_us.max()) + 3_600_000_000, int(np.median(log.events.time_us))
    tolerance = 2e-3 * abs(found["weights"]["sequence"])  # kept item vectors are of half precision
    assert_same_order(server, log, fitted, after_us, list(range(200)), tolerance, BOTH)
    assert_same_order(server, log, fitted, middle_us, list(range(0, 200, 20)), tolerance)

    parts = ranked(server, query="?explain=true")["explanations"][0]["features"]
    assert parts["sequence"] != 0
    best = ranked(server, query="?explain=true")["ranked"][0]["score"]
    assert sum(parts.values()) == pytest.approx(best, abs=1e-3)

    a_user_with_few_events_is_ranked_by_the_first_set(server)
    an_item_that_the_model_never_met_is_ranked_by_its_text(server)
    a_search_is_personal_by_the_same_set(server)
    another_model_is_no_feature(server, run, tmp_path)


def test_models_that_read_the_same_features_score_together_as_alone(log, fitted):
    first, untrained, simple = Hybrid(), Prior(), Simple()
    first.ranker, first.dataset, first.table = fitted.ranker, log, fitted.table
    untrained.fit(log, log)
    simple.fit(log, log)
    queries = sample_queries(log.events, periods(log, (0.9, 0.1))[1], per_user=2, at_most=60, engaged_only=True)
    for histories in (queries.histories, last_events(queries.histories, 1)):
        models = [first, fitted, untrained, simple]
        together = scores_of(models, histories, queries.now_us, queries.device)
        for model, scores in zip(models, together, strict=True):
            np.testing.assert_array_equal(scores, model.item_scores(histories, queries.now_us, queries.device))


def test_of_a_catalogue_on_disk(start_server, bundle_path, log, fitted, bundle, sequence_bundle, tmp_path):
    server = replayed_server(start_server, bundle_path, tmp_path, catalog_vectors="disk")
    install(server.models, bundle)
    install(server.models, sequence_bundle)
    wait_for(server, BOTH)
    after_us = int(log.events.time_us.max()) + 3_600_000_000
    tolerance = 2e-3 * abs(fitted.weights_with_sequence["sequence"])
    assert_same_order(server, log, fitted, after_us, list(range(0, 200, 10)), tolerance, BOTH)


def a_user_with_few_events_is_ranked_by_the_first_set(server):
    assert ranked(server, "nobody")["model_version"] == MINE
    for number in range(3):
        assert ranked(server, "newcomer")["model_version"] == MINE
        event = {"user_id": "newcomer", "content_id": f"item-{number}", "type": "view"}
        assert server.client.post("/interactions", json=event).json()["stored"] == 1
    assert ranked(server, "newcomer")["model_version"] == BOTH
    server.client.delete("/user/newcomer")


def an_item_that_the_model_never_met_is_ranked_by_its_text(server):
    server.client.put("/content/new", json={"text": "a royal place number 77"})
    body = {"user_id": "user-1", "candidates": ["item-3", "new"]}
    scores = server.client.post("/rank?explain=true", json=body).json()
    assert scores["model_version"] == BOTH
    by_model = server.client.post("/rank", json=body | {"model": "sequence"}).json()["scores"][1]["score"]
    parts = {one["id"]: one["features"] for one in scores["explanations"]}["new"]
    weight = beside(server)["weights"]["sequence"]
    assert parts["sequence"] == pytest.approx(weight * by_model, abs=2e-2 * abs(weight))
    found = server.client.get("/user/user-1/recommendations", params={"top_k": 50, "exclude": ""}).json()
    assert (found["model_version"], "new" in {one["id"] for one in found["results"]}) == (BOTH, True)
    server.client.delete("/content/new")


def a_search_is_personal_by_the_same_set(server):
    body = {"text": "a rustic place", "user_id": "user-1", "personalization": 1, "top_k": ITEMS}
    found = [one["id"] for one in server.client.post("/search", json=body).json()["results"]]
    assert found == [one["id"] for one in ranked(server)["ranked"]]


def another_model_is_no_feature(server, run, tmp_path):
    """One of the same name from another run; and back."""
    other = Checkpoint.load(run / BEST)
    other.data |= {"sha256": "of another log"}
    other.save(tmp_path / "other")
    install(server.models, export_sequence(tmp_path / "other", tmp_path / "exported"))
    wait_for(server, MINE)
    reason = beside(server)["reason"]
    assert reason == f"{OURS} of another training run is served, the weights were fitted beside {OURS}"
    back(server.models, "sequence")
    wait_for(server, BOTH)


def test_a_second_set_is_kept_where_it_is_better(log, run, tmp_path):
    said = train_ranker(log, tmp_path / "given", "given", run)
    found = load_ranker(Bundle.load(tmp_path / "given", kind="ranker"))
    _, low, _ = found.bundle.manifest.quality["gain_with_sequence"]
    assert low > 0, said
    assert f"with the score of {OURS}: NDCG@10 +" in said
    assert "kept, for where it is served" in said
    assert found.sequence.run == Checkpoint.load(run / BEST).run
    assert found.sequence.named_weights["sequence"] > 0


def test_of_a_log_of_chance_the_one_set_ranks_whichever_model_is_served(log, run, tmp_path):
    draw = np.random.default_rng(5)
    columns = vars(log.events) | {"item": draw.integers(0, ITEMS, len(log.events))}
    said = train_ranker(replace(log, events=Events.of(**columns)), tmp_path / "chance", "chance", run)
    assert "left out: not clearly better" in said
    found = load_ranker(Bundle.load(tmp_path / "chance", kind="ranker"))
    assert (found.sequence.model_version, found.sequence.ranker) == (OURS, None)


def test_a_bundle_stands_for_its_run_unless_it_has_seen_what_weights_are_fitted_to(
    log, run, fitted, sequence_bundle, tmp_path
):
    given = GivenBundle(sequence_bundle)
    given.fit(log, log)
    assert (given.run, given.name, given.min_events) == (Checkpoint.load(run / BEST).run, OURS, 3)
    queries = sample_queries(log.events, log, per_user=1, at_most=50, engaged_only=True)
    context = (queries.histories, queries.now_us, queries.device)
    assert given.item_vectors == pytest.approx(fitted.sequence.item_vectors, abs=1e-3)
    assert given.user_vectors(*context) == pytest.approx(fitted.sequence.user_vectors(*context), abs=1e-3)
    of_torch = fitted.sequence.action_probabilities(*context, queries.item)
    assert given.action_probabilities(*context, queries.item) == pytest.approx(of_torch, abs=1e-3)
    older, newest = periods(log, (0.9, 0.1))
    with pytest.raises(TrainingError, match="was fitted to events of the newest tenth"):
        command._sequence(sequence_bundle, older, newest)
    later = replace(newest.events, time_us=newest.events.time_us + 10**12)
    assert command._sequence(sequence_bundle, log, newest.with_events(later)).name == OURS


def test_a_run_that_was_fine_tuned_says_from_which(run, server, tmp_path):
    arguments = ["train", "--events", str(server.data_dir), "--epochs", "1", "--out", str(tmp_path / "later")]
    assert main([*arguments, "--from", str(run / BEST), "--since", "2023-11-16"]) == 0
    before, later = (Checkpoint.load(folder / BEST) for folder in (run, tmp_path / "later"))
    assert later.lineage == [before.run, later.run]
    exported = export_sequence(tmp_path / "later" / BEST, tmp_path / "exported")
    manifest = Bundle.load(exported, kind="sequence").manifest
    assert (manifest.model_version, manifest.recipe["lineage"]) == ("later", later.lineage)


def test_the_sequence_model_of_the_log_is_found_where_nobody_names_it(log, run, sequence_bundle, tmp_path):
    *_, newest = periods(log, (0.8, 0.1, 0.1))
    models, runs = tmp_path / "models", tmp_path / "checkpoints"
    assert find_sequence(log, newest, models=models, runs=runs) is None

    install(models, sequence_bundle)  # which has seen the newest tenth, and its run is not there
    assert find_sequence(log, newest, models=models, runs=runs) is None
    later = newest.with_events(replace(newest.events, time_us=newest.events.time_us + 10**12))
    assert find_sequence(log, later, models=models, runs=runs).folder == models / "sequence"

    shutil.copytree(run, runs / "first")
    of_another_log = replace(log, catalogue=replace(log.catalogue, ids=[f"other {id}" for id in log.catalogue.ids]))
    assert find_sequence(of_another_log, newest, models=models, runs=runs) is None
    found = find_sequence(log, newest, models=models, runs=runs)
    assert (found.folder, "bundle installed" in found.what) == (runs / "first", True)

    newer = Checkpoint.load(run / VALIDATED)
    newer.data |= {"sha256": "of the log a day later"}
    newer.save(runs / "second" / VALIDATED)
    os.utime(runs / "second" / VALIDATED, (time.time() + 60,) * 2)
    assert find_sequence(log, newest, models=models, runs=runs).folder == runs / "first"
    found = find_sequence(log, newest, models=tmp_path / "nothing installed", runs=runs)
    assert (found.folder, "newest run" in found.what) == (runs / "second", True)


@pytest.mark.parametrize(("options", "wanted"), [([], OURS), (["--no-sequence"], None)])
def test_the_command_uses_what_it_finds_says_so_and_leaves_it_out_on_request(
    server, run, tmp_path, monkeypatch, capsys, options, wanted
):
    shutil.copytree(run, tmp_path / "checkpoints" / "mine")
    monkeypatch.chdir(tmp_path)
    assert main(["train ranker", "--events", str(server.data_dir), "--out", "ranker", *options]) == 0
    said = capsys.readouterr().out
    assert ("beside the sequence model of checkpoints/mine" in said) == (wanted is not None)
    found = load_ranker(Bundle.load(tmp_path / "ranker", kind="ranker")).sequence
    assert (None if found is None else found.model_version) == wanted


def test_a_replay_judges_the_set_of_weights_that_would_be_served(log, fitted, bundle, sequence_bundle, tmp_path):
    after_us, users = int(log.events.time_us.max()) + 3_600_000_000, list(range(20))
    shown = [(id, 0.5) for id in log.catalogue.ids]
    exposures = Exposures.of(
        [Exposure(user, log.users[user], after_us, "arm", shown, ()) for user in users],
        {id: row for row, id in enumerate(log.users)},
        {id: row for row, id in enumerate(log.catalogue.ids)},
    )
    install(tmp_path, sequence_bundle)
    judged = target(str(bundle), tmp_path)
    assert judged.name == BOTH
    found = judged.scores(log, exposures, np.arange(len(users)))
    expected = evaluated(fitted, log, after_us, users)
    np.testing.assert_allclose(found, expected, atol=2e-3 * abs(fitted.weights_with_sequence["sequence"]))
    alone = target(str(bundle), tmp_path / "nothing installed")
    assert alone.name == MINE
    assert np.abs(np.array(alone.scores(log, exposures, np.arange(len(users)))) - expected).max() > 0.01
