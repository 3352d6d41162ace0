"""Item codes that a decomposition finds: planted directions, markets apart, and when training asks for them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.data.events import SHARE, SKIP, Dataset
from training.factors import reached_logits, residual_factors
from training.model import SequenceModel
from training.recipes import Recipe, tiny
from training.train import new_model, train
from training.worlds import beside

from .worlds import DAY_US, Catalogue, Events, Parameters, word_vectors


def two_camps(seed: int, users: int = 60, items: int = 24, events: int = 30) -> tuple[Dataset, np.ndarray]:
    """Two kinds of users, two kinds of items that no text tells apart: each camp shares its own kind and skips the
    other. Also returns the items' kinds."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.arange(items) % 2)
    user, item = np.repeat(np.arange(users), events), rng.integers(items, size=users * events)
    texts = ["thing"] * items
    dataset = Dataset(
        "camps",
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


def apart(codes: np.ndarray, kind: np.ndarray) -> bool:
    """Whether the second code, the strongest direction, has another sign for each kind."""
    return bool(np.array_equal(codes[:, 1] > 0, kind == 1) or np.array_equal(codes[:, 1] < 0, kind == 1))


def test_a_planted_direction_is_found() -> None:
    dataset, kind = two_camps(1)
    codes = residual_factors(new_model(tiny(), dataset), dataset, tiny())
    assert codes.shape == (len(kind), tiny().id_rank)
    assert apart(codes, kind)
    assert abs(codes[:, 1]).mean() > 2 * abs(codes[:, 2:]).mean()


def test_markets_do_not_mix() -> None:
    """Each market's directions are as if it were alone, up to what the model expects of it."""
    camps = [two_camps(seed) for seed in (2, 3)]
    both = beside([dataset for dataset, _ in camps], (2, 3), Parameters())
    codes = residual_factors(new_model(tiny(), both), both, tiny())
    half = len(camps[0][1])
    assert apart(codes[:half], camps[0][1])
    assert apart(codes[half:], camps[1][1])


def test_where_nothing_is_left_codes_stay_zero() -> None:
    dataset, _ = two_camps(4)
    one = replace(dataset.events, action=np.full_like(dataset.events.action, SHARE))
    one = dataset.with_events(one)
    model = new_model(tiny(), one)
    for parameter in (model.action_out.weight, model.action_out.bias):
        parameter.data.zero_()
    model.action_out.bias.data[SHARE] = 100.0
    assert (reached_logits(model, one, tiny()) > 9).all()
    assert abs(residual_factors(model, one, tiny())).max() < 0.02


def test_training_begins_its_second_epoch_with_them(
    world: tuple[Dataset, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def found(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> np.ndarray:
        assert not model.learned.codes.weight.any()  # by their texts alone
        asked.append(recipe.epochs)
        return residual_factors(model, dataset, recipe)

    monkeypatch.setattr("training.train.residual_factors", found)
    for epochs in (1, 2, 3):
        train(*world, replace(tiny(), epochs=epochs, patience=4), tmp_path / str(epochs), progress=False)
    assert asked == [2, 3]


def test_another_catalogue_begins_with_them_and_a_known_one_keeps_its_codes(
    world: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    recipe = replace(tiny(), epochs=1, learning_rate=1e-9)
    first = train(*world, replace(tiny(), factors=False), tmp_path / "first", progress=False)
    before = first.model.learned.codes.weight.detach().clone()
    again = train(*world, recipe, tmp_path / "again", start=first, progress=False)
    np.testing.assert_allclose(again.model.learned.codes.weight.detach(), before, atol=1e-5)
    first.ids = [f"elsewhere {id}" for id in first.ids]
    other = train(*world, recipe, tmp_path / "other", start=first, progress=False)
    assert float(other.model.learned.codes.weight.detach().norm(dim=1).mean()) > 0.1
