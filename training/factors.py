"""Where the codes of items begin: the main directions of what a model that knows them by their text leaves unexplained.

A step touches few items, and codes that begin at zero have no gradient towards a shared direction: both factors of a
product have to be there before either is worth anything. A factorisation of the whole log finds them in seconds.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.events import ACTIONS, Dataset
from training.model import SequenceModel
from training.recipes import Recipe
from training.windows import Windows

_USER_DOUBT, _ITEM_DOUBT = 1.0, 10.0  # precisions of the factors' priors
_DEVIATION = 0.1  # of every factor, to begin with
_STEPS, _RATE = 200, 0.1
_BATCH = 32


def residual_factors(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> NDArray[np.float32]:
    """Codes f32 (items, id_rank): an ordinal factorisation of each market's log beside what the model expects.

    logit P(action ≥ j) = the model's + b_item + c_user + p_user · q_item: proportional odds (McCullagh 1980, §2) with
    the model as the offset. Each factor has a Gaussian of its own, fitted by samples (Kingma and Welling 2014, §2.3),
    and its mean is what counts: a user's events leave a taste uncertain, and a taste that passes for known bends items
    to fit it. An item's code is b (the first number) and q, by falling strength.
    """
    events, rank, items = dataset.events, recipe.id_rank, len(dataset.catalogue)
    codes = np.zeros((items, rank), np.float32)
    if not rank:
        return codes
    expected = reached_logits(model, dataset, recipe)
    market = np.zeros(items, np.int16) if dataset.market is None else dataset.market
    for one in np.unique(market[events.item]):
        rows = np.flatnonzero(market[events.item] == one)
        own, item = np.unique(events.item[rows], return_inverse=True)
        _, user = np.unique(events.user[rows], return_inverse=True)
        log = _Log(*map(torch.from_numpy, (user, item, events.action[rows].astype(np.int64), expected[rows])))
        codes[own] = _factors(log, rank, recipe.seed)
    return codes


class _Log(NamedTuple):
    """Events of one market: user, item, action int64 [n]; expected f32 [n, 3], as of `reached_logits`."""

    user: Tensor
    item: Tensor
    action: Tensor
    expected: Tensor


def _factors(log: _Log, rank: int, seed: int) -> NDArray[np.float32]:
    """f32 (items, rank)."""
    draw = torch.Generator().manual_seed(seed)
    users, items = int(log.user.max()) + 1, int(log.item.max()) + 1
    # One number of every user and item is its own level, beside a one on the other side
    of_user = _Factors(torch.zeros(users, rank), _USER_DOUBT)
    of_item = _Factors(torch.randn(items, rank, generator=draw) * 0.1, _ITEM_DOUBT)
    optimizer = torch.optim.Adam([*of_user.parameters(), *of_item.parameters()], lr=_RATE)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        left, right = of_user(draw)[log.user], of_item(draw)[log.item]
        more = left[:, 0] + right[:, 0] + (left[:, 1:] * right[:, 1:]).sum(1)
        reached = F.pad(torch.sigmoid(log.expected + more[:, None]), (1, 0), value=1.0)  # [n, 4]: P(action >= j)
        chances = reached - F.pad(reached[:, 1:], (0, 1))
        loss = -torch.log(chances.gather(1, log.action[:, None]).clamp(min=1e-6)).sum()
        (loss + of_user.divergence() + of_item.divergence()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        slower.step()
    found = of_item.mean.detach()
    found[:, 1:] @= torch.linalg.eigh(found[:, 1:].T @ found[:, 1:]).eigenvectors.flip(1)
    return found.numpy()


class _Factors(nn.Module):
    """A Gaussian of its own for each factor [n, rank], and a prior around zero with one precision."""

    def __init__(self, mean: Tensor, precision: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean)
        self.log_deviation = nn.Parameter(torch.full_like(mean, math.log(_DEVIATION)))
        self.precision = precision

    def forward(self, draw: torch.Generator) -> Tensor:
        """A sample of each, [n, rank]."""
        return self.mean + self.log_deviation.exp() * torch.randn(self.mean.shape, generator=draw)

    def divergence(self) -> Tensor:
        """Kullback-Leibler, from the prior, up to a constant."""
        square = self.mean.square() + (2 * self.log_deviation).exp()
        return self.precision / 2 * square.sum() - self.log_deviation.sum()


@torch.inference_mode()
def reached_logits(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> NDArray[np.float32]:
    """logit P(action >= j) for j = 1, 2, 3 by the model, at each event from those before it: f32 [events, 3]."""
    windows = Windows(dataset, recipe.context, negatives=recipe.negatives)
    found = np.zeros((len(dataset.events), len(ACTIONS) - 1), np.float32)
    model.eval()
    for chosen in windows.batches_in_order(_BATCH):
        batch = windows.batch(chosen, (0,))
        _, logits, _ = model(batch)
        rows = windows.rows(chosen)[batch.scored.numpy()]
        chances = torch.softmax(logits[batch.scored], dim=-1)
        reached = chances.flip(1).cumsum(1).flip(1)[:, 1:]
        found[rows] = torch.logit(reached.clamp(1e-4, 1 - 1e-4)).numpy()
    return found
