"""The sequence model in the evaluation computes what the served model does, for one history or many prefixes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.sequence import export_sequence
from runtime.models.bundle import Bundle
from runtime.models.sequence_model import History, load_sequence_model
from training.checkpoint import Checkpoint
from training.data.events import Dataset, Histories
from training.data.split import joined
from training.evaluation.protocol import HasUserVectors, PredictsActions, Recommender
from training.evaluation.sequence import SequenceRecommender, fine_tuned, recommender
from training.recipes import Recipe


@pytest.fixture(scope="module")
def shared_recommender(
    world: tuple[Dataset, Dataset], recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> SequenceRecommender:
    made = SequenceRecommender(recipe, out=tmp_path_factory.mktemp("recommender"))
    made.fit(*world)
    return made


def _prefixes(dataset: Dataset, draw: np.random.Generator, n: int = 40) -> Histories:
    users = draw.integers(0, 6, n)  # several arguments of each
    starts = dataset.starts[users]
    ends = starts + draw.integers(0, dataset.starts[users + 1] - starts + 1)
    return Histories(dataset.events, starts, ends, users.astype(np.int32), dataset.events)


def test_it_implements_the_protocols(shared_recommender: SequenceRecommender, shared_checkpoint: Path) -> None:
    for protocol in (PredictsActions, HasUserVectors):
        assert isinstance(shared_recommender, protocol)
    named: Recommender = recommender("tiny", seed=3)
    assert "tiny" in named.name
    assert recommender(str(shared_checkpoint), seed=4)._recipe.seed == 4
    tuned = fine_tuned(str(shared_checkpoint), seed=4)
    assert (tuned.name, tuned._recipe.seed) == ("sequence (fine-tuned from other worlds)", 4)
    assert tuned._start is not None


def test_a_batch_of_prefixes_gives_the_same_as_each_alone(
    shared_recommender: SequenceRecommender, world: tuple[Dataset, Dataset]
) -> None:
    draw = np.random.default_rng(0)
    histories = _prefixes(world[0], draw)
    now_us = world[0].events.time_us[np.maximum(histories.ends - 1, 0)] + 5_000_000
    device, items = draw.integers(0, 5, 40).astype(np.int8), draw.integers(0, 40, 40).astype(np.int32)
    vectors = shared_recommender.user_vectors(histories, now_us, device)
    actions = shared_recommender.action_probabilities(histories, now_us, device, items)
    assert (vectors.shape, actions.shape) == ((40, 128), (40, 4))
    for n in range(40):
        one = slice(n, n + 1)
        np.testing.assert_allclose(
            vectors[one], shared_recommender.user_vectors(histories.take(one), now_us[one], device[one]), atol=1e-5
        )
        alone = shared_recommender.action_probabilities(histories.take(one), now_us[one], device[one], items[one])
        np.testing.assert_allclose(actions[one], alone, atol=1e-5)
    scores = shared_recommender.item_scores(histories, now_us, device)
    assert scores.shape == (40, 40)


def test_a_batch_of_users_without_any_history(
    shared_recommender: SequenceRecommender, world: tuple[Dataset, Dataset]
) -> None:
    histories = _prefixes(world[0], np.random.default_rng(3), 6)
    nobody = Histories(histories.events, histories.starts, histories.starts, histories.users, histories.log)
    now_us, device = np.full(6, world[0].events.time_us.max()), np.zeros(6, np.int8)
    vectors = shared_recommender.user_vectors(nobody, now_us, device)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors, np.repeat(vectors[:1], 6, axis=0), atol=1e-6)
    assert shared_recommender.action_probabilities(
        nobody, now_us, device, np.arange(6, dtype=np.int32)
    ).sum() == pytest.approx(6)


def test_it_computes_what_the_exported_bundle_does(
    shared_recommender: SequenceRecommender, world: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    checkpoint = shared_recommender.checkpoint
    assert checkpoint is not None
    checkpoint.save(tmp_path / "checkpoint")
    export_sequence(tmp_path / "checkpoint", tmp_path / "sequence")
    model = load_sequence_model(Bundle.load(tmp_path / "sequence", kind="sequence"), "sentence-bert-v1")
    dataset = world[0]
    histories = _prefixes(dataset, np.random.default_rng(1), 10)
    now_us = dataset.events.time_us[np.maximum(histories.ends - 1, 0)] + 90_000_000
    device, items = np.full(10, 2, np.int8), np.arange(10, dtype=np.int32)
    vectors = shared_recommender.user_vectors(histories, now_us, device)
    actions = shared_recommender.action_probabilities(histories, now_us, device, items)
    learned = model.learned(dataset.catalogue.ids, dataset.catalogue.vectors)
    item = model.items(learned)
    for n, own in enumerate(histories):
        history = History(
            content=learned[own.item], item=item[own.item], action=own.action, device=own.device, time_us=own.time_us,
            duration_ms=own.duration_ms, days_to_event=own.days_to_event,
        )  # fmt: skip
        user = model.user(history, int(now_us[n]), 2)
        np.testing.assert_allclose(user.vector, vectors[n], atol=1e-4)
        np.testing.assert_allclose(model.actions(user, learned[items[n] : items[n] + 1])[0], actions[n], atol=1e-4)


def test_fine_tuning_a_checkpoint(
    world: tuple[Dataset, Dataset], recipe: Recipe, shared_checkpoint: Path, tmp_path: Path
) -> None:
    warm = SequenceRecommender(recipe, start=Checkpoint.load(shared_checkpoint), out=tmp_path)
    warm.fit(*world)
    assert warm.checkpoint is not None
    assert warm.checkpoint.metrics[0]["step"] == 0


def test_weights_that_were_kept_are_of_the_checkpoint_that_was_fine_tuned(
    world: tuple[Dataset, Dataset], recipe: Recipe, shared_checkpoint: Path, tmp_path: Path
) -> None:
    start = Checkpoint.load(shared_checkpoint)
    other = replace(start, data=start.data | {"sha256": "another log"})
    for one in (None, start, other, start):
        SequenceRecommender(recipe, start=one, keep=tmp_path).fit(*world)
    assert len(list(tmp_path.iterdir())) == 3


def test_blend_weights_are_selected_with_model_weights_that_have_not_seen_validation(
    world: tuple[Dataset, Dataset], recipe: Recipe, tmp_path: Path
) -> None:
    training, validation = world
    both = joined(training, validation)
    made = SequenceRecommender(recipe, name="refit", refit=True, settings_tried=3)
    made.fit(training, validation)
    assert (made.name, made.settings_tried) == ("refit", 3)
    assert made.choice["epochs"] in range(1, recipe.epochs + 1)
    histories = _prefixes(training, np.random.default_rng(2), 10)
    arguments = histories, training.events.time_us[np.maximum(histories.ends - 1, 0)] + 1, np.zeros(10, np.int8)
    final = made.item_scores(*arguments)
    made.learn(training)
    chosen = made.item_scores(*arguments)
    assert made.checkpoint is not None
    plain = SequenceRecommender(recipe, keep=tmp_path)
    plain.fit(training, validation)
    kept = SequenceRecommender(recipe, keep=tmp_path)
    kept.fit(training, validation)  # read, not trained
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(kept.item_scores(*arguments), chosen)
    np.testing.assert_array_equal(chosen, plain.item_scores(*arguments))
    assert abs(final - chosen).max() > 1e-3
    made.learn(both)
    np.testing.assert_array_equal(made.item_scores(*arguments), final)
