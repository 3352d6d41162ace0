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
from training.layers import ACTIONS, POSITION_BUCKETS, Bias, Block, ContentVector, ModelConfig, Pointer, Taste, mixed

SPREAD = 5.0  # of content vectors around their centre, so that a step moves what is read of them as far as the rest
KERNELS = (30.0, 6.0, 1.5)  # how fast a likeness fades: the same item, its kind, its surroundings


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
