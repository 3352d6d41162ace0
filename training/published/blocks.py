"""The blocks of three published sequence models. Shapes: B sequences, T positions padded on the left, H heads, d width.

SASRec  Kang and McAuley 2018 (arXiv:1808.09781): softmax attention, the normalised query as the residual
LiGR    arXiv:2502.03417 §3, the block of eSASRec (arXiv:2508.06450): pre-norm, gated branches, SwiGLU
HSTU    arXiv:2402.17152 §3: pointwise attention through SiLU, biased by positions and by the time up to the next event
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TIME_BUCKETS = 128
_TIME_STEP = 0.301  # natural logarithm of seconds per bucket, as in HSTU's published code


class SASRecBlock(nn.Module):
    """A layer of SASRec; see the top of the module."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down, self.drop = nn.Linear(width, width), nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor, hidden: Tensor, times: Tensor) -> Tensor:
        """x (B, T, d), real bool (B, T, 1) where it is no padding, hidden bool (T, T) of what comes later, times
        (B, T + 1) unused → (B, T, d). Padding is zero and takes part in the softmax, as in the authors' code."""
        x = x * real
        query = self.norm1(x)
        h = self.norm2(query + self.attention(query, x, x, attn_mask=hidden, need_weights=False)[0])
        out: Tensor = h + self.drop(self.down(F.relu(self.drop(self.up(h)))))
        return out


class LiGRBlock(nn.Module):
    """A layer of LiGR and eSASRec."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up = nn.Linear(width, 8 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.gate1, self.gate2, self.drop = nn.Linear(width, width), nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor, hidden: Tensor, times: Tensor) -> Tensor:
        """As `SASRecBlock`; padding is an embedding of its own."""
        h = self.norm1(x)
        found = self.attention(h, h, h, attn_mask=hidden, need_weights=False)[0]
        x = x + torch.sigmoid(self.gate1(x)) * self.drop(found)
        a, b = self.up(self.norm2(x)).chunk(2, dim=-1)  # each (B, T, 4d)
        out: Tensor = x + torch.sigmoid(self.gate2(x)) * self.drop(self.down(self.drop(F.silu(a) * b)))
        return out


class HSTUBlock(nn.Module):
    """A layer of HSTU."""

    def __init__(self, width: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.project, self.out = nn.Linear(width, 4 * width, bias=False), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.position = nn.Parameter(0.02 * torch.randn(length))  # by how many events lie between
        self.time = nn.Parameter(0.02 * torch.randn(_TIME_BUCKETS + 1))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor, hidden: Tensor, times: Tensor) -> Tensor:
        """As `SASRecBlock`, padding unseen; times int64 (B, T + 1) in seconds: of the events and of what follows."""
        x = x * real
        b, t, d = x.shape
        visible = (real.transpose(1, 2) & ~hidden)[:, None]  # (B, 1, T, T)
        u, v, q, k = F.silu(self.project(self.norm1(x))).chunk(4, dim=-1)
        q, k, v = (part.reshape(b, t, self.heads, -1).transpose(1, 2) for part in (q, k, v))  # (B, H, T, d/H)
        place = torch.arange(t, device=x.device)
        gap = (times[:, 1:, None] - times[:, None, :-1]).abs().clamp(min=1)  # (B, T, T): up to the next event
        bucket = (torch.log(gap.float()) / _TIME_STEP).long().clamp(max=_TIME_BUCKETS)
        bias = self.position[(place[:, None] - place).clamp(min=0)] + self.time[bucket]  # (B, T, T)
        weights = F.silu(q @ k.transpose(2, 3) + bias[:, None]) / self.length * visible  # (B, H, T, T)
        found = (weights @ v).transpose(1, 2).reshape(b, t, d)
        out: Tensor = x + self.out(self.drop(u * self.norm2(found)))
        return out
