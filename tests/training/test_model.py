"""The architecture: causality, windows, attention bias, content vectors, every depth."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.batches import ScoredBatch, Windows
from training.checkpoint import Checkpoint
from training.data.events import Dataset
from training.experiments.study.variants import without_text
from training.layers import (
    KNOT_OCTAVES,
    MASKED,
    POSITION_BUCKETS,
    TIME_KNOTS,
    AttentionBias,
    position_bucket,
)
from training.model import History, QueryContext, SequenceModel
from training.model_config import ModelConfig
from training.recipes import PARTS, tiny, without
from training.train import losses, new_model, optimizer_of


@pytest.fixture
def batch(world: tuple[Dataset, Dataset]) -> ScoredBatch:
    windows = Windows(world[0], context=24)
    return windows.batch(np.arange(4), (0,))


def test_predictions_do_not_depend_on_future_events(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    """With events from k on replaced, the predictions of the events up to k stay the same."""
    model, k = checkpoint.model, 9
    changed = replace(
        batch,
        **{
            name: getattr(batch, name).clone()
            for name in ("item", "action", "device", "event_features", "context_features")
        },
        seconds=batch.seconds.clone(),
    )
    draw = torch.Generator().manual_seed(3)
    changed.item[:, k + 1 :] = torch.randint(0, 40, changed.item[:, k + 1 :].shape, generator=draw)
    changed.device[:, k + 1 :] = 4 - changed.device[:, k + 1 :]
    changed.context_features[:, k + 1 :] += 1
    changed.seconds[:, k + 1 :] += 86_400
    changed.action[:, k:] = 3 - changed.action[:, k:]  # the action of event k too: it is what has to be predicted
    changed.event_features[:, k:] += 1  # and how long it was looked at
    with torch.inference_mode():
        users, logits, _ = model(batch)
        users_changed, logits_changed, _ = model(changed)
    torch.testing.assert_close(users[:, : k + 1], users_changed[:, : k + 1], rtol=0, atol=0)
    torch.testing.assert_close(logits[:, : k + 1], logits_changed[:, : k + 1], rtol=0, atol=0)
    assert not torch.allclose(users[:, k + 1], users_changed[:, k + 1])


def test_predictions_do_not_depend_on_padding(checkpoint: Checkpoint, world: tuple[Dataset, Dataset]) -> None:
    """A window gives the same alone and beside a longer one, up to the rounding of another matrix shape."""
    short = world[0].with_events(world[0].events.take(np.r_[0:7, 24:48]))  # 7 events of one user, 24 of the next
    windows = Windows(short, context=24)
    with torch.inference_mode():
        alone = checkpoint.model(windows.batch(np.array([0]), (0,)))
        beside = checkpoint.model(windows.batch(np.array([0, 1]), (0,)))
    for a, b in zip(alone[:2], beside[:2], strict=True):
        torch.testing.assert_close(a[0], b[0, :7], atol=1e-5, rtol=1e-5)


def test_a_window_as_long_as_the_history_is_full_attention(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    state = checkpoint.model.state_dict()

    def outputs(window: int) -> tuple[torch.Tensor, ...]:
        model = SequenceModel(replace(checkpoint.model.config, window=window)).eval()
        model.load_state_dict(state)
        with torch.inference_mode():
            return model(batch)

    for fitting, full in zip(outputs(24), outputs(10_000), strict=True):
        torch.testing.assert_close(fitting, full, rtol=0, atol=0)
    assert not torch.equal(outputs(8)[0], outputs(10_000)[0])


@pytest.mark.parametrize("nearest", [0, 1])
def test_the_attention_bias_equals_its_reference_implementation(nearest: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(items=1, width=8, heads=2, window=5)
    bias = AttentionBias(config)
    for table in (bias.position, bias.time, bias.start):
        torch.nn.init.normal_(table)
    draw = np.random.default_rng(1)
    seconds = np.sort(draw.integers(0, 10**8, (2, 30)), axis=1).astype(np.int32)
    seconds[:, 10:13] = seconds[:, 10:11]  # ties
    with torch.no_grad():
        found = bias(torch.arange(30)[None], torch.from_numpy(seconds), torch.from_numpy(seconds), nearest).numpy()
    for b in range(2):
        for i in range(30):
            np.testing.assert_allclose(found[b, :, i, 0], bias.start.detach().numpy())
            for j in range(30):
                gap = max(float(seconds[b, i]) - float(seconds[b, j]), 0)
                knot = min(math.log2(gap + 1) / KNOT_OCTAVES, TIME_KNOTS - 1)
                low = min(int(knot), TIME_KNOTS - 2)
                share = knot - low
                distance = i - j
                bucket = max(distance, 0) if distance < 8 else 8 + int(2 * math.log2(distance / 8) + 1e-4)
                expected = bias.position[min(bucket, POSITION_BUCKETS - 1)] + (
                    (1 - share) * bias.time[low] + share * bias.time[low + 1]
                )
                seen = distance >= nearest and (distance < 5 or j % 5 == 4)
                if seen:
                    np.testing.assert_allclose(found[b, :, i, 1 + j], expected.detach().numpy(), atol=2e-4)
                else:
                    assert (found[b, :, i, 1 + j] < -MASKED / 2).all()


def test_the_preference_regression_equals_its_reference_implementation(
    checkpoint: Checkpoint, batch: ScoredBatch
) -> None:
    """A few gradient steps of an ordinal regression over the events so far, event by event."""
    model = checkpoint.model
    layer = model.preference_regression
    with torch.inference_mode():
        history = _history(model, batch)
        encoded = model.encode(history)
        preference = model.states(encoded).preference
        torch.testing.assert_close(preference[:, 0], layer.prior_mean.expand(len(preference), -1))
        for k in (0, 1, 9):
            x, traits = encoded.state[0, : k + 1], history.projections.traits[0, : k + 1]
            lower, upper = (layer.event(x)[:, :2] + layer.action(batch.action[0, : k + 1])).T
            weights = layer.prior_mean.clone()
            for step_size in layer.log_step_size.exp():
                gradient = layer.log_prior_precision.exp() * (layer.prior_mean - weights)
                for event in range(k + 1):
                    slope = _slope(traits[event] @ weights, lower[event], upper[event])
                    gradient += 2 * torch.sigmoid(layer.event(x)[event, 2]) * slope * traits[event]
                weights = weights + step_size * gradient / (k + 1 + layer.log_pseudo_count.exp())
            torch.testing.assert_close(preference[0, k + 1], weights, atol=1e-4, rtol=1e-3)


def _slope(u: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """d/du log P(lower < u + logistic noise < upper), by finite differences."""
    u, lower, upper = u.double(), lower.double(), upper.double()

    def log_probability(at: Tensor) -> Tensor:
        return torch.log(torch.sigmoid(upper - at) - torch.sigmoid(lower - at))

    return ((log_probability(u + 1e-5) - log_probability(u - 1e-5)) / 2e-5).float()


def _history(model: SequenceModel, batch: ScoredBatch) -> History:
    content = model.content_vector(batch.metadata, batch.catalogue)[batch.item]
    return History(
        model.project(content), model.item(content), batch.action, batch.device, batch.event_features, batch.seconds
    )


def test_the_pointer_is_a_weighted_mean_of_the_items_of_the_history(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    """Weights by a softmax over the events so far and a start token without an item; zero before the first event."""
    model = checkpoint.model
    pointer = model.pointer
    with torch.inference_mode():
        history = _history(model, batch)
        encoded = model.encode(history)
        assert (model.states(encoded).pointer[:, 0] == 0).all()
        for k in (0, 1, 9):
            x = encoded.state[0, : k + 1]
            query, keys = pointer.query(x[k]) * pointer.scale, torch.cat([pointer.start[None], pointer.key(x)])
            bias = pointer.position[position_bucket(k - torch.arange(k + 1))]
            weights = torch.softmax(keys @ query + torch.cat([torch.zeros(1), bias]), dim=0)
            torch.testing.assert_close(
                encoded.pointer[0, k], weights[1:] @ history.item[0, : k + 1], atol=1e-5, rtol=1e-4
            )


def test_an_encoded_history_is_unpacked_as_it_was_packed(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    with torch.inference_mode():
        encoded = checkpoint.model.encode(_history(checkpoint.model, batch))
    parts = [encoded.state, encoded.preference, encoded.pointer, encoded.similarity]
    assert tuple(part.shape[-1] for part in parts) == checkpoint.model.config.encoded
    torch.testing.assert_close(torch.cat(parts, dim=-1), encoded.packed, rtol=0, atol=0)


def test_a_strong_pointer_ranks_the_last_item_first(batch: ScoredBatch) -> None:
    """Among all items, also for items that the weights were not trained on."""
    torch.manual_seed(1)
    config = ModelConfig(items=len(batch.catalogue), width=16, heads=2, pointer_gain=1e4, pointer_decay=50.0)
    model = SequenceModel(config).eval()
    with torch.inference_mode():
        model.pointer.query.weight.zero_()
        model.pointer.query.bias.zero_()
        model.pointer.position += 1e3  # above the start
        users, _, items = model(batch)
    assert ((users[:, 1:] @ items.T).argmax(-1) == batch.item[:, :-1]).all()


def test_items_without_a_text_have_a_bounded_gradient(world: tuple[Dataset, Dataset]) -> None:
    """They start at the origin, where a unit vector has no direction."""
    windows = Windows(without_text(world[0]), context=24)
    torch.manual_seed(1)
    model = SequenceModel(ModelConfig(items=len(world[0].catalogue), width=16, heads=2))
    model.set_items(torch.zeros(len(world[0].catalogue), 384), torch.full((len(world[0].catalogue),), 0.5))
    parts, _ = losses(model, windows.batch(np.arange(8), (0,)), tiny())
    parts["loss"].backward()
    found = model.content_vector.id_embedding.weight.grad
    assert found is not None
    assert 0 < float(found.norm()) < 1e4


def test_position_buckets_increase_by_at_most_one() -> None:
    buckets = position_bucket(torch.arange(600))
    steps = buckets.diff()
    assert (buckets[0], buckets[-1]) == (0, POSITION_BUCKETS - 1)
    assert ((steps == 0) | (steps == 1)).all()


def test_an_unseen_item_equals_its_text_vector(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    content_vector = checkpoint.model.content_vector
    content_vector.id_weight[3] = 0
    content = batch.metadata[:1]
    with torch.no_grad():
        torch.testing.assert_close(content_vector(content, torch.tensor([3])), F.normalize(content, dim=-1))
        assert not torch.allclose(content_vector(content, torch.tensor([4])), F.normalize(content, dim=-1), atol=1e-4)


@pytest.mark.parametrize("layers", [4, 24])
def test_layers_sets_the_depth(layers: int, batch: ScoredBatch) -> None:
    model = SequenceModel(ModelConfig(items=40, width=16, heads=2, layers=layers, window=8))
    users, logits, items = model(batch)
    assert len(model.blocks) == layers
    for vectors in (users, items):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))
    logits.sum().backward()
    assert torch.isfinite(model.item_projections.weight.grad).all()


def test_depths_outside_4_to_24_raise() -> None:
    with pytest.raises(ValueError, match="4 to 24"):
        ModelConfig(items=1, layers=3)


def test_an_empty_history_gives_a_unit_vector(checkpoint: Checkpoint) -> None:
    model = checkpoint.model
    none = torch.zeros(1, 0, dtype=torch.int64)
    with torch.inference_mode():
        encoded = model.encode(
            History(
                model.project(torch.zeros(1, 0, 384)), torch.zeros(1, 0, 128), none, none, torch.zeros(1, 0, 11),
                none.int(),
            )
        )  # fmt: skip
        context = QueryContext(torch.zeros(1, 9), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 384))
        user = model.user(model.states(encoded).at(slice(None), -1), context)
    assert encoded.packed.shape == (1, 0, model.config.hidden)
    torch.testing.assert_close(user.norm(), torch.tensor(1.0))


@pytest.mark.parametrize("part", [part for part in PARTS if part not in ("factorised ids", "contrastive loss")])
def test_a_part_that_is_left_out_changes_predictions_and_is_not_trained(
    part: str, world: tuple[Dataset, Dataset], batch: ScoredBatch
) -> None:
    """Same random weights, one part less: other predictions, shapes as before, and no gradient for what is unused."""
    owns = {
        "preference regression": "preference_regression.",
        "pointer": "pointer.",
        "similarity kernels": "action_similarity",
        "candidate blocks": "candidate_blocks.",
    }[part]
    recipe = tiny()
    model, less = (new_model(one, world[0]) for one in (recipe, without(recipe, [part])))
    kept = {name: value for name, value in model.state_dict().items() if name in less.state_dict()}
    less.load_state_dict(kept)
    found = [losses(one.eval(), batch, recipe)[0]["loss"] for one in (model, less)]
    assert found[0] != found[1]
    found[1].backward()
    for name, parameter in less.named_parameters():
        if name.startswith(owns):
            assert parameter.grad is None or not parameter.grad.any(), name


def test_without_every_part_it_is_trained_by_two_losses(world: tuple[Dataset, Dataset], batch: ScoredBatch) -> None:
    recipe = without(tiny(), PARTS)
    assert not recipe.factorised_ids
    assert recipe.loss.contrastive == 0
    parts, _ = losses(new_model(recipe, world[0]).eval(), batch, recipe)
    torch.testing.assert_close(parts["loss"], parts["action"] + recipe.loss.next_item * parts["item"])


def test_no_tensor_that_is_trained_is_empty(world: tuple[Dataset, Dataset], batch: ScoredBatch) -> None:
    """On a GPU, an empty gradient among others made the norm of all of them an illegal memory access."""
    recipe = replace(tiny(), id_rank=0, factorised_ids=False)
    model = new_model(recipe, world[0])
    losses(model, batch, recipe)[0]["loss"].backward()
    assert all(parameter.numel() for parameter in model.parameters() if parameter.grad is not None)
    assert all(parameter.numel() for group in optimizer_of(model, recipe).param_groups for parameter in group["params"])
