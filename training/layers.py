"""The layers of the sequence model (training/model.py, which names the shapes)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.model_config import ModelConfig

ACTIONS = 4
MASKED = 1e4  # subtracted from the score of an event that may not be seen: exp(−1e4) is 0 in float32
TIME_KNOTS, KNOT_OCTAVES = 9, 3  # time gaps of 1 second, 8, 64 …: up to half a year
POSITION_BUCKETS = 20
ID_SCALE = 0.05  # of an id embedding as the model reads it, so that the noise of one step does not drown the text


class AttentionBias(nn.Module):
    """Learned score of a (query, key) pair by the number of events and the time between them, and the attention mask.

    Buckets of positions as in T5 (arXiv:1910.10683 §2.1), log time gaps as in HSTU (arXiv:2402.17152 §3.1).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.window = config.window
        self.position = nn.Parameter(torch.zeros(POSITION_BUCKETS, config.heads))
        self.time = nn.Parameter(torch.zeros(TIME_KNOTS, config.heads))
        self.start = nn.Parameter(torch.zeros(config.heads))

    def forward(self, query: Tensor, query_s: Tensor, key_s: Tensor, nearest: int) -> Tensor:
        """Positions (B or 1, Tq) and seconds (B, Tq) of queries, seconds (B, Tk) of events → (B, H, Tq, 1 + Tk).

        The first key is the start token, visible to all. nearest: the smallest distance that may be seen, 0 or 1.
        """
        key = torch.arange(key_s.shape[1], device=key_s.device)
        distance = query[:, :, None] - key  # (B or 1, Tq, Tk)
        near = (distance >= nearest) & ((distance < self.window) | (key % self.window == self.window - 1))
        scores = by_distance(distance, self.position).permute(0, 3, 1, 2)  # (B or 1, H, Tq, Tk)
        start = self.start[None, :, None, None].expand(scores.shape[0], -1, scores.shape[2], 1)
        scores = torch.cat([start, scores - MASKED * (~near[:, None])], dim=3)  # (B or 1, H, Tq, 1 + Tk)
        # Linear interpolation between knots: no jump where rounding moves a gap across a boundary
        gap = (query_s[:, :, None] - key_s[:, None, :]).clamp(min=0).float()  # (B, Tq, Tk)
        at = (torch.log(gap + 1) * (1 / (KNOT_OCTAVES * math.log(2)))).clamp(max=TIME_KNOTS - 1)
        at = F.pad(at, (1, 0), value=-1.0)[:, None]  # (B, 1, Tq, 1 + Tk): the start token has no time
        knots = torch.arange(TIME_KNOTS, device=key_s.device, dtype=torch.float32)[:, None, None]
        share = F.relu(1 - (at - knots).abs())  # (B, K, Tq, 1 + Tk)
        return scores + weighted_sum(share, self.time)


def weighted_sum(share: Tensor, table: Tensor) -> Tensor:
    """Σ over K of share (B, K, Tq, Tk) times table (K, H) → (B, H, Tq, Tk)."""
    return (table.T @ share.flatten(2)).reshape(len(share), table.shape[1], *share.shape[2:])


def by_distance(distance: Tensor, table: Tensor) -> Tensor:
    """Rows of a table (POSITION_BUCKETS, H) by the bucket of each distance (…, Tk) ≤ Tk → (…, Tk, H).

    Buckets are computed once per distance, not once per pair.
    """
    buckets = position_bucket(torch.arange(distance.shape[-1] + 1, device=distance.device))
    return F.embedding(distance.clamp(min=0), table[buckets])


def position_bucket(distance: Tensor) -> Tensor:
    """Distances 0 to 7 have a bucket each, then two per doubling, the last from 363 on: int64 of the same shape."""
    far = 8 + torch.floor(2 * torch.log2(distance.clamp(min=8).float() / 8) + 1e-4).long()
    return torch.where(distance < 8, distance.clamp(min=0), far).clamp(max=POSITION_BUCKETS - 1)


class Attention(nn.Module):
    """Multi-head attention of given queries, keys and values, with one learned key and value as a start token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.size = config.heads, config.width // config.heads
        self.start = nn.Parameter(torch.randn(2, config.width) * 0.02)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """query (B, Tq, d), key and value (B, Tk, d), bias (B, H, Tq, 1 + Tk) → (B, Tq, d)."""
        start = self.start[:, None, None].expand(2, key.shape[0], 1, -1)
        q = self._split(query * self.size**-0.5)  # (B, H, Tq, d/H)
        k = self._split(torch.cat([start[0], key], dim=1))  # (B, H, 1 + Tk, d/H)
        v = self._split(torch.cat([start[1], value], dim=1))
        weights = torch.softmax(q @ k.transpose(2, 3) + bias, dim=-1)  # (B, H, Tq, 1 + Tk)
        return (weights @ v).transpose(1, 2).reshape(query.shape)  # (B, Tq, d)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, self.size).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block with gated branches: x + σ(gate)·attention, then x + σ(gate)·SwiGLU.

    Gates as in LiGR (arXiv:2502.03417 §3). memory_size: size of the memory attended to, where it is not x itself.
    """

    def __init__(self, config: ModelConfig, memory_size: int | None = None) -> None:
        super().__init__()
        d = config.width
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = Attention(config)
        self.query, self.key_value, self.out = nn.Linear(d, 2 * d), nn.Linear(memory_size or d, 2 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 5 * d), nn.Linear(2 * d, d)
        self.drop = nn.Dropout(config.dropout)
        for last in (self.out, self.down):  # GPT-2's initialisation: the residual stream does not grow with depth
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * config.layers / 4))

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor | None = None) -> Tensor:
        """x (B, Tq, d), bias (B, H, Tq, 1 + T), memory (B, T, memory_size) or None for x itself → (B, Tq, d)."""
        h = self.norm1(x)
        q, gate = self.query(h).chunk(2, dim=-1)  # each (B, Tq, d)
        k, v = self.key_value(h if memory is None else memory).chunk(2, dim=-1)  # each (B, T, d)
        x = x + torch.sigmoid(gate) * self.drop(self.out(self.attention(q, k, v, bias)))
        d = x.shape[-1]
        a, b, gate = self.up(self.norm2(x)).split([2 * d, 2 * d, d], dim=-1)
        return x + torch.sigmoid(gate) * self.drop(self.down(F.silu(a) * b))


class ContentVector(nn.Module):
    """The learned content vector: (1 − w)·metadata + w·id-embedding, unit length.

    The full id embedding is metadata + id_embedding·basis (a factorised table of low rank), so the blend is
    metadata + w·id_embedding·basis. An item without interactions has w = 0 and equals its text vector.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.id_weight: Tensor
        self.drop = config.id_dropout
        self.id_embedding = nn.Embedding(config.items, config.id_rank)
        self.basis = nn.Parameter(torch.randn(config.id_rank, config.content) / math.sqrt(config.id_rank))
        self.register_buffer("id_weight", torch.zeros(config.items))  # w of each item, set from the training log
        nn.init.zeros_(self.id_embedding.weight)

    def forward(self, metadata: Tensor, item: Tensor) -> Tensor:
        """Metadata vectors (…, C) and item rows (…) → (…, C)."""
        if not self.basis.numel():  # rank 0: items are their texts
            return F.normalize(metadata, dim=-1, eps=1e-3)
        weight = F.embedding(item, self.id_weight[:, None])  # (…, 1)
        if self.training:  # id dropout per item: the text has to do for a new item, which is new wherever it occurs
            weight = weight * (torch.rand_like(weight) >= self.drop)
        # The gradient of a unit vector is unbounded at the origin, where items without text start: eps bounds it
        return F.normalize(metadata + weight * (self.scaled_ids(item) @ self.basis), dim=-1, eps=1e-3)

    def scaled_ids(self, item: Tensor) -> Tensor:
        """Id embeddings of item rows (…) as they are multiplied with the basis, (…, R)."""
        return self.id_embedding(item) * ID_SCALE


class Pointer(nn.Module):
    """Causal attention over the history whose values are the item vectors themselves.

    A copy mechanism: a returning item is named exactly, which a projection to a few numbers cannot do. A start token
    without a value takes part in the softmax, so the pointer may point at nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.width
        self.query, self.key = nn.Linear(d, d), nn.Linear(d, d, bias=False)
        self.position, self.start = nn.Parameter(torch.zeros(POSITION_BUCKETS)), nn.Parameter(torch.zeros(d))
        self.scale = d**-0.5

    def forward(self, x: Tensor, items: Tensor) -> Tensor:
        """States (B, T, d) and item vectors (B, T, D) of the events → (B, T, D), a weighted mean of item vectors."""
        position = torch.arange(x.shape[1], device=x.device)
        distance = position[:, None] - position  # (T, T)
        query = self.query(x) * self.scale
        bias = by_distance(distance, self.position[:, None]).squeeze(-1)  # (T, T)
        scores = query @ self.key(x).transpose(1, 2) + bias - MASKED * (distance < 0)
        scores = torch.cat([query @ self.start[:, None], scores], dim=2)  # (B, T, 1 + T)
        return torch.softmax(scores, dim=-1)[..., 1:] @ items


class PreferenceRegression(nn.Module):
    """A user's preference weights over item traits after each event: an ordinal regression on all events so far,
    unrolled for a few gradient steps.

    An action says between which two thresholds the utility u = weights · traits of its item was. With logistic noise,
    log P(lower < u + noise < upper) has the derivative 1 − σ(u − lower) − σ(u − upper) in u (McCullagh 1980, §2):
    positive while the weights underrate what was liked, negative while they overrate what was not, near zero once they
    explain what happened. Thresholds are read from the encoder's state: skipping an item of a category that is not
    wanted now says nothing about preferences.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.event, self.action = nn.Linear(config.width, 3), nn.Embedding(ACTIONS, 2)
        self.prior_mean = nn.Parameter(torch.zeros(config.traits))  # weights of an unknown user: what everybody likes
        self.log_step_size = nn.Parameter(torch.full((config.regression_steps,), math.log(8.0)))
        self.log_prior_precision = nn.Parameter(torch.tensor(math.log(0.3)))
        self.log_pseudo_count = nn.Parameter(torch.tensor(math.log(4.0)))

    def forward(self, x: Tensor, action: Tensor, traits: Tensor) -> Tensor:
        """States (B, T, d), actions (B, T) and traits (B, T, K) of the events → weights (B, T, K)."""
        thresholds, confidence = self.event(x).split([2, 1], dim=-1)
        lower, upper = (thresholds + self.action(action)).transpose(1, 2)[:, :, None].unbind(1)  # each (B, 1, T)
        position = torch.arange(x.shape[1], device=x.device)
        causal = (position[:, None] >= position).to(x.dtype)  # (T, T)
        direction = 2 * torch.sigmoid(confidence) * traits  # (B, T, K)
        events = position[:, None] + 1 + self.log_pseudo_count.exp()  # (T, 1)
        # First step: all weights are the prior mean, so an event has the same gradient for every later one
        u = (traits @ self.prior_mean)[:, None]  # (B, 1, T)
        slope = 1 - torch.sigmoid(u - lower) - torch.sigmoid(u - upper)
        weights = (
            self.prior_mean + self.log_step_size[0].exp() * (slope.transpose(1, 2) * direction).cumsum(dim=1) / events
        )  # (B, T, K)
        for log_step_size in self.log_step_size[1:]:
            u = weights @ traits.transpose(1, 2)  # (B, T, T): utility of one event's item by the weights at another
            slope = (1 - torch.sigmoid(u - lower) - torch.sigmoid(u - upper)) * causal
            shrinkage = self.log_prior_precision.exp() * (self.prior_mean - weights)
            weights = weights + log_step_size.exp() * (slope @ direction + shrinkage) / events
        return weights
