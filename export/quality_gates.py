"""The quality gates of a text-encoder bundle: PyTorch → fp32 graph → each encoding → similarity scores.

Each step has a tolerance with a reason (`recipes.Gate`). Figures are stored in the manifest, misses in the error.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from export.corpus import held_out_texts
from export.encoder_metrics import Cosines, Encoder, Vectors, cosine_misses, cosines, spearman_misses, vectors_spearman
from export.progress import Progress
from export.recipes import FP32, Gate
from export.source import SourceWeights
from export.stsb import INSTALL, Pairs, load_stsb


@dataclass
class Findings:
    """What was measured (`quality`, for the manifest) and what missed its limit (`misses`, one sentence each)."""

    quality: dict[str, Any] = field(default_factory=dict)
    misses: list[str] = field(default_factory=list)


def torch_vectors(source: SourceWeights, fp32: Encoder, texts: list[str]) -> Vectors:
    """The published model's own vectors: last hidden state, mean over tokens, unit length."""
    import torch
    from transformers import AutoModel

    torch.set_num_threads(1)  # sums in one order: the manifest's figures are the same on every run
    model = AutoModel.from_pretrained(source.folder).eval()
    vectors = []
    with torch.inference_mode():
        for text in texts:
            ids = torch.from_numpy(fp32.ids(text).astype(np.int64))
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state  # (1, T, D)
            vectors.append(torch.nn.functional.normalize(hidden.mean(dim=1), dim=1)[0].numpy())
    return np.stack(vectors)


def check_fp32(findings: Findings, source: SourceWeights, fp32: Encoder, texts: list[str]) -> None:
    """The fused, pooled fp32 graph against PyTorch: the same arithmetic, so only the rounding of sums may differ."""
    found = cosines(torch_vectors(source, fp32, texts), fp32.embed(texts))
    findings.quality["fp32_graph_to_torch"] = asdict(found)
    findings.misses += cosine_misses("fp32 graph against PyTorch", found, FP32.gate)


def check_held_out(
    findings: Findings, fp32: Encoder, encodings: dict[str, Encoder], gate: Gate, progress: Progress
) -> None:
    """Every encoding against fp32 over the held-out texts, and the encodings against each other.

    On a CPU whose s8 product saturates only u8 can be judged: s8 holds the same integers, and the runtime will not
    choose it there. Two encodings that agree to the last bit are both exact.
    """
    texts = held_out_texts()
    reference = fp32.embed(texts)
    vectors = {name: encoder.embed(texts) for name, encoder in encodings.items()}
    measured: dict[str, Cosines] = {name: cosines(reference, found) for name, found in vectors.items()}
    findings.quality["held_out"] = {name: asdict(found) for name, found in measured.items()}
    judged = sorted(measured)
    if {"s8", "u8"} <= vectors.keys():
        same = int((vectors["s8"] == vectors["u8"]).all(axis=1).sum())
        findings.quality["s8_and_u8_bit_identical"] = {"texts": len(texts), "identical": same}
        if same != len(texts):
            judged.remove("s8")
            progress.note(f"s8 is not exact on this CPU ({same} of {len(texts)} texts equal u8); judged by u8 alone")
    for name in judged:
        findings.misses += cosine_misses(f"held-out texts, {name}", measured[name], gate)
        progress.note(
            f"{name}: cosine to fp32 over {measured[name].texts} held-out texts: "
            f"mean {measured[name].mean:.5f}, min {measured[name].min:.5f}"
        )


def check_stsb(findings: Findings, fp32: Encoder, candidate: Encoder, gate: Gate, progress: Progress) -> None:
    """STS-B dev: the cosines of 3,000 sentences nobody here chose, and the Spearman correlation that is lost."""
    pairs = load_stsb("dev")
    if pairs is None:
        findings.quality["stsb_dev"] = {"ran": False}
        progress.note(f"NOT RUN: the STS-B gate, its data is not installed. To run it: {INSTALL}")
        return
    fp32_vectors, vectors = _embed_pairs(fp32, pairs), _embed_pairs(candidate, pairs)
    reference = vectors_spearman(*fp32_vectors, pairs)
    spearman = vectors_spearman(*vectors, pairs)
    found = cosines(np.concatenate(fp32_vectors), np.concatenate(vectors))
    findings.quality["stsb_dev"] = {
        "ran": True,
        "spearman_fp32": reference,
        "spearman": spearman,
        "cosine": asdict(found),
    }
    findings.misses += spearman_misses("STS-B dev", reference, spearman, gate)
    findings.misses += cosine_misses("STS-B dev sentences", found, gate)
    progress.note(
        f"STS-B dev: Spearman {spearman:.4f}, fp32 {reference:.4f}; "
        f"cosine to fp32 mean {found.mean:.5f}, min {found.min:.5f}"
    )


def _embed_pairs(encoder: Encoder, pairs: Pairs) -> tuple[Vectors, Vectors]:
    return encoder.embed(pairs.first), encoder.embed(pairs.second)
