"""A published sequence model as a recommender: trained, its epochs selected, refitted on everything."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.events import SKIP, Dataset, Events, Histories
from training.data.split import joined
from training.evaluation.baselines.history import popularity
from training.evaluation.baselines.tuned import validation_ndcg, validation_queries
from training.evaluation.protocol import Scores
from training.published.model import PublishedConfig, PublishedModel

_CHECK_EVERY, _PATIENCE = 5, 4  # epochs between two looks at the validation part; looks without a better one
_BATCH = 512  # histories scored at once
_UNMET = -1e4  # score of an item that nobody met in training, where there is no text to know it by
_SECOND_US = 1_000_000


class PublishedRecommender:
    """Reads engaged events alone, as the papers do: skips are left out, and all other actions are one.

    `fit` selects the number of epochs on validation and, with `refit`, trains again on train and validation together,
    from the same seed: the baselines are refitted the same way.
    """

    def __init__(self, config: PublishedConfig, device: str = "cpu", *, refit: bool = True) -> None:
        self.name = config.name
        self.choice: dict[str, Any] = {}
        self.settings_tried = 0
        self._config, self._device = config, torch.device(device)
        self._refit = refit

    def fit(self, train: Dataset, validation: Dataset) -> None:
        queries = validation_queries(train, validation)
        best, best_epochs, waited, weights = -1.0, 0, 0, dict[str, Tensor]()
        for epoch in self._train(train):
            if epoch % _CHECK_EVERY:
                continue
            self.settings_tried += 1
            if (found := validation_ndcg(self, train, queries)) > best:
                best, best_epochs, waited = found, epoch, 0
                weights = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
            else:
                waited += 1
            if waited == _PATIENCE:
                break
        self.choice = {"epochs": best_epochs}
        if self._refit:
            self.train_for(joined(train, validation), best_epochs)
        else:
            self._model.load_state_dict(weights)

    def train_for(self, data: Dataset, epochs: int) -> None:
        """Train from random weights for so many epochs."""
        config, self._config = self._config, replace(self._config, epochs=epochs)
        for _ in self._train(data):
            pass
        self._config = config

    def _train(self, data: Dataset) -> Iterator[int]:
        """Train from random weights, yielding the number of epochs after each."""
        config = self._config
        torch.manual_seed(config.seed)
        draw = np.random.default_rng(config.seed)
        content = torch.from_numpy(data.catalogue.vectors)
        self._popularity = popularity(data)
        self._model = PublishedModel(config, content, torch.from_numpy(self._popularity > 0)).to(self._device)
        sequences = _Sequences(data, config.length).to(self._device)
        optimizer = torch.optim.Adam(self._model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98))
        for epoch in range(1, config.epochs + 1):
            self._model.train()
            for chosen in _batches(draw.permutation(len(sequences)), config.batch):
                item, times, target = sequences.rows(torch.from_numpy(chosen).to(self._device))
                loss = self._model.loss(item, times, target)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            self._model.eval()
            yield epoch

    @torch.inference_mode()
    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """float32 [b, items]: the published scores, and popularity for a history without engaged events."""
        length = self._config.length
        item = np.zeros((len(histories), length), np.int64)
        times = np.zeros((len(histories), length + 1), np.int64)
        for row, own in enumerate(histories):
            engaged = np.flatnonzero(own.action != SKIP)[-length:]
            n = len(engaged)
            item[row, length - n :] = own.item[engaged] + 1
            times[row, length - n : -1] = own.time_us[engaged] // _SECOND_US
            times[row, : length - n] = times[row, length - n] if n else now_us[row] // _SECOND_US
            times[row, -1] = now_us[row] // _SECOND_US
        items = self._model.items()
        scores = np.empty((len(histories), len(items) - 1), np.float32)
        for rows in _batches(np.arange(len(histories)), _BATCH):
            ids, seconds = (torch.from_numpy(values[rows]).to(self._device) for values in (item, times))
            found = self._model.scores(self._model(ids, seconds, items)[:, -1], items)[:, 1:]  # (b, I)
            if not self._config.text:
                found = found.masked_fill(~self._model.met[1:], _UNMET)
            scores[rows] = found.cpu().numpy()
        empty = item[:, -1] == 0
        scores[empty] = self._popularity
        return scores


class _Sequences:
    """The newest events of each user with at least two, shifted by one: inputs, their times, targets."""

    def __init__(self, data: Dataset, length: int) -> None:
        events: Events = data.events.take(data.events.action != SKIP)
        starts = events.starts(len(data.users))
        users = np.flatnonzero(np.diff(starts) > 1)
        item = np.zeros((len(users), length + 1), np.int64)
        times = np.zeros((len(users), length + 1), np.int64)
        for row, user in enumerate(users):
            begin, end = max(int(starts[user]), int(starts[user + 1]) - length - 1), int(starts[user + 1])
            n = end - begin
            item[row, -n:] = events.item[begin:end] + 1
            times[row, -n:] = events.time_us[begin:end] // _SECOND_US
            times[row, :-n] = times[row, -n]
        self._item, self._times = torch.from_numpy(item), torch.from_numpy(times)

    def __len__(self) -> int:
        return len(self._item)

    def to(self, device: torch.device) -> "_Sequences":
        self._item, self._times = self._item.to(device), self._times.to(device)
        return self

    def rows(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Items (B, T), times (B, T + 1) and targets (B, T) of these sequences; a target after padding is none."""
        item = self._item[users]
        return item[:, :-1], self._times[users], item[:, 1:] * (item[:, :-1] > 0)


def _batches(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return np.split(rows, range(size, len(rows), size)) if len(rows) else []
