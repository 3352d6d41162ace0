"""Raw predictions, and their cache on disk: baselines are not fitted again for the same queries and the same code."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.data.split import Split
from training.evaluation.protocol import Recommender, Scores
from training.evaluation.queries import QueryBudget

Predictions = TypeVar("Predictions")

_FOLDER = Path(__file__).parent
_CODE = ("metrics", "predictions", "protocol", "queries", "ranking")


@dataclass(frozen=True, eq=False)
class RankingPredictions:
    """Ranks of the target items of the ranking queries, from 0, and per-user scores of engaged against skipped items.

    all         int64 [ranking]
    never_seen  int64 [ranking], with the items of the history excluded from the candidates
    shuffled    int64 [ranking], from shuffled histories
    cold        number of last events → int64 [long], from histories cut to that many
    auc         float64 [users]: engaged against skipped items
    gap         float64 [users]: mean score of engaged minus that of skipped items, in standard deviations of the scores
                of a query
    Users with only engaged or only skipped events have NaN in the last two.
    """

    all: NDArray[np.int64]
    never_seen: NDArray[np.int64]
    shuffled: NDArray[np.int64]
    cold: dict[int, NDArray[np.int64]]
    auc: NDArray[np.float64]
    gap: NDArray[np.float64]
    choice: dict[str, Any] = field(default_factory=dict)
    settings_tried: int = 0
    fit_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ActionPredictions:
    """P(action) float32 [actions, 4] from the histories as they were, and from shuffled histories."""

    probabilities: Scores
    shuffled: Scores
    choice: dict[str, Any] = field(default_factory=dict)
    fit_seconds: float = 0.0


class PredictionCache:
    """Predictions in `folder`, under a digest of the split's events, the query budget and the evaluation's code: when
    any of these changes, everything is computed again. For models without a seed only."""

    def __init__(self, folder: Path, split: Split, budget: QueryBudget) -> None:
        digest = hashlib.sha256(repr(astuple(budget)).encode())
        for part in split:
            for name in sorted(vars(part.events)):
                digest.update(getattr(part.events, name).tobytes())
        digest.update(split.train.catalogue.vectors.tobytes())
        for file in sorted([*(_FOLDER / "baselines").glob("*.py"), *(_FOLDER / f"{name}.py" for name in _CODE)]):
            digest.update(file.read_bytes())
        self._folder, self._digest = folder, digest.hexdigest()[:16]

    def ranking(self, recommender: Recommender) -> RankingPredictions | None:
        """The stored predictions, if any. Also gives the recommender the hyperparameters it had selected."""

        def restore(arrays: dict[str, Any], metadata: dict[str, Any]) -> RankingPredictions:
            cold = {int(name[5:]): arrays.pop(name) for name in list(arrays) if name.startswith("cold ")}
            return RankingPredictions(cold=cold, **arrays, **metadata)

        found = self._read(f"ranking {recommender.name}", restore)
        if found is not None and hasattr(recommender, "choice"):
            recommender.choice = found.choice
            recommender.settings_tried = found.settings_tried  # type: ignore[attr-defined]
        return found

    def save_ranking(self, name: str, predictions: RankingPredictions) -> None:
        """Store under the model's name."""
        arrays = {n: getattr(predictions, n) for n in ("all", "never_seen", "shuffled", "auc", "gap")}
        arrays |= {f"cold {k}": ranks for k, ranks in predictions.cold.items()}
        metadata = {n: getattr(predictions, n) for n in ("choice", "settings_tried", "fit_seconds")}
        self._write(f"ranking {name}", arrays, metadata)

    def actions(self, name: str) -> ActionPredictions | None:
        """The stored predictions of the model of this name, if any."""
        return self._read(f"actions {name}", lambda arrays, metadata: ActionPredictions(**arrays, **metadata))

    def save_actions(self, name: str, predictions: ActionPredictions) -> None:
        """Store under the model's name."""
        arrays = {"probabilities": predictions.probabilities, "shuffled": predictions.shuffled}
        metadata = {"choice": predictions.choice, "fit_seconds": predictions.fit_seconds}
        self._write(f"actions {name}", arrays, metadata)

    def _file(self, what: str) -> Path:
        return self._folder / self._digest / f"{re.sub('[^a-z0-9]+', '-', what.lower()).strip('-')}.npz"

    def _read(self, what: str, restore: Callable[[dict[str, Any], dict[str, Any]], Predictions]) -> Predictions | None:
        file = self._file(what)
        if not file.exists():
            return None
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        metadata = json.loads(str(arrays.pop("metadata")))
        # JSON has lists for tuples
        metadata["choice"] = {n: tuple(v) if isinstance(v, list) else v for n, v in metadata["choice"].items()}
        return restore(arrays, metadata)

    def _write(self, what: str, arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
        file = self._file(what)
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written = file.with_suffix(".tmp")
        with half_written.open("wb") as out:
            np.savez(out, metadata=np.array(json.dumps(metadata)), **arrays)
        half_written.replace(file)
