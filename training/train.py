"""The training loop: windows → losses → steps, one validation per epoch, the best weights kept.

All randomness follows from the seed, the epoch and the step, or from torch's random state, which is saved: a run that
was killed resumes to the identical result.
"""

import hashlib
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from runtime.personalization.item_identity import signatures
from runtime.personalization.sequence_features import DAYS_TO_EVENT_KEY, id_weight
from training.batches import ScoredBatch, Windows
from training.checkpoint import BEST, Checkpoint, RunState, load_run, remove_runs, save_run
from training.data.events import SKIP, Dataset
from training.data.split import joined_with_mask
from training.errors import TrainingError
from training.held_out import held_out_sample
from training.id_embeddings import factorised_id_embeddings
from training.losses import action_loss, contrastive_loss, item_loss
from training.model import SequenceModel
from training.recipes import Recipe

SAVE_EVERY_S = 60.0
VALIDATION_WINDOWS = 600  # at most: validation runs once per epoch
BAR_EVERY_S, BAR_IN_FILE_EVERY_S = 0.2, 30.0  # a progress bar in a log file should not fill it
_TOP = 10


@dataclass(frozen=True)
class Validation:
    """loss: the training loss on scored events. hit_rate: HR@10 of engaged events among all items of the log, by the
    user vector. accuracy: of the action, given the item."""

    loss: float
    action_loss: float
    item_loss: float
    accuracy: float
    hit_rate: float
    events: int


@dataclass(frozen=True, eq=False)
class Outputs:
    """For the N scored events of a batch: user vectors (N, D), action logits (N, 4); item vectors (I, D)."""

    users: Tensor
    logits: Tensor
    items: Tensor


def losses(model: SequenceModel, batch: ScoredBatch, recipe: Recipe) -> tuple[dict[str, Tensor], Outputs]:
    """The parts of the loss on the scored events of a batch, with their weighted sum as "loss"."""
    users, logits, items = model(batch)
    scale = model.scale.exp().clamp(max=100)
    anchors = users[batch.anchor_window, batch.anchor_position]
    users, logits, action = users[batch.scored], logits[batch.scored], batch.action[batch.scored]
    weights = torch.tensor(recipe.loss.item, device=action.device)[action]
    target = action if batch.expected is None else batch.expected[batch.scored]
    parts = {
        "action": action_loss(logits, target, recipe.loss.action),
        "item": item_loss(users, batch.item[batch.scored], weights, items, scale, negatives=batch.negatives),
        "contrastive": contrastive_loss(anchors, batch.engaged, batch.skipped, items, scale),
    }
    wanted = parts["item"] + recipe.loss.contrastive * parts["contrastive"]
    parts["loss"] = parts["action"] + recipe.loss.next_item * wanted
    return parts, Outputs(users, logits, items)


def step(
    model: SequenceModel, optimizer: torch.optim.Optimizer, batch: ScoredBatch, recipe: Recipe, number: int, steps: int
) -> dict[str, float]:
    """One optimiser step; returns the parts of the loss before it. number: of the step, of `steps` in all.

    Raises TrainingError for a loss that is not finite, before any weight changes.
    """
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, number, steps) * group["rate_factor"]
    parts, _ = losses(model, batch.to(device_of(model)), recipe)
    if not torch.isfinite(parts["loss"]):
        found = ", ".join(f"{name} {part.item():.4g}" for name, part in parts.items())
        raise TrainingError(
            f"the loss of step {number} is not finite ({found}); no weight was changed. Check the data for vectors or "
            "durations that are not finite, or lower the learning rate"
        )
    optimizer.zero_grad(set_to_none=True)
    parts["loss"].backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    return {name: part.item() for name, part in parts.items()}


def learning_rate(recipe: Recipe, number: int, steps: int) -> float:
    """Linear warm-up to the peak, then a cosine over all `steps` down to a tenth of it."""
    if number < recipe.warmup:
        return recipe.learning_rate * (number + 1) / recipe.warmup
    share = min((number - recipe.warmup) / max(steps - recipe.warmup, 1), 1.0)
    return recipe.learning_rate * (0.55 + 0.45 * math.cos(math.pi * share))


@torch.inference_mode()
def validate(model: SequenceModel, windows: Windows, recipe: Recipe) -> Validation:
    """Losses, accuracy and HR@10 over the scored events of these windows. Raises TrainingError where none is scored."""
    model.eval()
    whole: Tensor | None = None
    sums, events, engaged, hits, right = dict.fromkeys(("loss", "action", "item"), 0.0), 0, 0, 0, 0
    for batch in (one.to(device_of(model)) for one in windows.in_order(recipe.batch)):
        parts, found = losses(model, batch, recipe)
        action, item = batch.action[batch.scored], batch.item[batch.scored]
        for name in sums:
            sums[name] += parts[name].item() * len(action)
        right += int((found.logits.argmax(1) == action).sum())
        wanted, items = action != SKIP, found.items
        if batch.negatives is not None:  # HR@10 is over all items, not those of the batch
            whole = model.items() if whole is None else whole
            item, items = batch.catalogue[item], whole
        scores = found.users[wanted] @ items.T  # (N, I)
        better = scores > scores.gather(1, item[wanted][:, None])
        hits += int((better.sum(1) < _TOP).sum())
        events, engaged = events + len(action), engaged + int(wanted.sum())
    if not events:
        raise TrainingError("no event of the validation set can be scored; give it a later share of the log")
    return Validation(
        loss=sums["loss"] / events,
        action_loss=sums["action"] / events,
        item_loss=sums["item"] / events,
        accuracy=right / events,
        hit_rate=hits / max(engaged, 1),
        events=events,
    )


def new_model(recipe: Recipe, dataset: Dataset) -> SequenceModel:
    """A model initialised from the recipe's seed, for the items of a data set."""
    torch.manual_seed(recipe.seed)
    model = SequenceModel(recipe.model(items=len(dataset.catalogue)))
    weight = id_weight(interactions(dataset), recipe.id_half)
    model.content_mean = torch.from_numpy(dataset.catalogue.vectors).mean(0)
    model.set_items(torch.from_numpy(dataset.catalogue.vectors), torch.from_numpy(weight))
    return model


def with_items_of(start: Checkpoint, dataset: Dataset) -> tuple[SequenceModel, NDArray[np.int64]]:
    """The weights of a checkpoint with the items of another data set, and their interactions int64 [items].

    Known ids keep their embedding and at least their count; new items start as their text.
    """
    torch.manual_seed(start.recipe.seed)
    model = SequenceModel(start.recipe.model(items=len(dataset.catalogue)))
    row_of = {id: row for row, id in enumerate(start.ids)}
    counts = interactions(dataset)
    embeddings = torch.zeros(len(dataset.catalogue), start.recipe.id_rank)
    for row, id in enumerate(dataset.catalogue.ids):
        if (old := row_of.get(id)) is not None:
            embeddings[row] = start.model.content_vector.id_embedding.weight[old].detach()
            counts[row] = max(counts[row], start.interactions[old])
    weight = torch.from_numpy(id_weight(counts, start.recipe.id_half))
    state = {"content_vector.id_embedding.weight": embeddings, "content_vector.id_weight": weight}
    model.load_state_dict(start.model.state_dict() | state)
    model.set_items(torch.from_numpy(dataset.catalogue.vectors), weight)
    return model, counts


def usable_device(name: str) -> torch.device:
    """The device of this name, cpu or cuda. Raises TrainingError where it is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no GPU is usable here: leave out --device cuda, the recipes run on a CPU too")
    return torch.device(name)


def device_of(model: SequenceModel) -> torch.device:
    """The device of the model's parameters."""
    return model.scale.device


def initialise_ids(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> None:
    """Set the id embeddings to `factorised_id_embeddings`, given what the model predicts without any."""
    embeddings = model.content_vector.id_embedding.weight
    embeddings.data.zero_()
    embeddings.data.copy_(torch.from_numpy(factorised_id_embeddings(model, dataset, recipe)))


def interactions(dataset: Dataset) -> NDArray[np.int64]:
    """How often each item occurs in the events, int64 [items]."""
    return np.bincount(dataset.events.item, minlength=len(dataset.catalogue)).astype(np.int64)


def train(
    training: Dataset,
    validation: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    start: Checkpoint | None = None,
    new: NDArray[np.bool_] | None = None,
    replay: float = 0.5,
    expected: NDArray[np.float32] | None = None,
    save_every_s: float = SAVE_EVERY_S,
    progress: bool = True,
    device: str = "cpu",
) -> Checkpoint:
    """Train until the validation loss stops falling. Writes the best weights to `out/best` and returns them.

    An unfinished run in `out` is resumed. start: fine-tune these weights. new: bool [events], the events of `training`
    that are new since then: each epoch has all of them, and `replay` times as many windows of older events, so that
    what was learned is not forgotten.

    expected: float32 [events, 4], probabilities of the action at each event of `training`, to train on in place of the
    one that was drawn. Validation is on what was drawn.

    device: cpu or cuda; the returned model is on it. A resumed run is identical on the CPU alone: the random state of a
    GPU is not saved.

    Raises TrainingError.
    """
    windows, older = Windows(training, recipe.context, new, recipe.negatives, expected), None
    if new is not None and replay > 0 and not new.all():
        older = Windows(training, recipe.context, ~new, recipe.negatives, expected)
    both, scored = joined_with_mask(training, validation)
    held_out = Windows(both, recipe.context, scored, recipe.negatives).limited_to(VALIDATION_WINDOWS)
    if start is None:
        model, counts = new_model(recipe, training), interactions(training)
    else:
        model, counts = with_items_of(start, training)
    model.to(usable_device(device))
    catalogue = training.catalogue
    data = fingerprint(training, validation)
    checkpoint = Checkpoint(model, recipe, data, list(catalogue.ids), counts, signatures(catalogue.vectors))
    checkpoint.sample = held_out_sample(both, scored)
    optimizer = optimizer_of(model, recipe)
    state = load_run(out, checkpoint, optimizer) or RunState()
    if start is not None and state.step == 0:  # the loss before fine-tuning, to measure what is forgotten
        checkpoint.metrics.append({"epoch": 0, "step": 0, "validation": vars(validate(model, held_out, recipe))})
    factorise_before = 1  # the epoch before which id embeddings are initialised, −1 for never
    if start is not None:
        factorise_before = -1 if set(start.ids) & set(catalogue.ids) else 0  # known id embeddings are kept
    order = epoch_order(windows, older, recipe, state.epoch, replay)
    steps = recipe.epochs * len(order)
    bar = tqdm(
        total=steps, initial=state.step, unit="step", disable=not progress, dynamic_ncols=True,
        mininterval=BAR_EVERY_S if sys.stderr.isatty() else BAR_IN_FILE_EVERY_S,
    )  # fmt: skip
    saved = started = time.monotonic()
    while state.epoch < recipe.epochs and state.waited < recipe.patience:
        if recipe.factorised_ids and state.step_in_epoch == 0 and state.epoch == factorise_before:
            initialise_ids(model, training, recipe)
        while state.step_in_epoch < len(order):
            source, chosen = order[state.step_in_epoch]
            batch = source.batch(chosen, (recipe.seed, state.epoch, state.step_in_epoch))
            found = step(model, optimizer, batch, recipe, state.step, steps)
            state.count(found)
            if recipe.averaged and state.epoch > 0:
                state.average_in(model)
            bar.set_postfix(epoch=f"{state.epoch + 1}/{recipe.epochs}", loss=f"{found['loss']:.3f}", refresh=False)
            bar.update()
            if time.monotonic() - saved > save_every_s:
                saved = time.monotonic()
                state.seconds, started = state.seconds + saved - started, saved
                save_run(out, checkpoint, optimizer, state)
        with _weights(model, state.mean):
            seen = validate(model, held_out, recipe)
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        saved = time.monotonic()
        state.seconds, started = state.seconds + saved - started, saved
        checkpoint.metrics.append(state.record(vars(seen)))
        if seen.loss < state.best_loss:
            state.best_loss, state.waited = seen.loss, 0
            state.best = weights
        else:
            state.waited += 1
        state.next_epoch()
        save_run(out, checkpoint, optimizer, state)
        checkpoint.save(out / BEST, state.best)
        order = epoch_order(windows, older, recipe, state.epoch, replay)
        if progress:
            bar.write(
                f"epoch {state.epoch}: validation loss {seen.loss:.4f} (action {seen.action_loss:.4f}, item "
                f"{seen.item_loss:.4f}), accuracy {seen.accuracy:.1%}, HR@{_TOP} {seen.hit_rate:.1%}, "
                f"{tqdm.format_interval(state.seconds)}" + (", best so far" if state.waited == 0 else ""),
                file=sys.stderr,
            )
    bar.close()
    model.load_state_dict(state.best)
    remove_runs(out)
    model.eval()
    return checkpoint


@contextmanager
def _weights(model: SequenceModel, weights: dict[str, Tensor]) -> Iterator[None]:
    """The model with these weights, if there are any, and with its own again when the block ends."""
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights or own)
    yield
    model.load_state_dict(own)


def optimizer_of(model: SequenceModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices and id embeddings, none on biases, norms and scales. rate_factor: of each
    group's learning rate."""
    ids = model.content_vector.id_embedding.weight
    decayed = [p for p in model.parameters() if p.dim() >= 2 and p is not ids and p.numel()]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay, "rate_factor": 1.0},
        {"params": others, "weight_decay": 0.0, "rate_factor": 1.0},
        {
            "params": [ids] if ids.numel() else [],
            "weight_decay": recipe.weight_decay,
            "rate_factor": recipe.id_rate_factor,
        },
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def epoch_order(
    windows: Windows, older: Windows | None, recipe: Recipe, epoch: int, replay: float
) -> list[tuple[Windows, NDArray[np.int64]]]:
    """The batches of an epoch: all of `windows`, and `replay` times as many of the older ones, shuffled by the seed."""
    order = [(windows, chosen) for chosen in windows.shuffled(recipe.batch, (recipe.seed, epoch))]
    if older is not None:
        replayed = older.shuffled(recipe.batch, (recipe.seed, epoch, 1))[: math.ceil(replay * len(order))]
        order += [(older, chosen) for chosen in replayed]
        order = [order[n] for n in np.random.default_rng((recipe.seed, epoch, 2)).permutation(len(order))]
    return order


def fingerprint(training: Dataset, validation: Dataset) -> dict[str, Any]:
    """What a run is trained on, as checkpoints record it: names, sizes and a SHA-256 of all events; `days_to_event_key`
    where it is not the default."""
    digest = hashlib.sha256()
    for events in (training.events, validation.events):
        for name in sorted(vars(events)):
            digest.update(getattr(events, name).tobytes())
    key = training.days_to_event_key
    return ({} if key == DAYS_TO_EVENT_KEY else {"days_to_event_key": key}) | {
        "name": training.name,
        "licence": training.licence,
        "users": len(training.users),
        "items": len(training.catalogue),
        "training_events": len(training.events),
        "validation_events": len(validation.events),
        "sha256": digest.hexdigest(),
    }
