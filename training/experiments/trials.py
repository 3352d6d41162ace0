"""Train recipes one after another and compare them on validation events: the basis of tuning and ablations."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.batches import Windows
from training.data.events import Dataset
from training.data.split import Split, joined_with_mask
from training.evaluation import trial_records
from training.evaluation.baselines.tuned import validation_ndcg, validation_queries
from training.evaluation.sequence import SequenceRecommender, best_epoch
from training.evaluation.trial_records import Trial, as_stored
from training.losses import LossWeights
from training.recipes import Recipe
from training.train import VALIDATION_WINDOWS, validate


@dataclass(frozen=True)
class PlannedTrial:
    """A trial to run. text: False sets the content vectors to zero."""

    group: str
    name: str
    recipe: Recipe
    text: bool = True


class TrialRunner:
    """Run trials on one split and append their results to `file`. A trial that is in the file is not run again; one
    that was killed resumes from its last checkpoint in `scratch`. data: name of the data set in the records."""

    def __init__(self, split: Split, data: str, file: Path, scratch: Path) -> None:
        self._split, self._data, self._file, self._scratch = split, data, file, scratch

    def run_all(self, planned: Sequence[PlannedTrial]) -> list[Trial]:
        """All trials in order, with a progress bar on stderr."""
        found: list[Trial] = []
        for one in (bar := tqdm(planned, "trials", unit="trial", disable=not planned)):
            bar.write(f"{one.group}, {one.name}", file=sys.stderr)
            found.append(self.trial(one))
        return found

    def trial(self, one: PlannedTrial) -> Trial:
        """The trial, run if it is not in the file. Raises TrainingError."""
        return self.run(one)[0]

    def run(self, one: PlannedTrial) -> tuple[Trial, bool]:
        """The trial, and whether it had to be run. Raises TrainingError."""
        recipe = as_stored(one.recipe.parameters())
        identity = (self._data, one.text, recipe)
        known = (trial for trial in trial_records.read(self._file, self._data) if trial.identity == identity)
        if (done := next(known, None)) is not None:
            return done, False
        train, validation = self._split.train, self._split.validation
        if not one.text:
            train, validation = without_text(train), without_text(validation)
        out = self._scratch / f"{len(trial_records.read(self._file)):03d}"
        recommender = SequenceRecommender(one.recipe, out=out)
        recommender.fit(train, validation)
        checkpoint = recommender.checkpoint
        assert checkpoint is not None
        curve = [line for line in checkpoint.metrics if line["epoch"] > 0]
        # With the same loss weights for all trials: losses with other weights are not comparable
        both, scored = joined_with_mask(train, validation)
        windows = Windows(both, recipe["context"], scored).limited_to(VALIDATION_WINDOWS)
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
            ndcg10=round(validation_ndcg(recommender, train, validation_queries(train, validation)), 5),
            seconds=curve[-1]["seconds"],
        )
        trial_records.add(self._file, trial)
        shutil.rmtree(out, ignore_errors=True)
        print(f"  NDCG@10 {trial.ndcg10:.4f}, accuracy {trial.accuracy:.1%}, {trial.seconds:.0f} s", file=sys.stderr)
        return trial, True


def without_text(dataset: Dataset) -> Dataset:
    """The same log with content vectors of zero: items are known by their ids alone."""
    catalogue = dataset.catalogue
    return replace(dataset, catalogue=replace(catalogue, vectors=np.zeros_like(catalogue.vectors)))
