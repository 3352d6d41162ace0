"""One backbone for the published sequence models, and their losses. Items are numbered from 1; 0 is padding on the
left."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.model import CONTENT_SCALE
from training.published.blocks import HSTUBlock, LiGRBlock, SASRecBlock


@dataclass(frozen=True)
class PublishedConfig:
    """One published model.

    block, loss       see BLOCKS; "softmax" over the whole catalogue, or one of LOSSES
    blocks … dropout  sizes of the transformer
    length            events of a history that are read, the newest
    negatives         items sampled per position, uniformly, for the losses that sample
    calibration       of gBCE: 0 is plain binary cross entropy, 1 corrects for the sampling completely
    temperature       of the cosine that scores an item; None for the dot product
    text              add a projection of the content vectors to the item embeddings (not in the papers); an item that
                      training never met is its text alone
    id_dropout        share of the items that are their text alone in a step of training, where `text`: what is learned
                      has to hold for items that nobody met
    learning_rate, batch, epochs  of Adam; users per step; epochs at most
    """

    name: str
    block: str
    loss: str
    blocks: int = 2
    width: int = 64
    heads: int = 2
    dropout: float = 0.2
    length: int = 100
    negatives: int = 256
    calibration: float = 0.75
    temperature: float | None = None
    text: bool = False
    id_dropout: float = 0.0
    learning_rate: float = 1e-3
    batch: int = 128
    epochs: int = 200
    seed: int = 0


SASREC = PublishedConfig("SASRec", "sasrec", "softmax")
GSASREC = PublishedConfig("gSASRec", "sasrec", "gbce")
ESASREC = PublishedConfig("eSASRec", "ligr", "sampled softmax")
HSTU = PublishedConfig("HSTU", "hstu", "softmax", temperature=0.05)
PUBLISHED = (SASREC, GSASREC, ESASREC, HSTU)
# A cosine, because a dot product favours items that training met: with an id their embeddings are longer. Selected on
# Deskdrop's validation events, as the recipe of this project's own model
WITH_TEXT = replace(ESASREC, name="eSASRec with text", loss="softmax", text=True, id_dropout=0.5, temperature=0.05)

BLOCKS: dict[str, Callable[[PublishedConfig], nn.Module]] = {
    "sasrec": lambda c: SASRecBlock(c.width, c.heads, c.dropout),
    "ligr": lambda c: LiGRBlock(c.width, c.heads, c.dropout),
    "hstu": lambda c: HSTUBlock(c.width, c.heads, c.dropout, c.length),
}


class PublishedModel(nn.Module):
    """A transformer over item embeddings; the score of an item is its embedding times the state, or their cosine.

    content: f32 (I, C) content vectors of the items, read where `config.text`. met: bool (I,) of the items that occur
    in training. Only these are in a softmax: as a negative, an item that is never a target would teach that texts like
    its own are never wanted.
    """

    def __init__(self, config: PublishedConfig, content: Tensor, met: Tensor) -> None:
        super().__init__()
        self.config = config
        self.item = nn.Embedding(1 + len(content), config.width, padding_idx=0)
        self.met: Tensor
        self.register_buffer("met", F.pad(met, (1, 0), value=True), persistent=False)  # (1 + I,), True for padding
        self.position = nn.Embedding(config.length, config.width)
        self.content: Tensor
        # Texts of one catalogue are alike: unscaled, their differences drown in the position embedding
        spread = CONTENT_SCALE * (content - content.mean(0))
        self.register_buffer("content", F.pad(spread, (0, 0, 1, 0)) if config.text else None)
        self.read = nn.Linear(content.shape[1], config.width, bias=False) if config.text else None
        self.blocks = nn.ModuleList(BLOCKS[config.block](config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width) if config.block == "sasrec" else nn.Identity()
        self.drop = nn.Dropout(config.dropout)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)

    def items(self) -> Tensor:
        """Item embeddings (1 + I, d), the first of padding."""
        weight = self.item.weight
        if self.read is None:
            return weight
        known = self.met
        if self.training:
            known = known & (torch.rand(len(weight), device=weight.device) >= self.config.id_dropout)
        return weight * known[:, None] + self.read(self.content)

    def forward(self, item: Tensor, times: Tensor, items: Tensor) -> Tensor:
        """State after each event, (B, T, d). item int64 (B, T), times int64 (B, T + 1) in seconds, items of `items`."""
        t = item.shape[1]
        real = (item > 0)[..., None]
        place = torch.arange(t - 1, -1, -1, device=item.device)  # from the newest: the same at any length
        scale = self.config.width**0.5 if self.config.block == "hstu" else 1.0
        x = self.drop(scale * F.embedding(item, items) + self.position(place))
        hidden = torch.ones(t, t, dtype=torch.bool, device=item.device).triu(1)
        for block in self.blocks:
            x = block(x, real, hidden, times)
        if self.config.block != "ligr":
            x = x * real
        out: Tensor = self.norm(x)
        return out

    def scores(self, state: Tensor, items: Tensor) -> Tensor:
        """Scores (…, 1 + I) of all items for states (…, d)."""
        if self.config.temperature is None:
            return state @ items.T
        return F.normalize(state, dim=-1) @ F.normalize(items, dim=-1).T / self.config.temperature

    def loss(self, item: Tensor, times: Tensor, target: Tensor) -> Tensor:
        """Mean loss over the positions that have a target: int64 (B, T), 0 for none."""
        items = self.items()
        kept = target > 0
        logits, wanted = self.scores(self(item, times, items)[kept], items), target[kept]  # (N, 1 + I), (N,)
        if self.config.loss == "softmax":
            return F.cross_entropy(logits.masked_fill(~self.met, -torch.inf), wanted)
        candidates = self.met.nonzero()[1:, 0]  # without padding
        shape = (len(wanted), self.config.negatives)
        drawn = candidates[torch.randint(len(candidates), shape, device=wanted.device)]
        sampled = logits.gather(1, torch.cat([wanted[:, None], drawn], dim=1))  # (N, 1 + negatives)
        return LOSSES[self.config.loss](sampled, len(candidates), self.config.calibration)


def sampled_softmax_loss(sampled: Tensor, items: int, calibration: float) -> Tensor:
    """Cross entropy of the target among sampled items. sampled (N, 1 + negatives): the target's logit is the first."""
    return F.cross_entropy(sampled, torch.zeros(len(sampled), dtype=torch.int64, device=sampled.device))


def gbce_loss(sampled: Tensor, items: int, calibration: float) -> Tensor:
    """Binary cross entropy with the target's probability to the power β (gSASRec, arXiv:2308.07192 §4)."""
    share = (sampled.shape[1] - 1) / (items - 1)  # sampled, of the items that are not the target
    power = share * (calibration * (1 - 1 / share) + 1 / share)
    losses = power * -F.logsigmoid(sampled[:, 0]) - F.logsigmoid(-sampled[:, 1:]).sum(1)
    return losses.mean() / sampled.shape[1]


# Of logits whose first column is the target, the number of items, and gBCE's calibration
LOSSES: dict[str, Callable[[Tensor, int, float], Tensor]] = {
    "sampled softmax": sampled_softmax_loss,
    "gbce": gbce_loss,
}
