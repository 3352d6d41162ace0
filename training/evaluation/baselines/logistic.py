"""Logistic regression on counts of the user, of the item and of both, the last event and the context."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from runtime.personalization.sequence_features import DEVICES
from training.data.events import ACTIONS, Dataset, Histories
from training.data.split import joined
from training.evaluation import metrics
from training.evaluation.baselines.actions import action_counts, action_queries
from training.evaluation.baselines.history import engaged_weights, user_item_matrix
from training.evaluation.baselines.user_ridge import UserRidge
from training.evaluation.protocol import Scores
from training.evaluation.queries import Queries, flat

_LAST_EVENTS = 300
_PRIOR = 4.0  # pseudo-counts of the shares that counts are shrunk to
_CATEGORY_HALF_LIVES = (10.0, 3.0, 30.0)  # events; selected together with the penalty
_INVERSE_PENALTIES = (0.03, 0.003, 0.3)  # scikit-learn's C
_RECENT_HALF_LIFE = 4.0  # events
_DAY_US = 86_400_000_000

Matrix = NDArray[np.float64]


class Logistic:
    """Multinomial logistic regression. Counts come from the train part and weights from the validation part, which no
    count has seen, so no feature contains its own target. Hyperparameters are fitted on the validation users with even
    numbers and compared on those with odd ones."""

    name = "logistic regression"
    grid: ClassVar = {"half_life_events": _CATEGORY_HALF_LIVES, "strength": _INVERSE_PENALTIES}

    def __init__(self) -> None:
        self.choice = {key: values[0] for key, values in self.grid.items()}
        self.settings_tried = 0

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.learn(train)
        queries = action_queries(train, validation)
        even = queries.user % 2 == 0
        losses: dict[tuple[float, float], float] = {}
        features: dict[float, Matrix] = {}
        for half_life in _CATEGORY_HALF_LIVES:
            self.choice["half_life_events"] = half_life
            features[half_life] = x = self._features_of(queries)
            for strength in self.grid["strength"]:
                self._solve(x[even], queries.action[even], strength)
                losses[half_life, strength] = float(
                    metrics.log_losses(self._probabilities(x[~even]), queries.action[~even]).mean()
                )
        self.settings_tried = len(losses)
        half_life, strength = min(losses, key=lambda key: losses[key])
        self.choice = {"half_life_events": half_life, "strength": strength}
        self._solve(features[half_life], queries.action, strength)
        self.learn(joined(train, validation))

    def learn(self, data: Dataset) -> None:
        """Fit the counts on `data`; the weights stay."""
        items = len(data.catalogue)
        counts = np.bincount(data.events.action, minlength=len(ACTIONS)) + 1.0
        self.shares = counts / counts.sum()
        self.user_ridge = UserRidge()
        self.user_ridge.learn(data)
        self.of_item = action_counts(data.events.item, data.events.action, items)
        self.category = data.catalogue.category.astype(np.int64)
        self.vectors = data.catalogue.vectors
        x = user_item_matrix(data)
        together = (x.T @ x).tocsr()
        count = together.diagonal()
        scale = 1 / np.sqrt(count + 10.0)
        self.similarity = together.multiply(scale[:, None]).multiply(scale[None, :]).tocsr()

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        return self._probabilities(self._features(histories, now_us, device, items)).astype(np.float32)

    def _features_of(self, queries: Queries) -> Matrix:
        return self._features(queries.histories, queries.now_us, queries.device, queries.item)

    def _features(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Matrix:
        """float64 [b, features]."""
        b = len(histories)
        owner, rows, age = flat(histories, _LAST_EVENTS)
        events = histories.events
        item, action = events.item[rows], events.action[rows]
        same_category = (self.category[item] == self.category[items[owner]]) & (self.category[item] >= 0)
        same_item = item == items[owner]
        decayed = np.exp2(-age / self.choice["half_life_events"])
        user = _shrunk(action_counts(owner, action, b), self.shares)
        recent = _shrunk(action_counts(owner, action, b, np.exp2(-age / _RECENT_HALF_LIFE)), user)
        category = _shrunk(action_counts(owner[same_category], action[same_category], b), user)
        recent_category = _shrunk(
            action_counts(owner[same_category], action[same_category], b, decayed[same_category]), category
        )
        of_item = _shrunk(self.of_item[items], self.shares)
        last_on_item = np.full(b, len(ACTIONS))
        last_on_item[owner[same_item]] = action[same_item]
        last = np.full(b, len(ACTIONS))
        last[owner] = action
        last_category = np.zeros(b)
        last_category[owner] = same_category
        known = histories.ends > histories.starts
        latest = np.maximum(histories.ends - 1, 0)
        gap_us = np.where(known, now_us - events.time_us[latest], 30 * _DAY_US)
        days = np.where(known, events.days_to_event[latest], np.nan)
        hour = now_us / 3.6e9 % 24 / 24 * 2 * np.pi
        following = np.eye(len(ACTIONS) + 1)[last]
        return np.column_stack(
            [
                np.log(user), np.log(recent), np.log(category), np.log(recent_category), np.log(of_item),
                np.eye(len(ACTIONS) + 1)[last_on_item],
                following, following * last_category[:, None],
                self._affinity(histories, items),
                np.log1p(np.maximum(gap_us, 0) / 1e6),
                np.cos(hour), np.sin(hour), np.eye(len(DEVICES))[device],
                np.nan_to_num(days) / 100, np.isnan(days),
                np.log1p(histories.ends - histories.starts),
            ]
        )  # fmt: skip

    def _affinity(self, histories: Histories, items: NDArray[np.int32]) -> Matrix:
        """Affinity of the item to the history by text and by co-engagement, recent and all-time, and what the user's
        ridge regression predicts of it: [b, 6]."""
        columns = []
        for half_life in (8.0, float("inf")):
            weights = engaged_weights(histories, len(self.category), half_life)
            mean = weights @ self.vectors
            mean /= np.linalg.norm(mean, axis=1, keepdims=True) + 1e-9
            columns.append(np.einsum("bd,bd->b", mean, self.vectors[items]))
            near = np.asarray(weights.multiply(self.similarity[items]).sum(axis=1)).ravel()
            columns.append(near / (np.asarray(weights.sum(axis=1)).ravel() + 1e-9))
        columns.append(self.user_ridge.expected(histories, items))
        return np.column_stack(columns)

    def _solve(self, x: Matrix, actions: NDArray[np.int8], strength: float) -> None:
        self.centre, self.spread = x.mean(axis=0), x.std(axis=0) + 1e-6
        several = (actions != actions[0]).any()  # a regression needs at least two classes
        self.model = LogisticRegression(C=strength, max_iter=200, tol=1e-3) if several else DummyClassifier()
        self.model.fit((x - self.centre) / self.spread, actions)

    def _probabilities(self, x: Matrix) -> Matrix:
        found = self.model.predict_proba((x - self.centre) / self.spread)
        probabilities = np.full((len(x), len(ACTIONS)), 1e-6)  # of actions that never occurred
        probabilities[:, self.model.classes_] = found
        normalised: Matrix = probabilities / probabilities.sum(axis=1, keepdims=True)
        return normalised


def _shrunk(counts: Matrix, shares: Matrix) -> Matrix:
    """Shares of the counts, shrunk towards `shares` ([4] or [b, 4])."""
    smoothed = counts + _PRIOR * shares
    result: Matrix = smoothed / smoothed.sum(axis=1, keepdims=True)
    return result
