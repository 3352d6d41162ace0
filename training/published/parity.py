"""The published models here beside RecTools' implementation of them (0.19.0).

RecTools needs older versions of numpy and pandas than this project, so it has an environment of its own:

  python -m venv rectools && rectools/bin/pip install "rectools[torch]==0.19.0" pyarrow msgspec scikit-learn tqdm
  rectools/bin/python -m training.published.parity

A model of RecTools is trained on a random log; with its weights, this implementation has to give the same scores and,
for the same sampled items, the same loss. Results are lines of parity.jsonl, from which PARITY.md is made.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from training.evaluation.markdown import table
from training.published.model import LOSSES, PUBLISHED, PublishedConfig, PublishedModel

FOLDER = Path(__file__).parent
RECORDS, PAGE = "parity.jsonl", "PARITY.md"


class SameWeights(msgspec.Struct, frozen=True):
    """Largest differences of scores and losses with the same weights; scale: standard deviation of the scores."""

    model: str
    scores: float
    losses: float
    scale: float


def _rectools_model(config: PublishedConfig) -> Any:
    from rectools.models import HSTUModel, SASRecModel
    from rectools.models.nn.item_net import IdEmbeddingsItemNet
    from rectools.models.nn.transformers.ligr import LiGRLayers

    shared: dict[str, Any] = {
        "n_blocks": config.blocks,
        "n_heads": config.heads,
        "n_factors": config.width,
        "dropout_rate": config.dropout,
        "session_max_len": config.length,
        "loss": {"softmax": "softmax", "sampled softmax": "sampled_softmax", "gbce": "gBCE"}[config.loss],
        "n_negatives": config.negatives,
        "gbce_t": config.calibration,
        "lr": config.learning_rate,
        "batch_size": config.batch,
        "epochs": config.epochs,
        "item_net_block_types": (IdEmbeddingsItemNet,),
    }
    if config.block == "hstu":
        return HSTUModel(**shared, lightning_module_kwargs={"logits_t": config.temperature})
    layers = {"transformer_layers_type": LiGRLayers} if config.block == "ligr" else {}
    return SASRecModel(**shared, **layers)


def same_weights(config: PublishedConfig, draw: np.random.Generator) -> SameWeights:
    """Scores and losses of both implementations with the weights of one, on a random log."""
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset as Interactions

    items, length, n = 40, 10, 8
    seconds = 1_600_000_000 + np.cumsum(draw.integers(1, 10**5, 360))
    frame = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(30), 12),
            Columns.Item: np.concatenate([np.arange(items), draw.integers(0, items, 320)]),
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(seconds, unit="s"),
        }
    )
    config = replace(config, length=length, epochs=1, negatives=n)
    fitted = _rectools_model(config)
    fitted.fit(Interactions.construct(frame))
    theirs = fitted.torch_model.cpu().eval()
    ours = PublishedModel(config, torch.zeros(items, 1), torch.ones(items, dtype=torch.bool)).eval()
    ours.load_state_dict(weights_of(theirs.state_dict(), config), strict=True)
    item = torch.from_numpy(draw.integers(1, items + 1, (16, length)))
    item[torch.arange(length) < torch.from_numpy(draw.integers(0, length, 16))[:, None]] = 0  # padding on the left
    times = torch.from_numpy(np.cumsum(draw.integers(1, 10**6, (16, length + 1)), axis=1))
    with torch.inference_mode():
        expected = theirs({"x": item, "unix_ts": times}) / (config.temperature or 1.0)  # (B, T, 1 + I)
        found = ours.scores(ours(item, times, ours.items()), ours.items())
        real = item > 0
        drawn = torch.from_numpy(draw.integers(1, items + 1, (16, length, 1 + n)))
        sampled = found.gather(2, drawn)
        module = fitted.lightning_model
        ones = real.to(found.dtype)
        if config.loss == "softmax":
            mine = torch.nn.functional.cross_entropy(found[real], item[real])
            other = module._calc_softmax_loss(found, item, ones)
        else:
            mine = LOSSES[config.loss](sampled[real], items, config.calibration)
            name = {"gbce": "_calc_gbce_loss", "sampled softmax": "_calc_sampled_softmax_loss"}[config.loss]
            other = getattr(module, name)(sampled.clone(), item, ones)
    scores = (found[real] - expected[real]).abs().max()
    return SameWeights(config.name, float(scores), float((mine - other).abs()), float(expected[real].std()))


def weights_of(state: dict[str, Tensor], config: PublishedConfig) -> dict[str, Tensor]:
    """RecTools' state dict under the names of `PublishedModel`."""
    found = {
        "item.weight": state["item_model.item_net_blocks.0.ids_emb.weight"],
        "position.weight": state["pos_encoding_layer.pos_emb.weight"],
    }
    names = {
        "sasrec": {
            "multi_head_attn": "attention", "q_layer_norm": "norm1", "ff_layer_norm": "norm2",
            "feed_forward.ff_linear_1": "up", "feed_forward.ff_linear_2": "down",
        },
        "ligr": {
            "multi_head_attn": "attention", "layer_norm_1": "norm1", "layer_norm_2": "norm2",
            "feed_forward.ff_linear_2": "down", "gating_linear_1": "gate1", "gating_linear_2": "gate2",
        },
        "hstu": {"norm_input": "norm1", "norm_attn_output": "norm2", "output_mlp": "out"},
    }[config.block]  # fmt: skip
    for block in range(config.blocks):
        kind = "stu_blocks" if config.block == "hstu" else "transformer_blocks"
        prefix = f"transformer_layers.{kind}.{block}."
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for name, value in own.items():
            for before, now in names.items():
                if name.startswith(f"{before}."):
                    found[f"blocks.{block}.{now}{name.removeprefix(before)}"] = value
        if config.block == "ligr":
            both = [own[f"feed_forward.ff_linear_{number}.weight"] for number in (1, 3)]
            found[f"blocks.{block}.up.weight"] = torch.cat(both)
        if config.block == "hstu":
            found[f"blocks.{block}.project.weight"] = own["uvqk_proj"].T
            found[f"blocks.{block}.time"] = own["rel_attn.time_weights"]
            found[f"blocks.{block}.position"] = own["rel_attn.pos_weights"][: config.length].flip(0)
    if config.block == "sasrec":
        found |= {f"norm.{part}": state[f"transformer_layers.last_layernorm.{part}"] for part in ("weight", "bias")}
    return found


def read(folder: Path = FOLDER) -> list[SameWeights]:
    """The results kept in a folder."""
    file = folder / RECORDS
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=SameWeights) for line in lines if line]


def page(records: Sequence[SameWeights]) -> str:
    """Markdown: the largest differences."""
    cells = [[one.model, f"{one.scores:.1e}", f"{one.scale:.2f}", f"{one.losses:.1e}"] for one in records]
    head = ["model", "largest difference of a score", "standard deviation of the scores", "difference of the loss"]
    parts = [
        "# Published models: this implementation and RecTools'\n",
        "Generated by `training/published/parity.py`, whose first lines say how it is run.\n",
        "With the weights of a trained RecTools model, this implementation gives the same scores at every position "
        "and the same loss for the same sampled items, up to rounding:\n",
        table(head, cells),
        "",
        "MovieLens 1M, on which these models are usually reported, cannot be had from a package index. Published "
        "there (leave last out, whole catalogue, HR@10 / NDCG@10): SASRec 0.250 / 0.134, gSASRec 0.300 / 0.173, "
        "eSASRec 0.313 / 0.177, HSTU 0.323 / 0.188.\n",
    ]
    return "\n".join(parts)


def main(folder: Path = FOLDER) -> None:
    """Compare every published model; writes the results and the page."""
    found = [same_weights(config, np.random.default_rng(0)) for config in PUBLISHED]
    (folder / RECORDS).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in found))
    (folder / PAGE).write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
