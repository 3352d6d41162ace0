"""The layers of the sequence model (training/model.py) and its configuration: shapes are named there."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIONS = 4
HIDDEN = 1e4  # taken off the score of an event that may not be seen: e to the minus that is 0 in float32
TIME_KNOTS, KNOT_OCTAVES = 9, 3  # a gap of 1 second, 8, 64 …: up to half a year
POSITION_BUCKETS = 20
CODE = 0.05  # of a code's own size, so that the noise of a step does not drown the text


@dataclass(frozen=True)
class ModelConfig:
    """layers: the one number of depth, 4 to 24. items: rows of the id-embedding, a product of rank id_rank.

    candidate_layers: blocks of a candidate over the events. likeness: numbers that say which items are alike.
    traits: numbers of an item that a taste weighs. taste_steps: of its regression, 1 and more.
    pointer_gain, pointer_decay: where the pointer begins, how loud beside the rest of the user's vector and how much of
    a score each event in between takes off.
    """

    items: int
    layers: int = 4
    width: int = 64
    heads: int = 4
    window: int = 64
    dropout: float = 0.1
    id_rank: int = 16
    id_half: float = 20.0
    id_dropout: float = 0.3
    stated_dropout: float = 0.3
    candidate_layers: int = 2
    likeness: int = 32
    traits: int = 16
    taste_steps: int = 4
    pointer_gain: float = 1.0
    pointer_decay: float = 0.0
    content: int = 384
    output: int = 128

    def __post_init__(self) -> None:
        if not 4 <= self.layers <= 24:
            raise ValueError(f"layers is {self.layers}, the model is made for 4 to 24")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")

    @property
    def hidden(self) -> int:
        """Numbers that stand for an event once it is read: state after it, taste so far, what the history points at,
        its item's likeness."""
        return self.width + self.traits + self.output + self.likeness


class Bias(nn.Module):
    """Score of (query, key) by how many events and how much time lie between, and what may be seen at all."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.window = config.window
        self.position = nn.Parameter(torch.zeros(POSITION_BUCKETS, config.heads))
        self.time = nn.Parameter(torch.zeros(TIME_KNOTS, config.heads))
        self.start = nn.Parameter(torch.zeros(config.heads))

    def forward(self, query: Tensor, query_s: Tensor, key_s: Tensor, nearest: int) -> Tensor:
        """Positions (B or 1, Tq) and seconds (B, Tq) of queries, seconds (B, Tk) of events → (B, H, Tq, 1 + Tk).

        The first key is the start, visible to all. nearest: the smallest distance that may be seen, 0 or 1.
        """
        key = torch.arange(key_s.shape[1], device=key_s.device)
        distance = query[:, :, None] - key  # (B or 1, Tq, Tk)
        near = (distance >= nearest) & ((distance < self.window) | (key % self.window == self.window - 1))
        scores = by_distance(distance, self.position).permute(0, 3, 1, 2)  # (B or 1, H, Tq, Tk)
        start = self.start[None, :, None, None].expand(scores.shape[0], -1, scores.shape[2], 1)
        scores = torch.cat([start, scores - HIDDEN * (~near[:, None])], dim=3)  # (B or 1, H, Tq, 1 + Tk)
        # Between two knots the line that joins them: nothing jumps where rounding moves a gap over a boundary.
        gap = (query_s[:, :, None] - key_s[:, None, :]).clamp(min=0).float()  # (B, Tq, Tk)
        at = (torch.log(gap + 1) * (1 / (KNOT_OCTAVES * math.log(2)))).clamp(max=TIME_KNOTS - 1)
        at = F.pad(at, (1, 0), value=-1.0)[:, None]  # (B, 1, Tq, 1 + Tk): the start is at no time
        knots = torch.arange(TIME_KNOTS, device=key_s.device, dtype=torch.float32)[:, None, None]
        share = F.relu(1 - (at - knots).abs())  # (B, K, Tq, 1 + Tk)
        return scores + mixed(share, self.time)


def mixed(share: Tensor, table: Tensor) -> Tensor:
    """Σ over K of share (B, K, Tq, Tk) times table (K, H) → (B, H, Tq, Tk)."""
    return (table.T @ share.flatten(2)).reshape(len(share), table.shape[1], *share.shape[2:])


def by_distance(distance: Tensor, table: Tensor) -> Tensor:
    """Rows of a table (POSITION_BUCKETS, H) by the bucket of each distance (…, Tk), of which none is above Tk → (…, H).
    A bucket is found once a distance, not once a pair."""
    buckets = position_bucket(torch.arange(distance.shape[-1] + 1, device=distance.device))
    return F.embedding(distance.clamp(min=0), table[buckets])


def position_bucket(distance: Tensor) -> Tensor:
    """0 to 7 as they are, then two to a doubling, the last from 363 on: int64 of the same shape."""
    far = 8 + torch.floor(2 * torch.log2(distance.clamp(min=8).float() / 8) + 1e-4).long()
    return torch.where(distance < 8, distance.clamp(min=0), far).clamp(max=POSITION_BUCKETS - 1)


class Attention(nn.Module):
    """Heads over given queries, with one learned key and value that stands for the start."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.size = config.heads, config.width // config.heads
        self.start = nn.Parameter(torch.randn(2, config.width) * 0.02)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """(B, Tq, d), (B, Tk, d) twice, bias (B, H, Tq, 1 + Tk) → (B, Tq, d)."""
        start = self.start[:, None, None].expand(2, key.shape[0], 1, -1)
        q = self._split(query * self.size**-0.5)  # (B, H, Tq, d/H)
        k = self._split(torch.cat([start[0], key], dim=1))  # (B, H, 1 + Tk, d/H)
        v = self._split(torch.cat([start[1], value], dim=1))
        weights = torch.softmax(q @ k.transpose(2, 3) + bias, dim=-1)  # (B, H, Tq, 1 + Tk)
        return (weights @ v).transpose(1, 2).reshape(query.shape)  # (B, Tq, d)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, self.size).transpose(1, 2)


class Block(nn.Module):
    """x + σ(gate)·attention, then x + σ(gate)·SwiGLU: both gates read the normalised stream.

    reads: the size of what is attended to where that is not the stream itself.
    """

    def __init__(self, config: ModelConfig, reads: int | None = None) -> None:
        super().__init__()
        d = config.width
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = Attention(config)
        self.query, self.key_value, self.out = nn.Linear(d, 2 * d), nn.Linear(reads or d, 2 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 5 * d), nn.Linear(2 * d, d)
        self.drop = nn.Dropout(config.dropout)
        for last in (self.out, self.down):  # GPT-2's scale: the stream's size does not grow with depth
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * config.layers / 4))

    def forward(self, x: Tensor, bias: Tensor, read: Tensor | None = None) -> Tensor:
        """x (B, Tq, d), bias (B, H, Tq, 1 + T), read (B, T, reads) or None for x itself → (B, Tq, d)."""
        h = self.norm1(x)
        q, gate = self.query(h).chunk(2, dim=-1)  # each (B, Tq, d)
        k, v = self.key_value(h if read is None else read).chunk(2, dim=-1)  # each (B, T, d)
        x = x + torch.sigmoid(gate) * self.drop(self.out(self.attention(q, k, v, bias)))
        d = x.shape[-1]
        a, b, gate = self.up(self.norm2(x)).split([2 * d, 2 * d, d], dim=-1)
        return x + torch.sigmoid(gate) * self.drop(self.down(F.silu(a) * b))


class ContentVector(nn.Module):
    """The learned content vector: (1 − w)·metadata + w·id-embedding, unit length.

    The id-embedding is metadata + codes·basis, so the blend is metadata + w·codes·basis: an item nobody has seen has
    w = 0 and is its text, and one whose code says nothing stays its text however often it was seen.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight: Tensor
        self.drop = config.id_dropout
        self.codes = nn.Embedding(config.items, config.id_rank)
        self.basis = nn.Parameter(torch.randn(config.id_rank, config.content) / math.sqrt(config.id_rank))
        self.register_buffer("weight", torch.zeros(config.items))  # w of each item, set from the training log
        nn.init.zeros_(self.codes.weight)

    def forward(self, content: Tensor, item: Tensor) -> Tensor:
        """Metadata (…, C) and rows (…) → (…, C)."""
        weight = F.embedding(item, self.weight[:, None])  # (…, 1)
        if self.training:  # id-dropout: the text has to do for a new item, which is new wherever it occurs
            weight = weight * (torch.rand_like(weight) >= self.drop)
        # An item without a text begins at the origin, where the slope of a unit vector has no bound but this one
        return F.normalize(content + weight * (self.code(item) @ self.basis), dim=-1, eps=1e-3)

    def code(self, item: Tensor) -> Tensor:
        """Codes of rows (…) as the basis takes them, (…, R)."""
        return self.codes(item) * CODE


class Pointer(nn.Module):
    """Attention over the history whose values are the item vectors themselves: what comes back is named exactly, which
    a readout of a few numbers cannot do. Nothing may be pointed at: a start with no value takes part in the softmax."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.width
        self.query, self.key = nn.Linear(d, d), nn.Linear(d, d, bias=False)
        self.position, self.start = nn.Parameter(torch.zeros(POSITION_BUCKETS)), nn.Parameter(torch.zeros(d))
        self.scale = d**-0.5

    def forward(self, x: Tensor, items: Tensor) -> Tensor:
        """States (B, T, d) and item vectors (B, T, D) of the events → (B, T, D): what each state points at."""
        position = torch.arange(x.shape[1], device=x.device)
        distance = position[:, None] - position  # (T, T)
        query = self.query(x) * self.scale
        places = by_distance(distance, self.position[:, None]).squeeze(-1)  # (T, T)
        scores = query @ self.key(x).transpose(1, 2) + places - HIDDEN * (distance < 0)
        scores = torch.cat([query @ self.start[:, None], scores], dim=2)  # (B, T, 1 + T)
        return torch.softmax(scores, dim=-1)[..., 1:] @ items


class Taste(nn.Module):
    """A taste at each event, from all events up to it: an ordinal regression, unrolled for a few steps of its gradient.

    An action says between which bounds the utility u = taste · traits of its item lay. With logistic noise,
    log P(lower < u + noise < upper) has the slope 1 − σ(u − lower) − σ(u − upper) in u (McCullagh 1980, §2): above zero
    while the taste makes too little of what was liked, below zero while it makes too much of what was not, near zero
    once it explains what happened. The bounds are read from the state: an item of a kind that is not wanted now says
    nothing when it is skipped.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.event, self.action = nn.Linear(config.width, 3), nn.Embedding(ACTIONS, 2)
        self.usual = nn.Parameter(torch.zeros(config.traits))  # the taste of somebody unknown: what everybody likes
        self.rate = nn.Parameter(torch.full((config.taste_steps,), math.log(8.0)))
        self.prior, self.doubt = nn.Parameter(torch.tensor(math.log(0.3))), nn.Parameter(torch.tensor(math.log(4.0)))

    def forward(self, x: Tensor, action: Tensor, traits: Tensor) -> Tensor:
        """States (B, T, d), codes (B, T) and traits (B, T, K) of the events → (B, T, K)."""
        bounds, sure = self.event(x).split([2, 1], dim=-1)
        lower, upper = (bounds + self.action(action)).transpose(1, 2)[:, :, None].unbind(1)  # each (B, 1, T)
        position = torch.arange(x.shape[1], device=x.device)
        seen = (position[:, None] >= position).to(x.dtype)  # (T, T)
        pull = 2 * torch.sigmoid(sure) * traits  # (B, T, K)
        events = position[:, None] + 1 + self.doubt.exp()  # (T, 1)
        # Where all begin, every event pulls the same wherever it is seen from
        u = (traits @ self.usual)[:, None]  # (B, 1, T)
        slope = 1 - torch.sigmoid(u - lower) - torch.sigmoid(u - upper)
        taste = self.usual + self.rate[0].exp() * (slope.transpose(1, 2) * pull).cumsum(dim=1) / events
        for rate in self.rate[1:]:
            u = taste @ traits.transpose(1, 2)  # (B, T, T): what the taste at one event makes of another
            slope = (1 - torch.sigmoid(u - lower) - torch.sigmoid(u - upper)) * seen
            taste = taste + rate.exp() * (slope @ pull + self.prior.exp() * (self.usual - taste)) / events
        return taste
