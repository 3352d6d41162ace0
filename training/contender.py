"""The sequence model under the evaluation's protocol: the same checkpoint, loss and features as what is served."""

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.personalization.sequence_features import features, moments, seconds, wedding_us
from training.checkpoint import BEST, Checkpoint
from training.data.events import Dataset, Histories
from training.evaluation.baselines.tuned import joined
from training.model import SequenceModel
from training.recipes import RECIPES, Recipe, going_on
from training.train import epoch_order, fingerprint, grown, optimizer_of, step, train
from training.windows import Windows

MAX_EVENTS = 200  # the newest of a history that are read, as export sets it for the server
_REFRESH = 0.3  # of the learning rate's peak, when chosen weights see the validation events too
_AT_ONCE = 32  # moments: with more, scores of long histories take new pages of the kernel each time, 2.5 times as slow

Scores = NDArray[np.float32]


class SequenceContender:
    """Trains a model of its own on what it is given; starts from a checkpoint where it has one, for the shared parts.

    Validation chooses the epoch. `again`: the chosen weights then see train and validation together for one epoch, as
    baselines are fitted on both; without it nothing is fitted on validation. tried: recipes compared on validation.
    keep: a folder where trained weights stay, under a digest of recipe, data and code, and are found again.
    """

    def __init__(
        self,
        recipe: Recipe,
        start: Checkpoint | None = None,
        out: Path | None = None,
        *,
        name: str | None = None,
        again: bool = False,
        tried: int = 0,
        keep: Path | None = None,
    ) -> None:
        self.name = name or f"sequence ({recipe.name})"
        self.checkpoint: Checkpoint | None = None
        self.choice: dict[str, Any] = {}
        self.tried = tried
        self._recipe = recipe
        self._start = start
        self._out = out
        self._again = again
        self._keep = keep
        self._kept: dict[tuple[int, bytes], Scores] = {}

    def fit(self, train: Dataset, validation: Dataset) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            out = self._out or Path(scratch)
            if self._keep:
                out = self._keep / _digest(self._recipe, fingerprint(train, validation))
            whole = out / "whole"  # there once the training has ended
            if whole.exists():
                self.checkpoint = Checkpoint.load(out / BEST)
            else:
                self.checkpoint = _train(train, validation, self._recipe, out, self._start)
                whole.touch()
        self._train = train
        self._kept.clear()
        self.choice = {"recipe": self._recipe.name, "epochs": best_epoch(self.checkpoint)}
        self._final = self.checkpoint.model
        if self._again:
            self._final = refreshed(self.checkpoint, joined(train, validation))
        self._answer_with(self._final, train)

    def learn(self, data: Dataset) -> None:
        """As a part of a blend, after `fit`: on the training part, the weights that have not seen validation; on any
        other data, the final ones."""
        assert self.checkpoint is not None
        self._answer_with(self.checkpoint.model if data is self._train else self._final, data)

    def _answer_with(self, model: SequenceModel, data: Dataset) -> None:
        self._stated = data.stated
        self._model = model
        self._metadata = torch.from_numpy(data.catalogue.vectors)
        with torch.inference_mode():
            self._learned = model.learned(self._metadata, torch.arange(len(data.catalogue)))  # (I, C)
            self._items = model.item(self._learned)  # (I, D)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """float32 [b, items]: cosines with the user vectors."""
        scores: Scores = self.user_vectors(histories, now_us, device) @ self._items.numpy().T
        return scores

    def user_vectors(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """float32 [b, 128], unit rows. Kept: blends ask again for what was asked of the model alone."""
        events = histories.events
        asked = (histories.starts, histories.ends, histories.users, now_us, device, events.item, events.action)
        key = (id(self._model), b"".join(hashlib.sha256(part.tobytes()).digest() for part in asked))
        if key not in self._kept:
            self._kept[key] = self._user_vectors(histories, now_us, device)
        return self._kept[key]

    @torch.inference_mode()
    def _user_vectors(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        vectors = np.zeros((len(histories), self._items.shape[1]), np.float32)
        for part in _parts(histories):
            now = self._at(histories, part, now_us, device)
            vectors[part] = self._model.user(now.state, now.moment, now.device, now.stated).numpy()
        return vectors

    @torch.inference_mode()
    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        """float32 [b, 4]: item i shown to history i."""
        probabilities = np.zeros((len(histories), 4), np.float32)
        for part in _parts(histories):
            now = self._at(histories, part, now_us, device)
            shown = self._learned[torch.from_numpy(items[part].astype(np.int64))]  # (b, C)
            user = self._model.user(now.state, now.moment, now.device, now.stated)  # (b, D)
            candidate = self._model.candidate(
                shown[:, None], now.state[:, None], user[:, None], now.moment[:, None], now.device[:, None]
            )[:, 0]  # (b, d + M)
            candidate, position, now_s = (now.by_history(of) for of in (candidate, now.position, now.now_s))
            logits = self._model.action(now.hidden, now.seconds, candidate, position, now_s)  # (U, N, 4)
            probabilities[part] = torch.softmax(logits[now.row, now.place], dim=-1).numpy()
        return probabilities

    def _at(
        self, histories: Histories, part: NDArray[np.int64], now_us: NDArray[np.int64], device: NDArray[np.int8]
    ) -> "_Now":
        """The moments of `part`. Prefixes of one history are read off one encoding of the longest: it is causal."""
        starts, ends = _newest(histories)
        starts, ends, now_us = starts[part], ends[part], now_us[part]
        begins, row = np.unique(starts, return_inverse=True)
        stops = np.array([ends[row == n].max() for n in range(len(begins))], np.int64)
        encoded = [self._features(histories, int(a), int(b)) for a, b in zip(begins, stops, strict=True)]
        size = max(1, *(len(one.time_us) for one in encoded))  # one event that nobody sees where there is none
        origin_us = np.array([one.time_us[0] if len(one.time_us) else 0 for one in encoded])
        since = np.stack(
            [seconds(_padded(one.time_us, size), int(o)) for one, o in zip(encoded, origin_us, strict=True)]
        )
        item, action, codes = (
            torch.from_numpy(np.stack([_padded(getattr(one, name), size) for one in encoded]).astype(np.int64))
            for name in ("item", "action", "device")
        )
        events = torch.from_numpy(np.stack([_padded(one.events, size) for one in encoded]))
        content, items = self._learned[item], self._items[item]
        hidden = self._model.encode(content, items, action, codes, events, torch.from_numpy(since))  # (U, T, h)
        length = ends - starts
        empty = length == 0
        origin_us = np.where(empty, now_us, origin_us[row])
        previous_us = np.where(empty, -1, [_at(encoded[u].time_us, n - 1) for u, n in zip(row, length, strict=True)])
        wedding = np.where(empty, np.nan, [_at(encoded[u].wedding, n - 1) for u, n in zip(row, length, strict=True)])
        stated = np.zeros((len(part), self._metadata.shape[1]), np.float32)
        if self._stated is not None:
            stated = self._stated[histories.users[part]]
        rows, lengths = torch.from_numpy(row), torch.from_numpy(length)
        return _Now(
            row=rows,
            place=torch.from_numpy(_places(row)),
            state=self._model.states(hidden)[rows, lengths],
            hidden=hidden,
            seconds=torch.from_numpy(since),
            position=lengths,
            now_s=torch.from_numpy(np.array([seconds(t, int(o)) for t, o in zip(now_us, origin_us, strict=True)])),
            moment=torch.from_numpy(moments(now_us, previous_us, wedding)),
            device=torch.from_numpy(device[part].astype(np.int64)),
            stated=torch.from_numpy(stated),
        )

    def _features(self, histories: Histories, start: int, end: int) -> "_Encoded":
        own = histories.events.take(slice(start, end))
        first = np.arange(len(own)) == 0
        return _Encoded(
            item=own.item,
            action=own.action,
            device=own.device,
            time_us=own.time_us,
            events=features(own.time_us, own.duration_ms, own.days_to_wedding, first).events,
            wedding=wedding_us(own.time_us, own.days_to_wedding, first),
        )


@dataclass(frozen=True, eq=False)
class _Now:
    """b moments in U histories. row (b,): of the history; place (b,): among its moments, of which none has more than N;
    hidden (U, T, h), seconds (U, T); state (b, s), position, now_s, device (b,), moment (b, MOMENT), stated (b, C)."""

    row: Tensor
    place: Tensor
    state: Tensor
    hidden: Tensor
    seconds: Tensor
    position: Tensor
    now_s: Tensor
    moment: Tensor
    device: Tensor
    stated: Tensor

    def by_history(self, values: Tensor) -> Tensor:
        """Values (b, …) of the moments → (U, N, …), zeros where a history has fewer."""
        table = values.new_zeros(len(self.hidden), int(self.place.max()) + 1, *values.shape[1:])
        table[self.row, self.place] = values
        return table


@dataclass(frozen=True, eq=False)
class _Encoded:
    """The longest of some prefixes of one history, arrays [n], events [n, EVENT]."""

    item: NDArray[np.int32]
    action: NDArray[np.int8]
    device: NDArray[np.int8]
    time_us: NDArray[np.int64]
    events: NDArray[np.float32]
    wedding: NDArray[np.float64]


def contender(checkpoint: str, seed: int = 0) -> SequenceContender:
    """For `vows-edge evaluate --contender training.contender:contender=checkpoints/reference`: the recipe of
    a checkpoint, or one named in RECIPES, trained on each data set from its own seed."""
    if checkpoint in RECIPES:
        return SequenceContender(replace(RECIPES[checkpoint](), seed=seed), again=True)
    found = Checkpoint.load(Path(checkpoint))
    return SequenceContender(replace(found.recipe, seed=seed))


def warm_contender(checkpoint: str, seed: int = 0) -> SequenceContender:
    """As `contender`, and training starts from the checkpoint's weights: it knows other worlds, and of this one no more
    than its past."""
    found = Checkpoint.load(Path(checkpoint))
    return SequenceContender(replace(going_on(found.recipe), seed=seed), start=found, again=True)


def best_epoch(checkpoint: Checkpoint) -> int:
    """The one with the best validation loss, counted from 1."""
    curve = [line for line in checkpoint.metrics if line["epoch"] > 0]
    return int(min(curve, key=lambda line: line["validation"]["loss"])["epoch"])


def _digest(recipe: Recipe, data: dict[str, Any]) -> str:
    """Of a training: what it is made from, and the code that makes it."""
    digest = hashlib.sha256(repr((recipe.parameters(), data)).encode())
    for name in ("factors", "layers", "losses", "model", "train", "windows"):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return f"{recipe.name}-{recipe.seed}-{digest.hexdigest()[:12]}"


def refreshed(checkpoint: Checkpoint, data: Dataset) -> SequenceModel:
    """The model of a checkpoint after one epoch over all of `data`, at a low and falling learning rate."""
    recipe = replace(checkpoint.recipe, learning_rate=_REFRESH * checkpoint.recipe.learning_rate, warmup=1)
    model, _ = grown(checkpoint, data)
    optimizer = optimizer_of(model, recipe)
    order = epoch_order(Windows(data, recipe.context), None, recipe, recipe.epochs, 0.0)
    for number, (source, chosen) in enumerate(order):
        batch = source.batch(chosen, (recipe.seed, recipe.epochs, number))
        step(model, optimizer, batch, recipe, number, len(order))
    return model.eval()


def _train(training: Dataset, validation: Dataset, recipe: Recipe, out: Path, start: Checkpoint | None) -> Checkpoint:
    return train(training, validation, recipe, out, start=start)


def _newest(histories: Histories) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the newest MAX_EVENTS of each history."""
    long = histories.ends - histories.starts > MAX_EVENTS
    return np.where(long, histories.ends - MAX_EVENTS, histories.starts), histories.ends


def _parts(histories: Histories) -> list[NDArray[np.int64]]:
    """The histories some at a time, those that start at one row together, and of about the same length."""
    starts, ends = _newest(histories)
    _, group = np.unique(starts, return_inverse=True)
    longest = np.zeros(len(starts), np.int64)  # of each group
    np.maximum.at(longest, group, ends - starts)
    order = np.lexsort((ends, starts, longest[group]))
    return [part for part in np.split(order, range(_AT_ONCE, len(order), _AT_ONCE)) if len(part)]


def _places(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each among those of its group, from 0."""
    order = np.argsort(groups, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    return places


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """The last row again up to `size` rows; zeros where there is none."""
    missing = size - len(values)
    if missing <= 0:
        return values
    last = values[-1:] if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)
    return np.concatenate([values, np.repeat(last, missing, axis=0)])


def _at(values: NDArray[Any], index: int) -> Any:
    return values[index] if index >= 0 else 0
