"""What the architecture promises: causality, windows, the bias, the blend, every depth."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.checkpoint import Checkpoint
from training.data.events import Dataset
from training.layers import HIDDEN, KNOT_OCTAVES, POSITION_BUCKETS, TIME_KNOTS, Bias, ModelConfig, position_bucket
from training.model import SequenceModel
from training.recipes import tiny
from training.train import losses
from training.trials import without_text
from training.windows import ScoredBatch, Windows


@pytest.fixture
def batch(world: tuple[Dataset, Dataset]) -> ScoredBatch:
    windows = Windows(world[0], context=24)
    return windows.batch(np.arange(4), (0,))


def test_future_events_change_nothing(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    """Everything about events from k on is replaced; states before, and what event k itself is asked, stay the same."""
    model, k = checkpoint.model, 9
    changed = replace(
        batch,
        **{name: getattr(batch, name).clone() for name in ("item", "action", "device", "events", "moments")},
        seconds=batch.seconds.clone(),
    )
    draw = torch.Generator().manual_seed(3)
    changed.item[:, k + 1 :] = torch.randint(0, 40, changed.item[:, k + 1 :].shape, generator=draw)
    changed.device[:, k + 1 :] = 4 - changed.device[:, k + 1 :]
    changed.moments[:, k + 1 :] += 1
    changed.seconds[:, k + 1 :] += 86_400
    changed.action[:, k:] = 3 - changed.action[:, k:]  # the action of event k too: it is what has to be predicted
    changed.events[:, k:] += 1  # and how long it was looked at
    with torch.inference_mode():
        users, logits, _ = model(batch)
        users_changed, logits_changed, _ = model(changed)
    torch.testing.assert_close(users[:, : k + 1], users_changed[:, : k + 1], rtol=0, atol=0)
    torch.testing.assert_close(logits[:, : k + 1], logits_changed[:, : k + 1], rtol=0, atol=0)
    assert not torch.allclose(users[:, k + 1], users_changed[:, k + 1])


def test_padding_changes_nothing(checkpoint: Checkpoint, world: tuple[Dataset, Dataset]) -> None:
    """A window gives the same alone and beside a longer one, up to the rounding of another matrix shape."""
    short = world[0].with_events(world[0].events.take(np.r_[0:7, 24:48]))  # 7 events of one user, 24 of the next
    windows = Windows(short, context=24)
    with torch.inference_mode():
        alone = checkpoint.model(windows.batch(np.array([0]), (0,)))
        beside = checkpoint.model(windows.batch(np.array([0, 1]), (0,)))
    for a, b in zip(alone[:2], beside[:2], strict=True):
        torch.testing.assert_close(a[0], b[0, :7], atol=1e-5, rtol=1e-5)


def test_a_window_that_the_history_fits_is_full_attention(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
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
def test_the_bias_is_its_naive_twin(nearest: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(items=1, width=8, heads=2, window=5)
    bias = Bias(config)
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
                    assert (found[b, :, i, 1 + j] < -HIDDEN / 2).all()


def test_a_taste_is_its_naive_twin(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    """A few gradient steps of an ordinal regression over the events so far, each by itself; the usual taste before."""
    model = checkpoint.model
    layer, d, m = model.taste, model.config.width, model.config.traits
    with torch.inference_mode():
        hidden, traits = _encoded(model, batch)
        states = model.states(hidden)
        torch.testing.assert_close(states[:, 0, d : d + m], layer.usual.expand(len(hidden), m))
        for k in (0, 1, 9):
            x, met, action = hidden[0, : k + 1, :d], traits[0, : k + 1], batch.action[0, : k + 1]
            lower, upper = (layer.event(x)[:, :2] + layer.action(action)).T
            taste = layer.usual.clone()
            for rate in layer.rate.exp():
                pull = layer.prior.exp() * (layer.usual - taste)
                for event in range(k + 1):
                    likelihood = _interval(met[event] @ taste, lower[event], upper[event])
                    pull += 2 * torch.sigmoid(layer.event(x)[event, 2]) * likelihood * met[event]
                taste = taste + rate * pull / (k + 1 + layer.doubt.exp())
            torch.testing.assert_close(states[0, k + 1, d : d + m], taste, atol=1e-4, rtol=1e-3)


def _interval(u: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Slope in u of the logarithm of the probability that u and logistic noise lie between the two, by differences."""
    u, lower, upper = u.double(), lower.double(), upper.double()

    def log_probability(at: Tensor) -> Tensor:
        return torch.log(torch.sigmoid(upper - at) - torch.sigmoid(lower - at))

    return ((log_probability(u + 1e-5) - log_probability(u - 1e-5)) / 2e-5).float()


def _encoded(model: SequenceModel, batch: ScoredBatch) -> tuple[Tensor, Tensor]:
    """What is known of the events of a batch, and the traits of their items."""
    learned = model.learned(batch.metadata, batch.catalogue)[batch.item]
    hidden = model.encode(learned, model.item(learned), batch.action, batch.device, batch.events, batch.seconds)
    return hidden, model.faces(learned)[3]


def test_what_is_pointed_at_is_a_mix_of_the_items_met(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    """Weights by a softmax over the events so far and a start that has no item; nothing before the first event."""
    model = checkpoint.model
    pointer, d, m, o = model.pointer, model.config.width, model.config.traits, model.config.output
    with torch.inference_mode():
        items = model.item(model.learned(batch.metadata, batch.catalogue)[batch.item])
        hidden, _ = _encoded(model, batch)
        assert (model.states(hidden)[:, 0, d + m :] == 0).all()
        for k in (0, 1, 9):
            x = hidden[0, : k + 1, :d]
            query, keys = pointer.query(x[k]) * d**-0.5, torch.cat([pointer.start[None], pointer.key(x)])
            places = pointer.position[position_bucket(k - torch.arange(k + 1))]
            weights = torch.softmax(keys @ query + torch.cat([torch.zeros(1), places]), dim=0)
            torch.testing.assert_close(
                hidden[0, k, d + m : d + m + o], weights[1:] @ items[0, : k + 1], atol=1e-5, rtol=1e-4
            )


def test_a_loud_pointer_names_the_last_item(batch: ScoredBatch) -> None:
    """Among all items, exactly: what a readout of 128 numbers cannot do for an item it was not trained on."""
    torch.manual_seed(1)
    config = ModelConfig(items=len(batch.catalogue), width=16, heads=2, pointer_gain=1e4, pointer_decay=50.0)
    model = SequenceModel(config).eval()
    with torch.inference_mode():
        model.pointer.query.weight.zero_()
        model.pointer.query.bias.zero_()
        model.pointer.position += 1e3  # above the start
        users, _, items = model(batch)
    assert ((users[:, 1:] @ items.T).argmax(-1) == batch.item[:, :-1]).all()


def test_items_without_a_text_have_a_slope(world: tuple[Dataset, Dataset]) -> None:
    """They begin at the origin, which has no direction; a step from there must be one that can be taken."""
    windows = Windows(without_text(world[0]), context=24)
    torch.manual_seed(1)
    model = SequenceModel(ModelConfig(items=len(world[0].catalogue), width=16, heads=2))
    model.set_items(torch.zeros(len(world[0].catalogue), 384), torch.full((len(world[0].catalogue),), 0.5))
    parts, _ = losses(model, windows.batch(np.arange(8), (0,)), tiny())
    parts["loss"].backward()
    found = model.learned.codes.weight.grad
    assert found is not None
    assert 0 < float(found.norm()) < 1e4


def test_position_buckets_rise_one_by_one() -> None:
    buckets = position_bucket(torch.arange(600))
    steps = buckets.diff()
    assert (buckets[0], buckets[-1]) == (0, POSITION_BUCKETS - 1)
    assert ((steps == 0) | (steps == 1)).all()


def test_an_unseen_item_is_its_text(checkpoint: Checkpoint, batch: ScoredBatch) -> None:
    learned = checkpoint.model.learned
    learned.weight[3] = 0
    content = batch.metadata[:1]
    with torch.no_grad():
        torch.testing.assert_close(learned(content, torch.tensor([3])), F.normalize(content, dim=-1))
        assert not torch.allclose(learned(content, torch.tensor([4])), F.normalize(content, dim=-1), atol=1e-4)


@pytest.mark.parametrize("layers", [4, 24])
def test_one_number_sets_the_depth(layers: int, batch: ScoredBatch) -> None:
    model = SequenceModel(ModelConfig(items=40, width=16, heads=2, layers=layers, window=8))
    users, logits, items = model(batch)
    assert len(model.blocks) == layers
    for vectors in (users, items):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))
    logits.sum().backward()
    assert torch.isfinite(model.faces_of_item.weight.grad).all()


def test_depths_outside_4_to_24_are_refused() -> None:
    with pytest.raises(ValueError, match="4 to 24"):
        ModelConfig(items=1, layers=3)


def test_no_history_is_an_answer(checkpoint: Checkpoint) -> None:
    model, moment = checkpoint.model, torch.zeros(1, 9)
    nothing, device = torch.zeros(1, 384), torch.zeros(1, dtype=torch.int64)
    with torch.inference_mode():
        none = torch.zeros(1, 0, dtype=torch.int64)
        empty = torch.zeros(1, 0, 384), torch.zeros(1, 0, 128), none, none, torch.zeros(1, 0, 11), none.int()
        hidden = model.encode(*empty)
        user = model.user(model.states(hidden)[:, -1], moment, device, nothing)
    assert hidden.shape == (1, 0, model.config.hidden)
    torch.testing.assert_close(user.norm(), torch.tensor(1.0))
