"""Trainings compared on validation events: the basis of tuning."""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from training.batches import Windows
from training.data.split import Split, joined_with_mask
from training.evaluation import trial_records
from training.evaluation.baselines.tuned import validation_ndcg, validation_queries
from training.evaluation.sequence import SequenceRecommender, best_epoch
from training.evaluation.trial_records import Trial, as_stored
from training.recipes import LossWeights, Recipe
from training.train import VALIDATION_WINDOWS, validate


@dataclass(frozen=True)
class PlannedTrial:
    """A trial to run."""

    name: str
    recipe: Recipe


class TrialRunner:
    """Run trials on one split and append their results to `file`. A trial that is in the file is not run again; one
    that was killed resumes from its last checkpoint in `scratch`. data: name of the data set in the records."""

    def __init__(self, split: Split, data: str, file: Path, scratch: Path, device: str = "cpu") -> None:
        self._split, self._data, self._file, self._scratch, self._device = split, data, file, scratch, device

    def trial(self, one: PlannedTrial) -> Trial:
        """The trial, run if it is not in the file. Raises TrainingError."""
        recipe = as_stored(one.recipe.parameters())
        identity = (self._data, recipe)
        known = (trial for trial in trial_records.read(self._file, self._data) if trial.identity == identity)
        if (done := next(known, None)) is not None:
            return done
        train, validation = self._split.train, self._split.validation
        out = self._scratch / f"{len(trial_records.read(self._file)):03d}"
        recommender = SequenceRecommender(one.recipe, out=out, device=self._device)
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
            name=one.name,
            recipe=recipe,
            epochs=len(curve),
            best_epoch=best_epoch(checkpoint),
            **{name: round(seen[name], 5) for name in ("loss", "action_loss", "item_loss", "accuracy", "hit_rate")},
            ndcg10=round(validation_ndcg(recommender, train, validation_queries(train, validation)), 5),
            seconds=curve[-1]["seconds"],
        )
        trial_records.add(self._file, trial)
        shutil.rmtree(out, ignore_errors=True)
        print(f"  NDCG@10 {trial.ndcg10:.4f}, accuracy {trial.accuracy:.1%}, {trial.seconds:.0f} s", file=sys.stderr)
        return trial
