"""The losses: next action given the item, next item, and a contrastive loss between users and later items.

N rows are the scored events of a batch, D = 128; user and item vectors are unit rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def action_loss(logits: Tensor, action: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Weighted mean cross entropy of logits (N, 4) against codes int64 (N,) or probabilities f32 (N, 4)."""
    return F.cross_entropy(logits, action, weight=torch.tensor(weights, device=logits.device))


def item_loss(
    users: Tensor, targets: Tensor, weights: Tensor, items: Tensor, scale: Tensor, *, negatives: Tensor | None
) -> Tensor:
    """Weighted mean cross entropy of the next item: users (N, D), targets and weights (N,), items (I, D).

    negatives: None for a softmax over all items, otherwise int64 (K,), uniformly sampled items beside the target.
    """
    counted = weights > 0
    users, targets, weights = users[counted], targets[counted], weights[counted]
    if negatives is None:
        losses = F.cross_entropy(scale * users @ items.T, targets, reduction="none")  # (N,)
    else:
        wanted = scale * (users * items[targets]).sum(1, keepdim=True)  # (N, 1)
        others = scale * users @ items[negatives].T  # (N, K)
        # Masked after scaling: the gradient of a product with minus infinity is NaN
        others = others.masked_fill(negatives == targets[:, None], -torch.inf)
        logits = torch.cat([wanted, others], dim=1)
        losses = F.cross_entropy(logits, torch.zeros_like(targets), reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1e-9)


def contrastive_loss(users: Tensor, engaged: Tensor, skipped: Tensor, items: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE (arXiv:1807.03748): users (A, D) with an item they later engaged with, int64 (A,), against the items of
    the other users and their own skipped items, int64 (A, K) with −1 for none."""
    if len(users) < 2:
        return users.sum() * 0
    others = scale * users @ items[engaged].T  # (A, A)
    same = (engaged[:, None] == engaged) & ~torch.eye(len(engaged), dtype=torch.bool, device=users.device)
    hard = scale * (users[:, None] * items[skipped.clamp(min=0)]).sum(-1)  # (A, K)
    hard = hard.masked_fill((skipped < 0) | (skipped == engaged[:, None]), -torch.inf)
    logits = torch.cat([others.masked_fill(same, -torch.inf), hard], dim=1)
    return F.cross_entropy(logits, torch.arange(len(users), device=users.device))
