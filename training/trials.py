"""Recipes trained one after another and compared on validation: what tuning and ablations are made of."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.contender import SequenceContender, best_epoch
from training.data.events import Dataset
from training.data.split import Split
from training.evaluation import trials
from training.evaluation.baselines.tuned import validation_moments, validation_ndcg
from training.evaluation.trials import Trial, as_stored
from training.losses import LossWeights
from training.progress import duration
from training.recipes import Recipe
from training.train import VALIDATION_WINDOWS, together, validate
from training.windows import Windows


@dataclass(frozen=True)
class Planned:
    """A trial to be. text: False takes the content vectors away."""

    group: str
    name: str
    recipe: Recipe
    text: bool = True


class Bench:
    """Runs trials on one split and keeps their results in a file: what is in it already is not run again, and one that
    was killed goes on from its last checkpoint in `scratch`."""

    def __init__(self, split: Split, data: str, file: Path, scratch: Path) -> None:
        self._split, self._data, self._file, self._scratch = split, data, file, scratch

    def run_all(self, planned: Sequence[Planned]) -> list[Trial]:
        """All, with how far it is and how long it will take on stderr."""
        found: list[Trial] = []
        spent: list[float] = []
        for number, one in enumerate(planned):
            left = "" if not spent else f", {duration(float(np.mean(spent)) * (len(planned) - number))} left"
            print(f"trial {number + 1}/{len(planned)}{left}: {one.group}, {one.name}", file=sys.stderr, flush=True)
            start = time.monotonic()
            trial, ran = self.run(one)
            found.append(trial)
            spent += [time.monotonic() - start] if ran else []
        return found

    def run(self, one: Planned) -> tuple[Trial, bool]:
        """The trial, and whether it had to be run for that. Raises TrainingError."""
        recipe = as_stored(one.recipe.parameters())
        asked = (self._data, one.text, recipe)
        done = next((trial for trial in trials.read(self._file, self._data) if trial.question == asked), None)
        if done is not None:
            return done, False
        train, validation = self._split.train, self._split.validation
        if not one.text:
            train, validation = without_text(train), without_text(validation)
        out = self._scratch / f"{len(trials.read(self._file)):03d}"
        contender = SequenceContender(one.recipe, out=out)
        contender.fit(train, validation)
        checkpoint = contender.checkpoint
        assert checkpoint is not None
        curve = [line for line in checkpoint.metrics if line["epoch"] > 0]
        # By the same weights for all: a loss with other weights is another loss
        both, scored = together(train, validation)
        windows = Windows(both, recipe["context"], scored).some(VALIDATION_WINDOWS)
        seen = vars(validate(checkpoint.model, windows, replace(one.recipe, loss=LossWeights())))
        trial = Trial(
            data=self._data,
            group=one.group,
            name=one.name,
            recipe=recipe,
            text=one.text,
            epochs=len(curve),
            best_epoch=best_epoch(checkpoint),
            **{name: round(seen[name], 5) for name in ("loss", "action_loss", "item_loss", "accuracy", "hit_rate")},
            ndcg10=round(validation_ndcg(contender, train, validation_moments(train, validation)), 5),
            seconds=curve[-1]["seconds"],
        )
        trials.add(self._file, trial)
        shutil.rmtree(out, ignore_errors=True)
        print(f"  NDCG@10 {trial.ndcg10:.4f}, accuracy {trial.accuracy:.1%}, {trial.seconds:.0f} s", file=sys.stderr)
        return trial, True


def without_text(dataset: Dataset) -> Dataset:
    """The same log of items that are known by their ids alone."""
    catalogue = dataset.catalogue
    return replace(dataset, catalogue=replace(catalogue, vectors=np.zeros_like(catalogue.vectors)))
