"""Factorised id embeddings: planted directions, separate catalogues, and when training uses them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets import DAY_US, Catalogue, Events, Parameters, word_vectors
from training.data.events import SHARE, SKIP, Dataset
from training.id_embeddings import cumulative_logits, factorised_id_embeddings
from training.model import SequenceModel
from training.recipes import Recipe, tiny
from training.simulator.multi_world import side_by_side
from training.train import new_model, train


def two_groups(seed: int, users: int = 60, items: int = 24, events: int = 30) -> tuple[Dataset, np.ndarray]:
    """Two kinds of users, two kinds of items that no text tells apart: each group shares its own kind and skips the
    other. Also returns the items' kinds."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.arange(items) % 2)
    user, item = np.repeat(np.arange(users), events), rng.integers(items, size=users * events)
    texts = ["thing"] * items
    dataset = Dataset(
        "groups",
        [f"u{number}" for number in range(users)],
        Catalogue(
            [f"i{number}" for number in range(items)],
            texts,
            word_vectors(texts),
            np.zeros(items, np.int64),
            np.zeros(items, np.int16),
        ),
        Events.of(
            user=user, item=item, action=np.where(user % 2 == kind[item], SHARE, SKIP),
            time_us=np.tile(np.arange(events), users) * DAY_US,
        ),
    )  # fmt: skip
    return dataset, kind


def apart(embeddings: np.ndarray, kind: np.ndarray) -> bool:
    """Whether the second number, the strongest direction, has another sign for each kind."""
    return bool(np.array_equal(embeddings[:, 1] > 0, kind == 1) or np.array_equal(embeddings[:, 1] < 0, kind == 1))


def test_a_planted_direction_is_found() -> None:
    dataset, kind = two_groups(1)
    embeddings = factorised_id_embeddings(new_model(tiny(), dataset), dataset, tiny())
    assert embeddings.shape == (len(kind), tiny().id_rank)
    assert apart(embeddings, kind)
    assert abs(embeddings[:, 1]).mean() > 2 * abs(embeddings[:, 2:]).mean()


def test_catalogues_are_factorised_separately() -> None:
    """Each catalogue has its own directions, as if it were alone."""
    groups = [two_groups(seed) for seed in (2, 3)]
    both = side_by_side([dataset for dataset, _ in groups], (2, 3), Parameters())
    embeddings = factorised_id_embeddings(new_model(tiny(), both), both, tiny())
    half = len(groups[0][1])
    assert apart(embeddings[:half], groups[0][1])
    assert apart(embeddings[half:], groups[1][1])


def test_embeddings_stay_zero_where_the_model_explains_everything() -> None:
    dataset, _ = two_groups(4)
    one = replace(dataset.events, action=np.full_like(dataset.events.action, SHARE))
    one = dataset.with_events(one)
    model = new_model(tiny(), one)
    for parameter in (model.action_out.weight, model.action_out.bias):
        parameter.data.zero_()
    model.action_out.bias.data[SHARE] = 100.0
    assert (cumulative_logits(model, one, tiny()) > 9).all()
    assert abs(factorised_id_embeddings(model, one, tiny())).max() < 0.02


def test_training_factorises_before_the_second_epoch(
    world: tuple[Dataset, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs_seen: list[int] = []

    def found(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> np.ndarray:
        assert not model.content_vector.id_embedding.weight.any()  # by their texts alone
        epochs_seen.append(recipe.epochs)
        return factorised_id_embeddings(model, dataset, recipe)

    monkeypatch.setattr("training.train.factorised_id_embeddings", found)
    for epochs in (1, 2, 3):
        train(*world, replace(tiny(), epochs=epochs, patience=4), tmp_path / str(epochs), progress=False)
    assert epochs_seen == [2, 3]


def test_fine_tuning_factorises_for_a_new_catalogue_and_keeps_known_embeddings(
    world: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    recipe = replace(tiny(), epochs=1, learning_rate=1e-9)
    first = train(*world, replace(tiny(), factorised_ids=False), tmp_path / "first", progress=False)
    before = first.model.content_vector.id_embedding.weight.detach().clone()
    again = train(*world, recipe, tmp_path / "again", start=first, progress=False)
    np.testing.assert_allclose(again.model.content_vector.id_embedding.weight.detach(), before, atol=1e-5)
    first.ids = [f"elsewhere {id}" for id in first.ids]
    other = train(*world, recipe, tmp_path / "other", start=first, progress=False)
    assert float(other.model.content_vector.id_embedding.weight.detach().norm(dim=1).mean()) > 0.1
