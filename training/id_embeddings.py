"""Initial id embeddings: a factorisation of what a model that knows items by their text leaves unexplained in the log.

A training step touches few items, and id embeddings that start at zero have no gradient towards a common direction:
both factors of a product have to be non-zero before either helps. A factorisation of the whole log finds them in
seconds.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.batches import Windows
from training.data.events import ACTIONS, Dataset
from training.model import SequenceModel
from training.recipes import Recipe

_USER_PRECISION, _ITEM_PRECISION = 1.0, 10.0  # of the factors' Gaussian priors
_DEVIATION = 0.1  # initial standard deviation of every factor
_STEPS, _RATE = 200, 0.1
_BATCH = 32


def factorised_id_embeddings(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> NDArray[np.float32]:
    """float32 (items, id_rank): an ordinal factorisation of each catalogue's log, with the model's logits as offset.

    logit P(action ≥ j) = offset_j + b_item + c_user + p_user · q_item: proportional odds (McCullagh 1980, §2). Each
    factor has a Gaussian posterior fitted by sampling (Kingma and Welling 2014, §2.3), and its mean is returned: a
    user's events leave the user factors uncertain, and treating them as known would bend the item factors to fit them.
    An item's embedding is b (the first number) and q, by falling strength.
    """
    events, rank, items = dataset.events, recipe.id_rank, len(dataset.catalogue)
    embeddings = np.zeros((items, rank), np.float32)
    if not rank:
        return embeddings
    offset = cumulative_logits(model, dataset, recipe)
    catalogue_id = np.zeros(items, np.int16) if dataset.catalogue_id is None else dataset.catalogue_id
    for one in np.unique(catalogue_id[events.item]):
        rows = np.flatnonzero(catalogue_id[events.item] == one)
        own, item = np.unique(events.item[rows], return_inverse=True)
        _, user = np.unique(events.user[rows], return_inverse=True)
        columns = (user, item, events.action[rows].astype(np.int64), offset[rows])
        log = _Log(*(torch.from_numpy(column).to(model.scale.device) for column in columns))
        embeddings[own] = _item_factors(log, rank, recipe.seed)
    return embeddings


class _Log(NamedTuple):
    """The events of one catalogue: user, item, action int64 [n]; offset float32 [n, 3] of `cumulative_logits`."""

    user: Tensor
    item: Tensor
    action: Tensor
    offset: Tensor


def _item_factors(log: _Log, rank: int, seed: int) -> NDArray[np.float32]:
    """float32 (items, rank)."""
    device = log.user.device
    draw = torch.Generator(device).manual_seed(seed)
    users, items = int(log.user.max()) + 1, int(log.item.max()) + 1
    # The first number of every user and item is its bias
    user_factors = _Factors(torch.zeros(users, rank, device=device), _USER_PRECISION)
    item_factors = _Factors(torch.randn(items, rank, generator=draw, device=device) * 0.1, _ITEM_PRECISION)
    optimizer = torch.optim.Adam([*user_factors.parameters(), *item_factors.parameters()], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        left, right = user_factors(draw)[log.user], item_factors(draw)[log.item]
        shift = left[:, 0] + right[:, 0] + (left[:, 1:] * right[:, 1:]).sum(1)
        cumulative = F.pad(torch.sigmoid(log.offset + shift[:, None]), (1, 0), value=1.0)  # [n, 4]: P(action ≥ j)
        probabilities = cumulative - F.pad(cumulative[:, 1:], (0, 1))
        loss = -torch.log(probabilities.gather(1, log.action[:, None]).clamp(min=1e-6)).sum()
        (loss + user_factors.divergence() + item_factors.divergence()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    found = item_factors.mean.detach()
    found[:, 1:] @= torch.linalg.eigh(found[:, 1:].T @ found[:, 1:]).eigenvectors.flip(1)
    return found.cpu().numpy()


class _Factors(nn.Module):
    """A Gaussian posterior for each factor [n, rank], and a zero-mean prior with one precision."""

    def __init__(self, mean: Tensor, precision: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean)
        self.log_deviation = nn.Parameter(torch.full_like(mean, math.log(_DEVIATION)))
        self.precision = precision

    def forward(self, draw: torch.Generator) -> Tensor:
        """One sample of each factor, [n, rank]."""
        return self.mean + self.log_deviation.exp() * torch.randn(
            self.mean.shape, generator=draw, device=self.mean.device
        )

    def divergence(self) -> Tensor:
        """Kullback-Leibler divergence from the prior, up to a constant."""
        square = self.mean.square() + (2 * self.log_deviation).exp()
        return self.precision / 2 * square.sum() - self.log_deviation.sum()


@torch.inference_mode()
def cumulative_logits(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> NDArray[np.float32]:
    """logit P(action ≥ j) for j = 1, 2, 3 by the model, at each event from those before it: float32 [events, 3]."""
    windows = Windows(dataset, recipe.context, negatives=recipe.negatives)
    found = np.zeros((len(dataset.events), len(ACTIONS) - 1), np.float32)
    model.eval()
    for chosen in windows.batches_in_order(_BATCH):
        batch = windows.batch(chosen, (0,)).to(model.scale.device)
        logits = model(batch).action_logits
        rows = windows.rows(chosen)[batch.scored.cpu().numpy()]
        probabilities = torch.softmax(logits[batch.scored], dim=-1)
        cumulative = probabilities.flip(1).cumsum(1).flip(1)[:, 1:]
        found[rows] = torch.logit(cumulative.clamp(1e-4, 1 - 1e-4)).cpu().numpy()
    return found
