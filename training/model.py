"""The sequence model on one page: what a user did → a 128-d vector of what they want now, and what they will do next.

    events ─ tokens ─ L × block ─ readout(now) ─ user vector ─┬─ · item vector = what next
                          └──────────────── candidate(user) ──┴─ 2 × block over the events ─ P(skip, view, save, share)

Shapes: B windows, T events a window, S = T + 1 states (state k: after k events), I items of a batch, H heads,
C = 384 content, D = 128, M = likeness, K = traits.
Layers    pre-norm and causal; each branch is gated before it joins the stream, as LiGR does (arXiv:2502.03417 §3)
Bias      relative position in T5's buckets (arXiv:1910.10683 §2.1) and log time gap (HSTU, arXiv:2402.17152 §3.1)
Window    an event sees the last `window` events, and every `window`-th event of before stays visible to all (the
          summary positions of arXiv:1904.10509 §4.3); what fits in a window is full attention
Taste     an ordinal regression of how it went on what the items were like, unrolled: attention can express its steps,
          and does not find them in the minutes that a run has
Pointer   attention over the history whose values are the item vectors: what comes back is named, not described
Candidate what will be done with it depends on it times the user's vector, and on what was done with the same item and
          with ones like it: its likeness to every event is part of the bias
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.personalization.sequence_features import DEVICES, EVENT, MOMENT

ACTIONS = 4
HIDDEN = 1e4  # taken off the score of an event that may not be seen: e to the minus that is 0 in float32
TIME_KNOTS, KNOT_OCTAVES = 9, 3  # a gap of 1 second, 8, 64 …: up to half a year
POSITION_BUCKETS = 20
CODE = 0.05  # of a code's own size, so that the noise of a step does not drown the text
SPREAD = 5.0  # of content vectors around their centre, so that a step moves what is read of them as far as the rest
KERNELS = (30.0, 6.0, 1.5)  # how fast a likeness fades: the same item, its kind, its surroundings


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


@dataclass
class Batch:
    """Windows padded on the right; event k of a window is what state k has to predict."""

    catalogue: Tensor  # int64 (I,) rows of the id-embedding: the items this batch speaks of
    metadata: Tensor  # f32 (I, C) their metadata vectors
    item: Tensor  # int64 (B, T) index into the catalogue
    action: Tensor  # int64 (B, T)
    device: Tensor  # int64 (B, T)
    events: Tensor  # f32 (B, T, EVENT) what is known of event k once it happened
    moments: Tensor  # f32 (B, T, MOMENT) what was known just before it
    seconds: Tensor  # int32 (B, T)
    stated: Tensor  # f32 (B, C) vector of what the user said at onboarding, zeros for nothing


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


class SequenceModel(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d, c, o = config.width, config.content, config.output
        self.learned = ContentVector(config)
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(c))  # of the catalogue's content vectors: texts of a kind are alike
        self.faces_of_item = nn.Linear(c, 2 * d + config.likeness + config.traits)
        self.token_event = nn.Linear(EVENT, d)
        self.token_action, self.token_device = nn.Embedding(ACTIONS, 2 * d), nn.Embedding(len(DEVICES), d)
        self.bias = Bias(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm, self.empty = nn.LayerNorm(d), nn.Parameter(torch.zeros(d))
        self.drop = nn.Dropout(config.dropout)
        self.taste = Taste(config)
        self.pointer = Pointer(config)
        self.read_state, self.read_moment = nn.Linear(d + config.traits, 2 * d), nn.Linear(MOMENT, 2 * d)
        self.read_taste, self.read_pointed = nn.Linear(config.traits, o, bias=False), nn.Linear(2 * d, 1)
        self.read_device, self.read_out = nn.Embedding(len(DEVICES), 2 * d), nn.Linear(2 * d, o)
        self.read_stated = nn.Linear(c, 2 * d, bias=False)
        self.item_line, self.item_up, self.item_down = nn.Linear(c, o), nn.Linear(c, 2 * o), nn.Linear(2 * o, o)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))  # of cosines, before the softmax over items
        self.candidate_user, self.candidate_moment = nn.Linear(o, 2 * d), nn.Linear(MOMENT, d)
        self.candidate_taste = nn.Linear(config.traits + 1, d)
        self.candidate_device, self.candidate_norm = nn.Embedding(len(DEVICES), d), nn.LayerNorm(d)
        self.candidate_blocks = nn.ModuleList(Block(config, config.hidden) for _ in range(config.candidate_layers))
        self.action_bias, self.action_alike = Bias(config), nn.Parameter(torch.zeros(len(KERNELS), config.heads))
        self.action_norm, self.action_out = nn.LayerNorm(d), nn.Linear(d, ACTIONS)
        self.apply(_small_tables)
        with torch.no_grad():  # where to begin: half of the heads look for the same item, half for its kind
            self.action_alike[0, ::2], self.action_alike[1, 1::2] = 4.0, 2.0
            # and of a taste: what was saved and shared counts for it, what was skipped against it
            self.taste.action.weight[:] = torch.tensor([[-9.0, 0.0], [0.0, 3.0], [3.0, 6.0], [6.0, 15.0]])
            self.taste.event.weight *= 0.1
            self.read_pointed.bias.fill_(config.pointer_gain)
            self.pointer.position[:] = -config.pointer_decay * torch.arange(POSITION_BUCKETS)
        nn.init.normal_(self.faces_of_item.weight, std=0.2)  # as loud as the rest of a token
        self.metadata: Tensor
        self.register_buffer("metadata", torch.zeros(config.items, c), persistent=False)

    def set_items(self, metadata: Tensor, weight: Tensor) -> None:
        """The catalogue: metadata vectors f32 (I, C), and w f32 (I,) of the blend, from the training log."""
        self.metadata = metadata
        self.learned.weight = weight

    def items(self) -> Tensor:
        """Item vectors (I, D) of the whole catalogue."""
        return self.item(self.learned(self.metadata, torch.arange(self.config.items)))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """User vectors (B, T, D) before each event and action logits (B, T, 4) of it; vectors (I, D) of the items."""
        learned = self.learned(batch.metadata, batch.catalogue)  # (I, C): once an item, however often it occurs
        items = self.item(learned)  # (I, D)
        event, shown, likeness, traits, item = (F.embedding(batch.item, face) for face in (*self.faces(learned), items))
        hidden = self._encode(event, likeness, traits, item, batch.action, batch.device, batch.events, batch.seconds)
        states = self.states(hidden)[:, :-1]  # (B, T, d + K + D): state k was there when event k came
        stated = batch.stated
        if self.training:  # as for ids: most users say nothing
            stated = stated * (torch.rand_like(stated[:, :1]) >= self.config.stated_dropout)
        users = self.user(states, batch.moments, batch.device, stated[:, None])
        candidate = self._candidate(shown, likeness, traits, states, users, batch.moments, batch.device)
        positions = torch.arange(event.shape[1], device=event.device)[None]
        return users, self.action(hidden, batch.seconds, candidate, positions, batch.seconds), items

    def faces(self, learned: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Learned content (…, C) → an item as an event (…, d) and as a candidate (…, d), its likeness, unit (…, M), and
        its traits (…, K)."""
        sizes = [self.config.width, self.config.width, self.config.likeness, self.config.traits]
        event, shown, likeness, traits = self.faces_of_item(self._spread(learned)).split(sizes, dim=-1)
        return event, shown, F.normalize(likeness, dim=-1), traits

    def _spread(self, learned: Tensor) -> Tensor:
        return (learned - self.centre) * SPREAD

    def encode(
        self, content: Tensor, item: Tensor, action: Tensor, device: Tensor, events: Tensor, seconds: Tensor
    ) -> Tensor:
        """Learned content (B, T, C), item vectors (B, T, D), codes (B, T) twice, features (B, T, EVENT), seconds (B, T)
        → (B, T, d + K + D + M)."""
        event, _, likeness, traits = self.faces(content)
        return self._encode(event, likeness, traits, item, action, device, events, seconds)

    def _encode(
        self,
        event: Tensor,
        likeness: Tensor,
        traits: Tensor,
        item: Tensor,
        action: Tensor,
        device: Tensor,
        events: Tensor,
        seconds: Tensor,
    ) -> Tensor:
        factor, term = self.token_action(action).chunk(2, dim=-1)  # an item saved is the item times what a save means
        x = self.drop(event * (1 + factor) + term + self.token_event(events) + self.token_device(device))  # (B, T, d)
        positions = torch.arange(x.shape[1], device=x.device)[None]
        bias = self.bias(positions, seconds, seconds, nearest=0)  # (B, H, T, 1 + T), the same for every layer
        for block in self.blocks:
            x = block(x, bias)
        x = self.norm(x)
        taste = self.taste(x, action, traits)
        return torch.cat([x, taste, self.pointer(x, item), likeness], dim=-1)

    def states(self, hidden: Tensor) -> Tensor:
        """(B, T, d + K + D + M) → state, taste and what is pointed at (B, 1 + T, d + K + D): before everything, then
        after each event."""
        nothing = self.empty.new_zeros(self.config.output)
        empty = torch.cat([self.empty, self.taste.usual, nothing]).expand(hidden.shape[0], 1, -1)
        return torch.cat([empty, hidden[..., : -self.config.likeness]], dim=1)

    def user(self, state: Tensor, moment: Tensor, device: Tensor, stated: Tensor) -> Tensor:
        """State (…, d + K + D), moment (…, MOMENT), device (…) and stated (…, C) → unit vector (…, D)."""
        d, m = self.config.width, self.config.traits
        state, taste, pointed = state[..., : d + m], state[..., d : d + m], state[..., d + m :]
        now = self.read_moment(moment) + self.read_device(device) + self.read_stated(stated)
        read = F.silu(self.read_state(state) + now)
        return F.normalize(self.read_out(read) + self.read_taste(taste) + self.read_pointed(read) * pointed, dim=-1)

    def item(self, learned: Tensor) -> Tensor:
        """Learned content vector (…, C) → unit vector (…, D)."""
        x = self._spread(learned)
        return F.normalize(self.item_line(x) + self.item_down(F.silu(self.item_up(x))), dim=-1)

    def candidate(self, learned: Tensor, state: Tensor, user: Tensor, moment: Tensor, device: Tensor) -> Tensor:
        """Candidates' learned content (B, N, C); states, user vectors, moments and devices (B, N or 1, …)
        → (B, N, d + M)."""
        _, shown, likeness, traits = self.faces(learned)
        return self._candidate(shown, likeness, traits, state, user, moment, device)

    def _candidate(
        self,
        shown: Tensor,
        likeness: Tensor,
        traits: Tensor,
        state: Tensor,
        user: Tensor,
        moment: Tensor,
        device: Tensor,
    ) -> Tensor:
        d = self.config.width
        factor, term = self.candidate_user(user).chunk(2, dim=-1)  # what it is times what is wanted
        x = shown * (1 + factor) + term + self.candidate_moment(moment) + self.candidate_device(device)
        parts = state[..., d : d + self.config.traits] * traits  # (B, N, K), and their sum is the utility
        x = x + self.candidate_taste(torch.cat([parts, parts.sum(-1, keepdim=True)], dim=-1))
        return torch.cat([self.candidate_norm(x), likeness], dim=-1)

    def action(self, hidden: Tensor, seconds: Tensor, candidate: Tensor, position: Tensor, now_s: Tensor) -> Tensor:
        """Logits (B, N, 4) of N candidates: a candidate asks the history, and its own action is nowhere to be seen.

        hidden (B, T, d + K + D + M) and seconds (B, T) of the events; candidate (B, N, d + M); position (B or 1, N):
        how many events come before it; now_s (B, N).
        """
        d = self.config.width
        x, likeness = candidate[..., :d], candidate[..., d:]
        bias = self.action_bias(position, now_s, seconds, nearest=1)  # (B, H, N, 1 + T)
        unlike = likeness @ hidden[..., -self.config.likeness :].transpose(1, 2) - 1  # (B, N, T), 0 for the same item
        alike = torch.stack([torch.exp(rate * unlike) for rate in KERNELS], dim=1)  # (B, K, N, T)
        bias = bias + mixed(F.pad(alike, (1, 0)), self.action_alike)  # nothing for the start
        for block in self.candidate_blocks:
            x = block(x, bias, hidden)
        logits: Tensor = self.action_out(self.action_norm(x))
        return logits


def _small_tables(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding) and module.embedding_dim and not (module.weight == 0).all():
        nn.init.normal_(module.weight, std=0.02)
