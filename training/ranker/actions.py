"""The next-action model of a log: logistic regression on the served features, alone and beside the sequence model."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from runtime.personalization.action_features import ActionHistory, Context, ItemTable, features
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.next_action import (
    ALONE_NAMES,
    NextAction,
    Regression,
    stacked_features,
)
from runtime.personalization.ranking_features import HISTORY_EVENTS
from training.data.events import ACTIONS, Dataset, Histories
from training.data.split import joined
from training.evaluation import metrics
from training.evaluation.baselines.actions import action_counts, action_queries
from training.evaluation.baselines.user_ridge import UserRidge
from training.evaluation.bootstrap import mean_interval
from training.evaluation.protocol import Scores
from training.evaluation.queries import Queries
from training.evaluation.sequence import SequenceRecommender
from training.ranker.neighbours import learn_neighbours
from training.ranker.replay import Replay

_PENALTY = 1e-4  # of the squared distance of the mixture from equal parts
_PRIOR = 4.0  # pseudo-counts of everybody's shares in an item's
_INVERSE_PENALTIES = (0.03, 0.003, 0.3)  # scikit-learn's C


class ActionModel:
    """Counts are learned on the train part and weights on the validation part, which neither they nor the sequence
    model have seen. What is counted is then counted with both."""

    name = "next action"

    def __init__(self, sequence: SequenceRecommender | None = None, version: str | None = None) -> None:
        """sequence: fitted, to stack on; version: its public name, by default its own."""
        self.model: NextAction | None = None
        self.table: ItemTable
        self.near: Neighbours
        self.sequence = sequence
        self.choice: dict[str, Any] = {}
        self.quality: dict[str, Any] = {}
        self._version = version or (None if sequence is None else sequence.name)

    def fit(self, train: Dataset, validation: Dataset, queries: Queries | None = None) -> None:
        self.learn(train)
        queries = action_queries(train, validation)
        context = (queries.histories, queries.now_us, queries.device, queries.item)
        x = self.features(*context)
        alone, stacked, by_sequence = Fit.of(x, queries), None, None
        if self.sequence is not None:
            self.sequence.learn(train)  # the weights that have not seen validation
            by_sequence = self.sequence.action_probabilities(*context)
            stacked = alone.stacked_on(by_sequence, x, queries)
        self.quality = _checked(queries, alone, stacked, by_sequence)
        if stacked is not None and not _is_better(stacked, alone, queries):
            stacked = None
        self.choice = {"strength": alone.strength, "stacked": stacked is not None}
        self.model = NextAction(
            alone.regression,
            None if stacked is None else stacked.regression,
            None if stacked is None else self._version,
        )
        everything = joined(train, validation)
        self.learn(everything)
        if self.sequence is not None:
            self.sequence.learn(everything)

    def learn(self, data: Dataset) -> None:
        """Count on `data`; the weights stay."""
        self.data = data
        self.table, self.near = learn_items(data), learn_neighbours(data)
        self._replay: Replay | None = None

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        assert self.model is not None
        x = self.features(histories, now_us, device, items)
        by_sequence = None
        if self.sequence is not None and self.model.stacked is not None:
            by_sequence = self.sequence.action_probabilities(histories, now_us, device, items)
        return self.model.probabilities(x, by_sequence)

    def features(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        """float32 [b, len(NAMES)]: item i shown to history i."""
        if self._replay is None or self._replay.log is not histories.log:
            self._replay = Replay(self.data, histories.log)
        vectors = self.data.catalogue.vectors
        made = np.empty((len(histories), len(ALONE_NAMES)), np.float32)
        for query in self._replay.queries(histories, now_us):
            place = query.position
            start, end = int(histories.starts[place]), int(histories.ends[place])
            own = histories.events.take(slice(max(start, end - HISTORY_EVENTS), end))
            rows = items[place : place + 1].astype(np.int64)
            seen = own.item.astype(np.int64)
            made[place] = features(
                query.features(rows, vectors, self.near),
                rows=rows, table_rows=rows, vectors=None,
                history=ActionHistory(seen, seen, own.action, own.time_us),
                table=self.table,
                context=Context(
                    query.now_us, int(device[place]), float(own.days_to_event[-1]) if len(own) else float("nan")
                ),
            )[0]  # fmt: skip
        return made


def learn_items(data: Dataset) -> ItemTable:
    """What the log says of each item of the catalogue; a row an item."""
    ridge = UserRidge()
    ridge.learn(data)
    counts = np.bincount(data.events.action, minlength=len(ACTIONS)) + 1.0
    shares = (counts / counts.sum()).astype(np.float32)
    of_item = action_counts(data.events.item, data.events.action, len(data.catalogue)) + _PRIOR * shares
    logs = np.log(of_item / of_item.sum(axis=1, keepdims=True))
    values = np.column_stack([ridge.of_item, logs, ridge.features]).astype(np.float16)
    return ItemTable(values, shares, ridge.mean, ridge.basis.astype(np.float32))


class Fit(NamedTuple):
    """A regression, and its penalty: the one that did best on the users with odd numbers when fitted to the others.
    checked: the probabilities that it gave them, [odd, 4]; None where there were no two such groups."""

    regression: Regression
    strength: float
    checked: Scores | None

    @classmethod
    def of(cls, x: Scores, queries: Queries) -> "Fit":
        """x: float32 [queries, features]."""
        action, even = queries.action, queries.user % 2 == 0
        if len(np.unique(action[even])) < 2 or even.all():
            return cls(_solved(x, action, _INVERSE_PENALTIES[0]), _INVERSE_PENALTIES[0], None)
        checked = {
            strength: _solved(x[even], action[even], strength).probabilities(x[~even])
            for strength in _INVERSE_PENALTIES
        }
        best = min(checked, key=lambda strength: metrics.log_losses(checked[strength], action[~even]).mean())
        return cls(_solved(x, action, best), best, checked[best])

    def stacked_on(self, by_sequence: Scores, x: Scores, queries: Queries) -> "Fit | None":
        """b times the regression's logits, plus a times the logarithms of what the sequence model expects [queries, 4],
        plus a constant for each action: each of the parts is among them, so the stack loses to neither by more than six
        numbers can overfit. They are fitted to what a regression of the other half of the users gives. None where
        there were no two halves."""
        if self.checked is None:
            return None
        action, even = queries.action, queries.user % 2 == 0
        names = len(ACTIONS)
        logs = stacked_features(x, by_sequence)[:, -names:].astype(np.float64)
        logits = np.empty((len(x), names))
        for half in (even, ~even):
            other = _solved(x[~half], action[~half], self.strength)
            logits[half] = x[half] @ other.weights.T + other.intercept
        a, b, constant = _mixed(logs[even], logits[even], action[even])
        checked = _softmax(a * logs[~even] + b * logits[~even] + constant).astype(np.float32)
        a, b, constant = _mixed(logs, logits, action)
        weights = np.hstack([b * self.regression.weights, a * np.eye(names)])  # what normalises a part cancels out
        return Fit(Regression(weights, b * self.regression.intercept + constant), self.strength, checked)


def _mixed(
    logs: NDArray[np.float64], logits: NDArray[np.float64], action: NDArray[np.int8]
) -> tuple[float, float, NDArray[np.float64]]:
    """a, b and the constants [4] that minimise the log-loss of a·logs + b·logits + constants."""
    hot = np.eye(len(ACTIONS))[action]

    def loss(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        found = _softmax(p[0] * logs + p[1] * logits + p[2:])
        apart, likelihood = (found - hot) / len(action), found[np.arange(len(action)), action]
        gradient = np.concatenate([[(apart * logs).sum(), (apart * logits).sum()], apart.sum(axis=0)])
        penalty = np.concatenate([p[:2] - 0.5, p[2:]])
        value = -np.log(likelihood.clip(1e-12)).mean() + _PENALTY * penalty @ penalty
        return float(value), gradient + 2 * _PENALTY * penalty

    found = minimize(loss, np.array([0.5, 0.5, 0, 0, 0, 0]), jac=True, method="L-BFGS-B").x
    return float(found[0]), float(found[1]), found[2:]


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities


def _is_better(stacked: Fit, alone: Fit, queries: Queries) -> bool:
    """Whether the stack did better on the users that neither was fitted to."""
    if stacked.checked is None or alone.checked is None:
        return False
    action = queries.action[queries.user % 2 == 1]
    losses = [metrics.log_losses(checked, action).mean() for checked in (stacked.checked, alone.checked)]
    return bool(losses[0] < losses[1])


def _checked(queries: Queries, alone: Fit, stacked: Fit | None, by_sequence: Scores | None) -> dict[str, Any]:
    """Accuracy and log-loss with intervals, on the users with odd numbers, of what was fitted to the others."""
    if alone.checked is None:
        return {}
    odd = queries.user % 2 == 1
    found = {"logistic regression": alone.checked}
    if stacked is not None and stacked.checked is not None and by_sequence is not None:
        found |= {"sequence model": by_sequence[odd], "both, stacked": stacked.checked}
    figures: dict[str, Any] = {}
    for name, probabilities in found.items():
        right = probabilities.argmax(axis=1) == queries.action[odd]
        losses = metrics.log_losses(probabilities, queries.action[odd])
        accuracy, loss = (mean_interval(values, queries.user[odd]) for values in (right, losses))
        figures[name] = {
            "accuracy": [round(value, 4) for value in accuracy], "log_loss": [round(value, 4) for value in loss],
        }  # fmt: skip
    return figures | {"events": int(odd.sum())}


def _solved(x: Scores, action: NDArray[np.int8], strength: float) -> Regression:
    centre, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64) + 1e-6
    weights, intercept = np.zeros((len(ACTIONS), x.shape[1])), np.full(len(ACTIONS), np.log(1e-6))
    classes = np.unique(action)
    if len(classes) == 1:  # a regression needs at least two
        intercept[classes] = 0.0
        return Regression(weights, intercept)
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit((x - centre) / spread, action)
    found, at = model.coef_, model.intercept_
    if len(classes) == 2:  # of two, scikit-learn gives the difference
        found, at = np.vstack([-found / 2, found / 2]), np.concatenate([-at / 2, at / 2])
    weights[classes] = found / spread
    intercept[classes] = at - weights[classes] @ centre
    absent = np.setdiff1d(np.arange(len(ACTIONS)), classes)
    if len(absent):  # an action that never occurred stays a million times rarer than the average of the others
        weights[absent] = weights[classes].mean(axis=0)
        intercept[absent] = intercept[classes].mean() + np.log(1e-6)
    return Regression(weights, intercept)
