"""The sequence model as a recommender under comparison: same checkpoint, loss and features as the served model."""

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.personalization.sequence_features import event_date_us, features, query_contexts, seconds
from training.checkpoint import BEST, Checkpoint
from training.data.events import Dataset, Histories
from training.data.split import joined
from training.evaluation.protocol import Scores
from training.model import Candidates, EncodedHistory, History, ItemProjections, QueryContext, SequenceModel, UserState
from training.recipes import RECIPES, Recipe, fine_tuning
from training.refit import refitted
from training.train import fingerprint, train, usable_device, with_items_of

MAX_EVENTS = 200  # the newest of a history that are read, as export sets it for the server
# Queries: with more, attention scores of long histories no longer fit a CPU's cache, 2.5 times as slow
_BATCH, _BATCH_ON_GPU = 32, 256
_CODE = ("batches", "id_embeddings", "layers", "losses", "model", "model_config", "train")


class SequenceRecommender:
    """Trains a model on the given data, from random weights or from a checkpoint.

    start   checkpoint to fine-tune
    out     folder of the run (default: a temporary one)
    refit   after the best epoch is selected, train one more epoch on train and validation together, as baselines are
            refitted on both; without it nothing is fitted on validation
    settings_tried  recipes compared on validation, for the report
    keep    folder that keeps trained weights under a digest of recipe, start, data and code, to be loaded next time
    device  cpu or cuda, for training and predictions
    progress  show the training's progress bar
    """

    def __init__(
        self,
        recipe: Recipe,
        start: Checkpoint | None = None,
        out: Path | None = None,
        *,
        name: str | None = None,
        refit: bool = False,
        settings_tried: int = 0,
        keep: Path | None = None,
        device: str = "cpu",
        progress: bool = True,
    ) -> None:
        self.name = name or f"sequence ({recipe.name})"
        self.checkpoint: Checkpoint | None = None
        self.choice: dict[str, Any] = {}
        self.settings_tried = settings_tried
        self._recipe = recipe
        self._start = start
        self._out = out
        self._refit = refit
        self._keep = keep
        self._device, self._progress = device, progress
        self._batch = _BATCH if device == "cpu" else _BATCH_ON_GPU
        self._vectors: dict[tuple[int, bytes], Scores] = {}

    def fit(self, train: Dataset, validation: Dataset) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            out = self._out or Path(scratch)
            if self._keep:
                out = self._keep / _digest(self._recipe, self._start, fingerprint(train, validation))
            complete = out / "complete"  # exists once the training has ended
            if complete.exists():
                self.checkpoint = Checkpoint.load(out / BEST)
            else:
                self.checkpoint = _train(
                    train, validation, self._recipe, out, self._start, self._device, self._progress
                )
                complete.touch()
        self._training_part = train
        self._vectors.clear()
        self.choice = {"recipe": self._recipe.name, "epochs": best_epoch(self.checkpoint)}
        self._final = self.checkpoint.model
        if self._refit:
            self._final = refitted(self.checkpoint, joined(train, validation), self._device).model
        self._use(self._final, train)

    def learn(self, data: Dataset) -> None:
        """As a part of a blend, after `fit`: use the weights that have not seen validation for the training part, and
        the final ones for any other data."""
        assert self.checkpoint is not None
        self._use(self.checkpoint.model if data is self._training_part else self._final, data)

    def _use(self, model: SequenceModel, data: Dataset) -> None:
        self._model = model.to(usable_device(self._device))
        self._preference_embedding = data.preference_embedding
        metadata = self._tensor(data.catalogue.vectors)
        with torch.inference_mode():
            rows = torch.arange(len(data.catalogue), device=metadata.device)
            content = model.content_vector(metadata, rows)  # (I, C)
            self._content_size = content.shape[1]
            self._projections = model.project(content)  # (I, …)
            self._items = model.item(content)  # (I, D)

    @property
    def item_vectors(self) -> Scores:
        """Of the catalogue, float32 [items, 128], unit rows."""
        vectors: Scores = self._items.cpu().numpy()
        return vectors

    @property
    def run(self) -> str:
        """See `Checkpoint.run`."""
        assert self.checkpoint is not None
        return self.checkpoint.run

    @property
    def min_events(self) -> int:
        """Users with fewer events are not for this model, see `Recipe`."""
        return self._recipe.min_events

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """float32 [b, items]: cosines with the user vectors."""
        scores: Scores = self.user_vectors(histories, now_us, device) @ self.item_vectors.T
        return scores

    def user_vectors(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """float32 [b, 128], unit rows. Cached, because blends ask for the same vectors as the model alone."""
        events = histories.events
        arguments = (histories.starts, histories.ends, histories.users, now_us, device, events.item, events.action)
        key = (
            id(getattr(self, "_model", None)),
            b"".join(hashlib.sha256(part.tobytes()).digest() for part in arguments),
        )
        if key not in self._vectors:
            self._vectors[key] = self._user_vectors(histories, now_us, device)
        return self._vectors[key]

    @torch.inference_mode()
    def _user_vectors(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        vectors = np.zeros((len(histories), self._items.shape[1]), np.float32)
        for part in _parts(histories, self._batch):
            queries = self._encode(histories, part, now_us, device)
            vectors[part] = self._model.user(queries.user, queries.context).cpu().numpy()
        return vectors

    @torch.inference_mode()
    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        """float32 [b, 4]: item i shown to history i."""
        probabilities = np.zeros((len(histories), 4), np.float32)
        one = (slice(None), None)  # one candidate per query
        for part in _parts(histories, self._batch):
            queries = self._encode(histories, part, now_us, device)
            shown = self._tensor(items[part].astype(np.int64))
            vector = self._model.user(queries.user, queries.context)  # (b, D)
            candidates = self._model.candidates(
                ItemProjections(*(projection[shown][:, None] for projection in self._projections)),
                queries.user.at(*one),
                vector[:, None],
                QueryContext(*(value[:, None] for value in queries.context)),
            )  # (b, 1, …)
            by_history = Candidates(*(queries.by_history(value[:, 0]) for value in candidates))  # (U, N, …)
            position, now_s = queries.by_history(queries.position), queries.by_history(queries.now_s)
            logits = self._model.action(queries.encoded, by_history, position, now_s)  # (U, N, 4)
            probabilities[part] = torch.softmax(logits[queries.row, queries.place], dim=-1).cpu().numpy()
        return probabilities

    def _encode(
        self, histories: Histories, part: NDArray[np.int64], now_us: NDArray[np.int64], device: NDArray[np.int8]
    ) -> "_Queries":
        """The queries of `part`. Prefixes of one history share the encoding of the longest: the encoder is causal."""
        starts, ends = _newest(histories)
        starts, ends, now_us = starts[part], ends[part], now_us[part]
        begins, row = np.unique(starts, return_inverse=True)
        stops = np.array([ends[row == n].max() for n in range(len(begins))], np.int64)
        longest = [_prefix(histories, int(a), int(b)) for a, b in zip(begins, stops, strict=True)]
        size = max(1, *(len(one.time_us) for one in longest))  # a masked event where there is none
        origin_us = np.array([one.time_us[0] if len(one.time_us) else 0 for one in longest])
        since = np.stack(
            [seconds(_padded(one.time_us, size), int(o)) for one, o in zip(longest, origin_us, strict=True)]
        )
        item, action, device_codes = (
            self._tensor(np.stack([_padded(getattr(one, name), size) for one in longest]).astype(np.int64))
            for name in ("item", "action", "device")
        )
        event_features = self._tensor(np.stack([_padded(one.features, size) for one in longest]))
        projections = ItemProjections(*(projection[item] for projection in self._projections))
        encoded = self._model.encode(
            History(projections, self._items[item], action, device_codes, event_features, self._tensor(since))
        )  # (U, T, …)
        length = ends - starts
        empty = length == 0
        origin_us = np.where(empty, now_us, origin_us[row])
        previous_us = np.where(empty, -1, [_last(longest[u].time_us, n) for u, n in zip(row, length, strict=True)])
        event_us = np.where(empty, np.nan, [_last(longest[u].event_us, n) for u, n in zip(row, length, strict=True)])
        preferences = np.zeros((len(part), self._content_size), np.float32)
        if self._preference_embedding is not None:
            preferences = self._preference_embedding[histories.users[part]]
        rows, lengths = self._tensor(row), self._tensor(length)
        return _Queries(
            row=rows,
            place=self._tensor(_place_in_group(row)),
            encoded=encoded,
            user=self._model.states(encoded).at(rows, lengths),
            context=QueryContext(
                features=self._tensor(query_contexts(now_us, previous_us, event_us)),
                device=self._tensor(device[part].astype(np.int64)),
                preference_embedding=self._tensor(preferences),
            ),
            position=lengths,
            now_s=self._tensor(np.array([seconds(t, int(o)) for t, o in zip(now_us, origin_us, strict=True)])),
        )


@dataclass(frozen=True, eq=False)
class _Queries:
    """b queries on U encoded histories. row (b,): of the history; place (b,): among the queries of the history, of
    which none has more than N; encoded (U, T, …); user and context (b, …); position and now_s (b,)."""

    row: Tensor
    place: Tensor
    encoded: EncodedHistory
    user: UserState
    context: QueryContext
    position: Tensor
    now_s: Tensor

    def by_history(self, values: Tensor) -> Tensor:
        """Values (b, …) of the queries → (U, N, …), zeros where a history has fewer queries."""
        table = values.new_zeros(len(self.encoded.packed), int(self.place.max()) + 1, *values.shape[1:])
        table[self.row, self.place] = values
        return table


@dataclass(frozen=True, eq=False)
class _Prefix:
    """The events of a history that are encoded: arrays [n], features [n, EVENT], event_us [n]."""

    item: NDArray[np.int32]
    action: NDArray[np.int8]
    device: NDArray[np.int8]
    time_us: NDArray[np.int64]
    features: NDArray[np.float32]
    event_us: NDArray[np.float64]


class GivenCheckpoint(SequenceRecommender):
    """A checkpoint as it is, as the server has it: nothing is trained."""

    def __init__(self, checkpoint: Checkpoint, *, name: str) -> None:
        super().__init__(checkpoint.recipe, name=name)
        self.checkpoint = checkpoint

    def fit(self, train: Dataset, validation: Dataset) -> None:
        assert self.checkpoint is not None
        nothing = train.with_events(train.events.take(slice(0, 0)))  # ids weigh as they do in the checkpoint
        model, _ = with_items_of(self.checkpoint, nothing)
        self._final = model.eval()
        self._use(self._final, train)

    def learn(self, data: Dataset) -> None:
        """Nothing: the weights stay."""


class GivenRun(SequenceRecommender):
    """A run of `vows-edge train --events` as it is: `validated` are the weights that have not seen the validation part,
    `final` those that have."""

    def __init__(self, validated: Checkpoint, final: Checkpoint, *, name: str) -> None:
        super().__init__(final.recipe, name=name)
        self._validated, self._given = validated, final

    def fit(self, train: Dataset, validation: Dataset) -> None:
        nothing = train.with_events(train.events.take(slice(0, 0)))  # ids weigh as they do in the checkpoint
        before, after = (with_items_of(one, nothing)[0].eval() for one in (self._validated, self._given))
        self.checkpoint = replace(self._validated, model=before)
        self._final, self._training_part = after, train
        self._use(after, train)


def recommender(checkpoint: str, seed: int = 0) -> SequenceRecommender:
    """For `evaluate --recommender training.evaluation.sequence:recommender=checkpoints/reference`: the recipe of a
    checkpoint, or one of RECIPES, trained on each data set from random weights."""
    if checkpoint in RECIPES:
        return SequenceRecommender(replace(RECIPES[checkpoint](), seed=seed), refit=True)
    found = Checkpoint.load(Path(checkpoint))
    return SequenceRecommender(replace(found.recipe, seed=seed))


def fine_tuned(checkpoint: str, seed: int = 0) -> SequenceRecommender:
    """For `evaluate simulated --recommender training.evaluation.sequence:fine_tuned=checkpoints/reference`: a
    checkpoint, fine-tuned to the past of each world."""
    start = Checkpoint.load(Path(checkpoint))
    return SequenceRecommender(replace(fine_tuning(start.recipe), seed=seed), start, refit=True)


def best_epoch(checkpoint: Checkpoint) -> int:
    """The epoch with the best validation loss, counted from 1."""
    curve = [line for line in checkpoint.metrics if line["epoch"] > 0]
    return int(min(curve, key=lambda line: line["validation"]["loss"])["epoch"])


def _digest(recipe: Recipe, start: Checkpoint | None, data: dict[str, Any]) -> str:
    """Of what determines the weights: the recipe, what is fine-tuned, the data and the code that trains."""
    digest = hashlib.sha256(repr((recipe.parameters(), data)).encode())
    if start is not None:
        digest.update("".join(start.lineage).encode())
    for name in _CODE:
        digest.update((Path(__file__).parents[1] / f"{name}.py").read_bytes())
    return f"{recipe.name}-{recipe.seed}-{digest.hexdigest()[:12]}"


def _train(
    training: Dataset,
    validation: Dataset,
    recipe: Recipe,
    out: Path,
    start: Checkpoint | None,
    device: str,
    progress: bool,
) -> Checkpoint:
    """Under a name that `fit` does not shadow with its argument."""
    return train(training, validation, recipe, out, start=start, device=device, progress=progress)


def _prefix(histories: Histories, start: int, end: int) -> _Prefix:
    own = histories.events.take(slice(start, end))
    first = np.arange(len(own)) == 0
    return _Prefix(
        item=own.item,
        action=own.action,
        device=own.device,
        time_us=own.time_us,
        features=features(own.time_us, own.duration_ms, own.days_to_event, first).events,
        event_us=event_date_us(own.time_us, own.days_to_event, first),
    )


def _newest(histories: Histories) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the newest MAX_EVENTS of each history."""
    long = histories.ends - histories.starts > MAX_EVENTS
    return np.where(long, histories.ends - MAX_EVENTS, histories.starts), histories.ends


def _parts(histories: Histories, size: int = _BATCH) -> list[NDArray[np.int64]]:
    """The histories in batches: those that start at one row together, and of similar length."""
    starts, ends = _newest(histories)
    _, group = np.unique(starts, return_inverse=True)
    longest = np.zeros(len(starts), np.int64)  # of each group
    np.maximum.at(longest, group, ends - starts)
    order = np.lexsort((ends, starts, longest[group]))
    return [part for part in np.split(order, range(size, len(order), size)) if len(part)]


def _place_in_group(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry its number among those of its group, from 0."""
    order = np.argsort(groups, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    return places


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """The last row repeated up to `size` rows; zeros where there is none."""
    missing = size - len(values)
    if missing <= 0:
        return values
    last = values[-1:] if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)
    return np.concatenate([values, np.repeat(last, missing, axis=0)])


def _last(values: NDArray[Any], length: int) -> Any:
    """The last of the first `length` values, 0 where there is none."""
    return values[length - 1] if length else 0
