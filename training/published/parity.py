"""The published models here beside RecTools' implementation of them (0.19.0).

RecTools needs older versions of numpy and pandas than this project, so it has an environment of its own:

  python -m venv rectools && rectools/bin/pip install "rectools[torch]==0.19.0" pyarrow msgspec scikit-learn tqdm
  rectools/bin/python -m training.published.parity weights
  rectools/bin/python -m training.published.parity ml-100k deskdrop --data-dir DATA

weights: a model of RecTools is trained on a random log; with its weights, this implementation has to give the same
scores and, for the same sampled items, the same loss. A set: both are trained on it from several seeds, with the same
sizes, losses, optimiser and epochs and nothing selected; each user's last engaged item is the target, ranked over the
whole catalogue, without what was seen where a set has no repeats. Results are lines of parity.jsonl, from which
PARITY.md is made.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import public
from training.data.events import SKIP, Dataset
from training.data.split import joined, leave_last_out
from training.evaluation import metrics
from training.evaluation.markdown import table
from training.evaluation.queries import EvaluationQueries, Queries, QueryBudget
from training.evaluation.ranking import rank_targets
from training.published.model import LOSSES, PUBLISHED, PublishedConfig, PublishedModel
from training.published.recommender import PublishedRecommender

FOLDER = Path(__file__).parent
RECORDS, PAGE = "parity.jsonl", "PARITY.md"
HERE, RECTOOLS = "here", "RecTools"
_LENGTH, _BATCH, _NEGATIVES, _EPOCHS = 50, 64, 64, 40  # small: on two cores, half an hour for everything
_K = 10


class Trained(msgspec.Struct, frozen=True, tag="trained"):
    """One training: figures at 10 over the users with a target."""

    data: str
    model: str
    implementation: str
    seed: int
    ndcg10: float
    hr10: float
    users: int
    epochs: int
    seconds: float


class SameWeights(msgspec.Struct, frozen=True, tag="weights"):
    """Largest differences of scores and losses with the same weights; scale: standard deviation of the scores."""

    model: str
    scores: float
    losses: float
    scale: float


Record = Trained | SameWeights


def small(config: PublishedConfig, seed: int) -> PublishedConfig:
    """The sizes of this comparison."""
    return replace(config, length=_LENGTH, batch=_BATCH, negatives=_NEGATIVES, epochs=_EPOCHS, seed=seed)


def ours(config: PublishedConfig, data: Dataset, queries: Queries, without_seen: bool) -> NDArray[np.int64]:
    """Rank of each target by this project's implementation, on a GPU where there is one, as RecTools does."""
    model = PublishedRecommender(config, "cuda" if torch.cuda.is_available() else "cpu")
    model.train_for(data, config.epochs)
    return rank_targets(model, data, queries, without_seen=without_seen)


def theirs(config: PublishedConfig, data: Dataset, queries: Queries, without_seen: bool) -> NDArray[np.int64]:
    """Rank of each target by RecTools, at most 10: further down does not count."""
    import pandas as pd
    from pytorch_lightning import seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset as Interactions

    seed_everything(config.seed, verbose=False)
    events = data.events.take(data.events.action != SKIP)
    frame = pd.DataFrame(
        {
            Columns.User: events.user,
            Columns.Item: events.item,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(events.time_us, unit="us"),
        }
    )
    interactions = Interactions.construct(frame)
    model = _rectools_model(config)
    model.fit(interactions)
    asked = np.isin(queries.user, events.user)
    now = pd.DataFrame(
        {Columns.User: queries.user[asked], Columns.Datetime: pd.to_datetime(queries.now_us[asked], unit="us")}
    )
    found = model.recommend(
        queries.user[asked], interactions, _K, filter_viewed=without_seen, on_unsupported_targets="ignore",
        context=now if model.require_recommend_context else None,
    )  # fmt: skip
    place = {
        (u, i): r - 1 for u, i, r in zip(found[Columns.User], found[Columns.Item], found[Columns.Rank], strict=True)
    }
    return np.array([place.get(pair, _K) for pair in zip(queries.user.tolist(), queries.item.tolist(), strict=True)])


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
    ours = PublishedModel(config, items, torch.zeros(items, 1)).eval()
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


def read(folder: Path = FOLDER) -> list[Record]:
    """The results kept in a folder."""
    file = folder / RECORDS
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=Record) for line in lines if line]


def page(records: Sequence[Record]) -> str:
    """Markdown: the comparison of weights, and of trainings where there are some."""
    parts = [
        "# Published models: this implementation and RecTools'\n",
        "Generated by `training/published/parity.py`, whose first lines say how it is run.\n",
        _weights([one for one in records if isinstance(one, SameWeights)]),
        _trained([one for one in records if isinstance(one, Trained)]),
        "MovieLens 1M, on which these models are usually reported, cannot be had from a package index. Published "
        "there (leave last out, whole catalogue, HR@10 / NDCG@10): SASRec 0.250 / 0.134, gSASRec 0.300 / 0.173, "
        "eSASRec 0.313 / 0.177, HSTU 0.323 / 0.188.\n",
    ]
    return "\n".join(part for part in parts if part)


def _weights(records: Sequence[SameWeights]) -> str:
    cells = [[one.model, f"{one.scores:.1e}", f"{one.scale:.2f}", f"{one.losses:.1e}"] for one in records]
    head = ["model", "largest difference of a score", "standard deviation of the scores", "difference of the loss"]
    return "\n".join(
        [
            "With the weights of a trained RecTools model, this implementation gives the same scores at every position "
            "and the same loss for the same sampled items, up to rounding:\n",
            table(head, cells),
            "",
        ]
    )


def _trained(records: Sequence[Trained]) -> str:
    cells = []
    for data, model in dict.fromkeys((one.data, one.model) for one in records):
        found = {
            side: np.array([r.ndcg10 for r in records if (r.data, r.model, r.implementation) == (data, model, side)])
            for side in (HERE, RECTOOLS)
        }
        if min(len(values) for values in found.values()) < 2:
            continue
        deviation = float(np.sqrt(sum(values.var(ddof=1) / len(values) for values in found.values())))
        difference = float(found[HERE].mean() - found[RECTOOLS].mean())
        cells.append(
            [
                data, model, *(f"{values.mean():.4f} ± {values.std(ddof=1):.4f}" for values in found.values()),
                f"{difference:+.4f} ± {deviation:.4f}", "yes" if abs(difference) < 2 * deviation else "no",
            ]
        )  # fmt: skip
    if not cells:
        return ""
    head = ["data", "model", HERE, RECTOOLS, "difference and its standard error", "within two of them"]
    return "\n".join(
        [
            "Trained from several seeds, NDCG@10, mean and standard deviation. "
            f"{_EPOCHS} epochs of width 64, histories of {_LENGTH}, {_NEGATIVES} negatives where a loss samples: small "
            "sizes, so the figures are no model's best.\n",
            table(head, cells),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=("weights", *public.NAMES))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    for name in options.sets:
        if name == "weights":
            _add(options.out, [same_weights(config, np.random.default_rng(0)) for config in PUBLISHED])
        else:
            _train(name, options)
    (options.out / PAGE).write_text(page(read(options.out)), encoding="utf-8")
    return 0


def _train(name: str, options: argparse.Namespace) -> None:
    """Train both implementations on a set; what is in the file is not trained again."""
    done = {(r.data, r.model, r.implementation, r.seed) for r in read(options.out) if isinstance(r, Trained)}
    split = leave_last_out(public.load(name, options.data_dir))
    queries = EvaluationQueries.of(split, QueryBudget(ranking=10**9, actions=1))
    data = joined(split.train, split.validation)
    for seed in range(options.seeds):
        for config in PUBLISHED:
            for side, ranks_of in ((RECTOOLS, theirs), (HERE, ours)):
                if (name, config.name, side, seed) in done:
                    continue
                started = time.monotonic()
                ranks = ranks_of(small(config, seed), data, queries.ranking, not queries.repeats)
                one = Trained(
                    name, config.name, side, seed, round(float(metrics.ndcg(ranks, _K).mean()), 5),
                    round(float((ranks < _K).mean()), 5), len(ranks), _EPOCHS, round(time.monotonic() - started, 1),
                )  # fmt: skip
                _add(options.out, [one])
                print(one, file=sys.stderr, flush=True)


def _add(folder: Path, records: Sequence[Record]) -> None:
    """Append results; a comparison of weights replaces the one before."""
    before = [one for one in read(folder) if isinstance(one, Trained) or not isinstance(records[0], SameWeights)]
    lines = [msgspec.json.encode(one) + b"\n" for one in (*before, *records)]
    (folder / RECORDS).write_bytes(b"".join(lines))


if __name__ == "__main__":
    sys.exit(main())
