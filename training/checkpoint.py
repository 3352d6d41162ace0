"""Checkpoints: weights in safetensors beside JSON that describes them. A folder is written completely or not at all.

    model.safetensors    weights
    config.json          recipe, model, data, seed, versions
    items.json           ids of the items in the order of the id embedding, the signatures of their vectors (see
                         runtime.personalization.item_identity) and their interactions in the training log
    metrics.json         the training curve: one record per epoch
    sample.safetensors   held-out histories, on which an export is compared with these weights

An unfinished run has `run-<step>/` too: current, best and mean weights, the state of the optimiser and of torch's
generator.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.errors import TrainingError
from training.model import SequenceModel
from training.model_config import ModelConfig
from training.recipes import Recipe

FORMAT = 2
BEST = "best"  # folder of a run's best weights so far
VALIDATED = "validated"  # of a log's run: the weights that validation chose, before the last epoch read it, too
WEIGHTS, CONFIG, ITEMS, METRICS, SAMPLE = (
    "model.safetensors", "config.json", "items.json", "metrics.json", "sample.safetensors",
)  # fmt: skip
_KEPT = ("best", "mean")  # weights in the state of a run
_RUN = re.compile(r"run-(\d+)$")


@dataclass
class Checkpoint:
    """A model with everything needed to use it.

    data: what it was trained on, see `training.train.fingerprint`; ids [items]; interactions int64 [items]; signatures
    uint64 [items]; metrics: one record per epoch; sample: arrays of `held_out_sample`, empty where none was taken.
    """

    model: SequenceModel
    recipe: Recipe
    data: dict[str, Any]
    ids: list[str]
    interactions: NDArray[np.int64]
    signatures: NDArray[np.uint64]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    sample: dict[str, Tensor] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """Names the run that made it: its last entry in `lineage`."""
        return self.lineage[-1]

    @property
    def lineage(self) -> list[str]:
        """The runs that made the weights, each by a digest of its recipe and data; the last one last. What a run refits
        afterwards stays its own."""
        digest = hashlib.sha256(repr((self.recipe.parameters(), self.data.get("sha256"))).encode()).hexdigest()
        return [*self.data.get("fine_tuned_from", []), digest[:16]]

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """Write the folder, replacing an existing one. weights: a state dict to store instead of the model's own."""
        with replacing(folder) as made:
            self.write(made, weights)

    def write(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """As `save`, into an existing folder."""
        state = self.model.state_dict() if weights is None else weights
        save_file({name: tensor.cpu().contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
        config = {
            "format": FORMAT,
            "recipe": self.recipe.parameters(),
            "model": asdict(self.model.config),
            "data": self.data,
            "torch": torch.__version__,
        }
        _write_json(folder / CONFIG, config)
        items: dict[str, Any] = {"ids": self.ids, "signatures": self.signatures, "interactions": self.interactions}
        _write_json(folder / ITEMS, {name: list(map(_json_value, values)) for name, values in items.items()})
        _write_json(folder / METRICS, self.metrics)
        if self.sample:
            save_file(self.sample, folder / SAMPLE)

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Read a checkpoint. Raises TrainingError, naming the file and the reason, when it is not one."""
        try:
            config = json.loads((folder / CONFIG).read_text())
            items = json.loads((folder / ITEMS).read_text())
            metrics = json.loads((folder / METRICS).read_text())
            if config["format"] != FORMAT:
                raise TrainingError(f"{folder} has format {config['format']}, this program reads {FORMAT}")
            model = SequenceModel(ModelConfig(**config["model"]))
            model.load_state_dict(load_file(folder / WEIGHTS))
            sample = load_file(folder / SAMPLE) if (folder / SAMPLE).exists() else {}
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"{folder} is not a checkpoint of this program: {error}; train one with `vows-edge train`"
            ) from error
        return cls(
            model=model.eval(),
            recipe=Recipe.of(config["recipe"]),
            data=config["data"],
            ids=items["ids"],
            interactions=np.array(items["interactions"], np.int64),
            signatures=np.array(items["signatures"], np.uint64),
            metrics=metrics,
            sample=sample,
        )


@dataclass
class RunState:
    """The progress of a run. best: the best weights so far; waited: epochs since then; mean: of the weights after
    `averaged` steps."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    best_loss: float = float("inf")
    waited: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)  # summed over this epoch so far
    best: dict[str, Tensor] = field(default_factory=dict)
    averaged: int = 0
    mean: dict[str, Tensor] = field(default_factory=dict)

    def count(self, losses: dict[str, float]) -> None:
        """Count one step and add up the parts of its loss."""
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        self.step, self.step_in_epoch = self.step + 1, self.step_in_epoch + 1

    def average_in(self, model: SequenceModel) -> None:
        """Count the weights of a model in the mean."""
        self.averaged += 1
        for name, tensor in model.state_dict().items():
            mean = self.mean.get(name, tensor).to(tensor.device)  # of a run that goes on, read from a file
            self.mean[name] = mean.lerp(tensor, 1 / self.averaged)

    def record(self, validation: dict[str, float]) -> dict[str, Any]:
        """The record of the training curve for the epoch that just ended."""
        training = {name: value / self.step_in_epoch for name, value in self.losses.items()}
        return {
            "epoch": self.epoch + 1, "step": self.step, "seconds": round(self.seconds, 1), "training": training,
            "validation": dict(validation),
        }  # fmt: skip

    def next_epoch(self) -> None:
        """Start the next epoch with empty sums."""
        self.epoch, self.step_in_epoch, self.losses = self.epoch + 1, 0, {}


def save_run(out: Path, checkpoint: Checkpoint, optimizer: torch.optim.Optimizer, state: RunState) -> None:
    """Write `run-<step>/`, then remove older ones: a kill at any time leaves a complete one."""
    folder = out / f"run-{state.step}"
    with replacing(folder) as made:
        checkpoint.write(made)
        for name in _KEPT:
            if kept := getattr(state, name):
                save_file(kept, made / f"{name}.safetensors")
        optimizer_state = {
            f"{index}.{name}": value.clone()
            for index, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        save_file({**optimizer_state, "random": torch.get_rng_state()}, made / "optimizer.safetensors")
        progress = {name: value for name, value in vars(state).items() if name not in _KEPT}
        _write_json(made / "state.json", progress)
    for older in _runs(out):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)


def load_run(out: Path, checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> RunState | None:
    """Load the newest run in `out` into the checkpoint and the optimiser, and set torch's random state; None where
    there is none.

    Raises TrainingError when that run has another recipe or other data.
    """
    runs = _runs(out)
    if not runs:
        return None
    folder = runs[-1]
    before = Checkpoint.load(folder)
    for what, found, wanted in (
        ("recipe", before.recipe, checkpoint.recipe),
        ("data", before.data, checkpoint.data),
    ):
        if found != wanted:
            raise TrainingError(
                f"{folder} was started with another {what}: {found}, now {wanted}; choose another --out, or remove it"
            )
    checkpoint.model.load_state_dict(before.model.state_dict())
    checkpoint.metrics = before.metrics
    tensors = load_file(folder / "optimizer.safetensors")
    torch.set_rng_state(tensors.pop("random"))
    saved = optimizer.state_dict()
    saved["state"] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        saved["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(saved)
    progress = json.loads((folder / "state.json").read_text())
    files = {name: folder / f"{name}.safetensors" for name in _KEPT}
    progress |= {name: load_file(file) for name, file in files.items() if file.exists()}
    return RunState(**progress)


def remove_runs(out: Path) -> None:
    """Remove the state of a finished run; its best weights stay."""
    for folder in _runs(out):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder` when the block succeeds, and is removed when it raises."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield made
        made.chmod(0o755)
        old = made.with_name(made.name + ".old")
        if folder.exists():
            os.rename(folder, old)
        os.rename(made, folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _runs(out: Path) -> list[Path]:
    found = [(int(match.group(1)), path) for path in out.glob("run-*") if (match := _RUN.search(path.name))]
    return [path for _, path in sorted(found)]


def _json_value(value: Any) -> str | int:
    return value if isinstance(value, str) else int(value)


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
