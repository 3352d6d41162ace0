"""Action baselines that count."""

import numpy as np
from numpy.typing import NDArray

from training.data.events import ACTIONS, Dataset, Histories
from training.data.split import in_time_order, joined, log_of
from training.evaluation import metrics
from training.evaluation.baselines.history import LAST_EVENTS
from training.evaluation.protocol import Scores
from training.evaluation.queries import Queries, flat, sample_queries

_SMOOTHING = (1.0, 0.3, 3.0, 10.0, 30.0, 100.0)  # pseudo-counts of the global shares
_VALIDATION_QUERIES = 12_000


class Majority:
    """The shares of all actions, the same for every user and item."""

    name = "majority, global"

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.learn(joined(train, validation))

    def learn(self, data: Dataset) -> None:
        counts = np.bincount(data.events.action, minlength=len(ACTIONS))
        self.shares = ((counts + 1) / (counts.sum() + len(ACTIONS))).astype(np.float32)

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        return np.tile(self.shares, (len(histories), 1))


class _Smoothed(Majority):
    """Counts per group, smoothed by the global shares. The smoothing is selected by validation log-loss."""

    def __init__(self) -> None:
        self.smoothing = _SMOOTHING[0]
        self.settings_tried = 0

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.learn(train)
        queries = action_queries(train, validation)
        losses = []
        for self.smoothing in _SMOOTHING:
            probabilities = self.action_probabilities(queries.histories, queries.now_us, queries.device, queries.item)
            losses.append(float(metrics.log_losses(probabilities, queries.action).mean()))
        self.settings_tried = len(losses)
        self.smoothing = _SMOOTHING[int(np.argmin(losses))]
        self.learn(joined(train, validation))

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        counts = self._counts(histories, items) + self.smoothing * self.shares
        return (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)

    def _counts(self, histories: Histories, items: NDArray[np.int32]) -> NDArray[np.float64]:
        raise NotImplementedError


class UserMajority(_Smoothed):
    """The shares of the user's own actions so far."""

    name = "majority, per user"

    def _counts(self, histories: Histories, items: NDArray[np.int32]) -> NDArray[np.float64]:
        owner, rows, _ = flat(histories, LAST_EVENTS)
        return action_counts(owner, histories.events.action[rows], len(histories))


class ItemMajority(_Smoothed):
    """The shares of everybody's actions on the item."""

    name = "majority, per item"

    def learn(self, data: Dataset) -> None:
        super().learn(data)
        self.of_item = action_counts(data.events.item, data.events.action, len(data.catalogue))

    def _counts(self, histories: Histories, items: NDArray[np.int32]) -> NDArray[np.float64]:
        return self.of_item[items]


class LastAction(_Smoothed):
    """First-order Markov: the shares of actions that followed the user's latest one."""

    name = "Markov of actions"

    def learn(self, data: Dataset) -> None:
        super().learn(data)
        action, user = data.events.action, data.events.user
        follows = user[1:] == user[:-1]
        self.following = action_counts(action[:-1][follows], action[1:][follows], len(ACTIONS))

    def _counts(self, histories: Histories, items: NDArray[np.int32]) -> NDArray[np.float64]:
        last = histories.events.action[np.maximum(histories.ends - 1, 0)]
        return np.where((histories.ends > histories.starts)[:, None], self.following[last], 0.0)


def action_counts(
    group: NDArray[np.integer],
    action: NDArray[np.integer],
    groups: int,
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Count (or sum of weights) of each action in each group, [groups, 4]. group, action, weights [n]."""
    n = len(ACTIONS)
    flat_counts = np.bincount(group.astype(np.int64) * n + action, weights, minlength=groups * n)
    return flat_counts.reshape(groups, n).astype(np.float64)


def action_queries(train: Dataset, validation: Dataset, per_user: int = 50) -> Queries:
    """The validation queries that action baselines are tuned on."""
    return sample_queries(
        log_of(train, validation), validation, per_user=per_user, at_most=_VALIDATION_QUERIES, engaged_only=False,
        source_order_breaks_ties=not in_time_order(train, validation),
    )  # fmt: skip
