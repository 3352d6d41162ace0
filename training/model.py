"""The sequence model on one page: a history → a 128-d user vector, and the probabilities of the next action.

    events ─ embedding ─ L × block ─ read-out ─ user vector ─┬─ · item vector = score of the next item
                             └────────── candidate (user) ───┴─ 2 × block over the events ─ P(skip, view, save, share)

Shapes: B windows, T events of a window, N queries, I items of a batch, H heads, C = 384 content, D = 128 output,
d = width, K = traits, M = similarity.

Encoder     causal and pre-norm; each branch is gated before it joins the residual stream (LiGR, arXiv:2502.03417 §3)
Bias        relative positions in T5's buckets (arXiv:1910.10683 §2.1) and log time gaps (HSTU, arXiv:2402.17152 §3.1)
Window      an event attends to the last `window` events, and to every `window`-th event before those (the summary
            positions of arXiv:1904.10509 §4.3); a history that fits in the window has full attention
Preference  an ordinal regression of actions on item traits, unrolled; attention could represent its steps, but does not
            learn them in the minutes that a training takes
Pointer     attention over the history whose values are item vectors: a returning item is copied, not described
Candidate   the action depends on the item times the user vector, and on what was done with the same or similar items:
            the similarity of the candidate to every event is part of the attention bias
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.personalization.sequence_features import DEVICES, EVENT, QUERY_CONTEXT
from training.layers import (
    ACTIONS,
    POSITION_BUCKETS,
    AttentionBias,
    Block,
    ContentVector,
    Pointer,
    PreferenceRegression,
    weighted_sum,
)
from training.model_config import ModelConfig

CONTENT_SCALE = 5.0  # of content vectors around their mean: brings their read-outs to the size of the other inputs
SIMILARITY_RATES = (30.0, 6.0, 1.5)  # exp(−rate · (1 − cosine)): the same item, its kind, its surroundings


@dataclass
class Batch:
    """Windows padded on the right. The prediction of event k uses the events before it and its query context."""

    catalogue: Tensor  # int64 (I,) rows of the id embedding: the items that occur in this batch
    metadata: Tensor  # f32 (I, C) their metadata vectors
    item: Tensor  # int64 (B, T) index into `catalogue`
    action: Tensor  # int64 (B, T)
    device: Tensor  # int64 (B, T)
    event_features: Tensor  # f32 (B, T, EVENT) what is known of an event once it happened
    context_features: Tensor  # f32 (B, T, QUERY_CONTEXT) what is known just before it: its query context
    seconds: Tensor  # int32 (B, T) since the first event
    preference_embedding: Tensor  # f32 (B, C) of the onboarding preferences, zeros for none

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


class ItemProjections(NamedTuple):
    """What the model reads of an item."""

    event: Tensor  # (…, d) as an event of a history
    candidate: Tensor  # (…, d) as a candidate
    similarity: Tensor  # (…, M) unit vector: similar items have a high cosine
    traits: Tensor  # (…, K) what the preference regression weighs


class History(NamedTuple):
    """The events that are encoded."""

    projections: ItemProjections  # of the events' items, (B, T, …)
    item: Tensor  # (B, T, D) item vectors
    action: Tensor  # int64 (B, T)
    device: Tensor  # int64 (B, T)
    features: Tensor  # (B, T, EVENT)
    seconds: Tensor  # int32 (B, T)


class EncodedHistory(NamedTuple):
    """Everything known after each event."""

    state: Tensor  # (B, T, d) of the encoder
    preference: Tensor  # (B, T, K) weights of the preference regression
    pointer: Tensor  # (B, T, D)
    similarity: Tensor  # (B, T, M) of the event's item
    packed: Tensor  # (B, T, d + K + D + M) the four side by side: what candidates attend to
    seconds: Tensor  # int32 (B, T)

    @classmethod
    def unpack(cls, packed: Tensor, seconds: Tensor, config: ModelConfig) -> "EncodedHistory":
        """From the packed tensor alone, which is how it passes from one exported graph to another."""
        state, preference, pointer, similarity = torch.split(packed, list(config.encoded), dim=-1)
        return cls(state, preference, pointer, similarity, packed, seconds)


class UserState(NamedTuple):
    """A user after some number of events."""

    state: Tensor  # (…, d)
    preference: Tensor  # (…, K)
    pointer: Tensor  # (…, D)

    @classmethod
    def unpack(cls, packed: Tensor, config: ModelConfig) -> "UserState":
        """From a row of the packed encoded history without its last part, the similarity: (…, d + K + D)."""
        return cls(*torch.split(packed, list(config.encoded[:-1]), dim=-1))

    def at(self, *index: Any) -> "UserState":
        """Each tensor at an index."""
        return UserState(*(part[index] for part in self))


class QueryContext(NamedTuple):
    """When and where something is predicted."""

    features: Tensor  # (…, QUERY_CONTEXT)
    device: Tensor  # int64 (…)
    preference_embedding: Tensor  # (…, C)


class Candidates(NamedTuple):
    """Candidate items of users at their query contexts."""

    x: Tensor  # (B, N, d)
    similarity: Tensor  # (B, N, M)


class Predictions(NamedTuple):
    """Before each event of a batch."""

    users: Tensor  # (B, T, D) unit vectors
    action_logits: Tensor  # (B, T, 4)
    items: Tensor  # (I, D) unit vectors of the batch's catalogue


class SequenceModel(nn.Module):
    """See the module's docstring. Parameters are initialised from torch's random state."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d, c, o = config.width, config.content, config.output
        self.content_vector = ContentVector(config)
        self.content_mean: Tensor
        self.register_buffer("content_mean", torch.zeros(c))  # texts of one catalogue are alike: only differences tell
        self.item_projections = nn.Linear(c, 2 * d + config.similarity + config.traits)
        self.token_event = nn.Linear(EVENT, d)
        self.token_action, self.token_device = nn.Embedding(ACTIONS, 2 * d), nn.Embedding(len(DEVICES), d)
        self.bias = AttentionBias(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm, self.empty = nn.LayerNorm(d), nn.Parameter(torch.zeros(d))
        self.drop = nn.Dropout(config.dropout)
        self.preference_regression = PreferenceRegression(config)
        self.pointer = Pointer(config)
        self.read_state, self.read_context = nn.Linear(d + config.traits, 2 * d), nn.Linear(QUERY_CONTEXT, 2 * d)
        self.read_preference, self.pointer_gain = nn.Linear(config.traits, o, bias=False), nn.Linear(2 * d, 1)
        self.read_device, self.read_out = nn.Embedding(len(DEVICES), 2 * d), nn.Linear(2 * d, o)
        self.read_preference_embedding = nn.Linear(c, 2 * d, bias=False)
        self.item_linear, self.item_up, self.item_down = nn.Linear(c, o), nn.Linear(c, 2 * o), nn.Linear(2 * o, o)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))  # log of the cosines' scale in the softmax over items
        self.candidate_user, self.candidate_context = nn.Linear(o, 2 * d), nn.Linear(QUERY_CONTEXT, d)
        self.candidate_utility = nn.Linear(config.traits + 1, d)
        self.candidate_device, self.candidate_norm = nn.Embedding(len(DEVICES), d), nn.LayerNorm(d)
        self.candidate_blocks = nn.ModuleList(Block(config, config.hidden) for _ in range(config.candidate_layers))
        self.action_bias = AttentionBias(config)
        self.action_similarity = nn.Parameter(torch.zeros(len(SIMILARITY_RATES), config.heads))
        self.action_norm, self.action_out = nn.LayerNorm(d), nn.Linear(d, ACTIONS)
        self.apply(_init_embedding)
        with torch.no_grad():  # half of the candidate's heads start by looking for the same item, half for its kind
            self.action_similarity[0, ::2], self.action_similarity[1, 1::2] = 4.0, 2.0
            # and the regression with thresholds at which saves and shares count for an item, skips against it
            thresholds = torch.tensor([[-9.0, 0.0], [0.0, 3.0], [3.0, 6.0], [6.0, 15.0]])
            self.preference_regression.action.weight[:] = thresholds
            self.preference_regression.event.weight *= 0.1
            self.pointer_gain.bias.fill_(config.pointer_gain)
            self.pointer.position[:] = -config.pointer_decay * torch.arange(POSITION_BUCKETS)
        nn.init.normal_(self.item_projections.weight, std=0.2)  # as large as the other inputs of an event
        self.metadata: Tensor
        self.register_buffer("metadata", torch.zeros(config.items, c), persistent=False)

    def set_items(self, metadata: Tensor, id_weight: Tensor) -> None:
        """Set the catalogue: metadata vectors f32 (I, C), and the weight w f32 (I,) of each id embedding."""
        self.metadata = metadata
        self.content_vector.id_weight = id_weight

    def items(self) -> Tensor:
        """Item vectors (I, D) of the whole catalogue."""
        rows = torch.arange(self.config.items, device=self.metadata.device)
        return self.item(self.content_vector(self.metadata, rows))

    def forward(self, batch: Batch) -> Predictions:
        """Predict every event of a batch from those before it."""
        content = self.content_vector(batch.metadata, batch.catalogue)  # (I, C): once per item, however often it occurs
        items = self.item(content)  # (I, D)
        of_events = [F.embedding(batch.item, part) for part in (*self.project(content), items)]  # each (B, T, …)
        projections, item = ItemProjections(*of_events[:-1]), of_events[-1]
        encoded = self.encode(
            History(projections, item, batch.action, batch.device, batch.event_features, batch.seconds)
        )
        before = self.states(encoded).at(slice(None), slice(None, -1))  # (B, T, …): state k, before event k
        preference_embedding = batch.preference_embedding
        if self.training:
            kept = torch.rand_like(preference_embedding[:, :1]) >= self.config.preference_embedding_dropout
            preference_embedding = preference_embedding * kept
        context = QueryContext(batch.context_features, batch.device, preference_embedding[:, None])
        users = self.user(before, context)
        candidates = self.candidates(projections, before, users, context)
        positions = torch.arange(item.shape[1], device=item.device)[None]
        return Predictions(users, self.action(encoded, candidates, positions, batch.seconds), items)

    def project(self, content: Tensor) -> ItemProjections:
        """Learned content vectors (…, C) → what the model reads of the items."""
        d, config = self.config.width, self.config
        event, candidate, similarity, traits = self.item_projections(self._centred(content)).split(
            [d, d, config.similarity, config.traits], dim=-1
        )
        return ItemProjections(event, candidate, F.normalize(similarity, dim=-1), traits)

    def _centred(self, content: Tensor) -> Tensor:
        return (content - self.content_mean) * CONTENT_SCALE

    def encode(self, history: History) -> EncodedHistory:
        """Encode the events, each from itself and those before it."""
        event, _, similarity, traits = history.projections
        scale, shift = self.token_action(history.action).chunk(2, dim=-1)  # an item is modulated by what was done
        x = event * (1 + scale) + shift + self.token_event(history.features) + self.token_device(history.device)
        x = self.drop(x)  # (B, T, d)
        positions = torch.arange(x.shape[1], device=x.device)[None]
        bias = self.bias(positions, history.seconds, history.seconds, nearest=0)  # (B, H, T, 1 + T), for every layer
        for block in self.blocks:
            x = block(x, bias)
        x = self.norm(x)
        has = self.config
        preference = (
            self.preference_regression(x, history.action, traits)
            if has.preference_regression
            else torch.zeros_like(traits)
        )  # (B, T, K)
        pointer = self.pointer(x, history.item) if has.pointer else torch.zeros_like(history.item)  # (B, T, D)
        return EncodedHistory.unpack(
            torch.cat([x, preference, pointer, similarity], dim=-1), history.seconds, self.config
        )

    def states(self, encoded: EncodedHistory) -> UserState:
        """The user before everything, then after each event: (B, 1 + T, …)."""
        prior: Tensor = self.preference_regression.prior_mean
        prior = prior if self.config.preference_regression else torch.zeros_like(prior)
        unknown = torch.cat([self.empty, prior, self.empty.new_zeros(self.config.output)]).expand(
            len(encoded.packed), 1, -1
        )  # (B, 1, d + K + D)
        packed = torch.cat([unknown, encoded.packed[..., : -self.config.similarity]], dim=1)  # (B, 1 + T, d + K + D)
        return UserState.unpack(packed, self.config)

    def user(self, user: UserState, context: QueryContext) -> Tensor:
        """The unit user vector (…, D) at a query context."""
        inputs = self.read_context(context.features) + self.read_device(context.device)
        inputs = inputs + self.read_preference_embedding(context.preference_embedding)
        read = F.silu(self.read_state(torch.cat([user.state, user.preference], dim=-1)) + inputs)  # (…, 2d)
        pointed = self.pointer_gain(read) * user.pointer  # (…, D)
        return F.normalize(self.read_out(read) + self.read_preference(user.preference) + pointed, dim=-1)

    def item(self, content: Tensor) -> Tensor:
        """Learned content vector (…, C) → unit item vector (…, D)."""
        x = self._centred(content)
        return F.normalize(self.item_linear(x) + self.item_down(F.silu(self.item_up(x))), dim=-1)

    def candidates(self, items: ItemProjections, user: UserState, vector: Tensor, context: QueryContext) -> Candidates:
        """Items (B, N, …) as candidates; the user's state, vector and context are (B, N or 1, …)."""
        scale, shift = self.candidate_user(vector).chunk(2, dim=-1)  # the item is modulated by what is wanted
        x = items.candidate * (1 + scale) + shift
        x = x + self.candidate_context(context.features) + self.candidate_device(context.device)
        utilities = user.preference * items.traits  # (B, N, K); their sum is the item's utility
        x = x + self.candidate_utility(torch.cat([utilities, utilities.sum(-1, keepdim=True)], dim=-1))
        return Candidates(self.candidate_norm(x), items.similarity)

    def action(self, encoded: EncodedHistory, candidates: Candidates, position: Tensor, now_s: Tensor) -> Tensor:
        """Action logits (B, N, 4) of candidates that attend to the history; their own action is no input.

        position int64 (B or 1, N): how many events come before each; now_s int32 (B, N): seconds of the query.
        """
        bias = self.action_bias(position, now_s, encoded.seconds, nearest=1)  # (B, H, N, 1 + T)
        if self.config.similarity_kernels:
            bias = bias + self._similarity_bias(candidates, encoded)
        x = candidates.x
        for block in self.candidate_blocks:
            x = block(x, bias, encoded.packed)
        logits: Tensor = self.action_out(self.action_norm(x))
        return logits

    def _similarity_bias(self, candidates: Candidates, encoded: EncodedHistory) -> Tensor:
        """What the likeness of candidates to events adds to attention: (B, H, N, 1 + T)."""
        cosine = candidates.similarity @ encoded.similarity.transpose(1, 2) - 1  # (B, N, T) − 1: 0 for the same item
        kernels = torch.stack([torch.exp(rate * cosine) for rate in SIMILARITY_RATES], dim=1)  # (B, 3, N, T)
        return weighted_sum(F.pad(kernels, (1, 0)), self.action_similarity)  # 0 for the start token


def _init_embedding(module: nn.Module) -> None:
    """Small embeddings; those that start at zero stay."""
    if isinstance(module, nn.Embedding) and module.embedding_dim and not (module.weight == 0).all():
        nn.init.normal_(module.weight, std=0.02)
