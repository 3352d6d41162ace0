"""The share of utility that texts explain, measured with the real text vectors."""

import numpy as np
from numpy.typing import NDArray

from training.simulator import choice
from training.simulator.world import World

_FOLDS = 5
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


def text_share(world: World) -> float:
    """Share of the variance of lasting utility (taste and quality, over the items of each profile) that a linear map of
    the text vectors predicts for items it was not fitted on: out-of-fold R², mean over profiles, best ridge penalty."""
    p = world.parameters
    utility = p.taste * choice.liking(world.profiles.taste, world.items.traits, p) + p.quality * world.items.quality
    return r_squared(world.dataset.catalogue.vectors.astype(np.float64), utility.T)


def r_squared(features: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Out-of-fold R² of a ridge regression, mean over targets: features [n, d], targets [n, t]."""
    fold = np.random.default_rng(0).permutation(len(features)) % _FOLDS
    missed = np.zeros((len(_PENALTIES), targets.shape[1]))
    baseline = np.zeros(targets.shape[1])
    for held_out in range(_FOLDS):
        inside = fold != held_out
        centre, level = features[inside].mean(axis=0), targets[inside].mean(axis=0)
        x, y = features[inside] - centre, targets[inside] - level
        values, basis = np.linalg.eigh(x.T @ x)
        rotated = basis.T @ (x.T @ y)
        test = (features[~inside] - centre) @ basis
        baseline += ((targets[~inside] - level) ** 2).sum(axis=0)
        for row, penalty in enumerate(_PENALTIES):
            predicted = test @ (rotated / (values + penalty)[:, None])
            missed[row] += ((targets[~inside] - level - predicted) ** 2).sum(axis=0)
    return float((1 - missed / baseline).mean(axis=1).max())
