"""Probabilities of the next action: logistic regression on the action features, and beside them on what the sequence
model expects (a stack), both fitted to events that neither had seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.action_features import NAMES, Features
from runtime.personalization.actions import TYPES

SEQUENCE_NAMES = tuple(f"sequence_{action}" for action in TYPES)
_LEAST = 1e-6  # of a probability whose logarithm is taken

Probabilities = NDArray[np.float32]  # [n, 4] in the order of TYPES, rows summing to one


@dataclass(frozen=True, eq=False)
class Regression:
    """weights: float64 [4, features]. intercept: float64 [4]."""

    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]

    @classmethod
    def of(
        cls, weights: Mapping[str, Sequence[float]], intercept: Sequence[float], names: tuple[str, ...]
    ) -> "Regression":
        """weights: of the actions, by the name of the feature; one that is not named weighs nothing. Raises ValueError
        for a name that is no feature, and for another number of actions."""
        if unknown := sorted(weights.keys() - set(names)):
            raise ValueError(f"{', '.join(unknown)}: no such action feature; there are {', '.join(names)}")
        if wrong := [name for name, row in [*weights.items(), ("intercept", intercept)] if len(row) != len(TYPES)]:
            raise ValueError(f"{', '.join(wrong)}: expected {len(TYPES)} weights, of {', '.join(TYPES)}")
        nothing = [0.0] * len(TYPES)
        table = np.array([weights.get(name, nothing) for name in names], np.float64).T
        return cls(table, np.array(intercept, np.float64))

    def probabilities(self, x: NDArray[np.floating]) -> Probabilities:
        """Of features [n, ·]. A candidate's do not depend on the others: see `cosine_scores`."""
        logits = np.vecdot(x[:, np.newaxis].astype(np.float64), self.weights) + self.intercept
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Probabilities = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
        return found


@dataclass(frozen=True, eq=False)
class NextAction:
    """alone: by the features. stacked: by these and the sequence model of public version `sequence`; None where none
    was there to fit to."""

    alone: Regression
    stacked: Regression | None = None
    sequence: str | None = None

    def probabilities(self, features: Features, by_sequence: Probabilities | None) -> Probabilities:
        """Of n candidates. by_sequence: what that sequence model expects, None without it."""
        if self.stacked is None or by_sequence is None:
            return self.alone.probabilities(features)
        return self.stacked.probabilities(stacked_features(features, by_sequence))


def stacked_features(features: Features, by_sequence: Probabilities) -> NDArray[np.float32]:
    """float32 [n, len(NAMES) + 4]."""
    return np.concatenate([features, np.log(by_sequence.clip(min=_LEAST))], axis=1, dtype=np.float32)


ALONE_NAMES = NAMES
STACKED_NAMES = (*NAMES, *SEQUENCE_NAMES)


def own_rates(action: NDArray[np.int8]) -> NDArray[np.float64]:
    """What stands before any training: how often the user did each action, [4], every action counted once more, so that
    none is impossible (Laplace's rule). action: of their newest events."""
    counts = np.bincount(action, minlength=len(TYPES)) + 1.0
    rates: NDArray[np.float64] = counts / counts.sum()
    return rates
