"""Raw answers of baselines on disk: the same question to the same code is not computed again."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from training.data.split import Split
from training.evaluation.answers import ActionAnswers, Budget, RankingAnswers
from training.evaluation.protocol import Contender

Answers = TypeVar("Answers")

_CODE = Path(__file__).parent
_ASKING = ("answers", "metrics", "protocol", "ranking")


class KeptAnswers:
    """In `folder`, under a digest of the split's events, the budget, and the code that asks and answers: whatever of
    these changes, all is asked anew. Only for contenders without a seed."""

    def __init__(self, folder: Path, split: Split, budget: Budget) -> None:
        digest = hashlib.sha256(repr(astuple(budget)).encode())
        for part in split:
            for name in sorted(vars(part.events)):
                digest.update(getattr(part.events, name).tobytes())
        digest.update(split.train.catalogue.vectors.tobytes())
        for file in sorted([*(_CODE / "baselines").glob("*.py"), *(_CODE / f"{n}.py" for n in _ASKING)]):
            digest.update(file.read_bytes())
        self._folder, self._digest = folder, digest.hexdigest()[:16]

    def ranking(self, contender: Contender) -> RankingAnswers | None:
        """The answers, and the contender then has the choices of that time."""

        def made(arrays: dict[str, Any], said: dict[str, Any]) -> RankingAnswers:
            cold = {int(name[5:]): arrays.pop(name) for name in list(arrays) if name.startswith("cold ")}
            return RankingAnswers(cold=cold, **arrays, **said)

        answers = self._read(f"ranking {contender.name}", made)
        if answers is not None and hasattr(contender, "choice"):
            contender.choice, contender.tried = answers.choice, answers.tried  # type: ignore[attr-defined]
        return answers

    def keep_ranking(self, name: str, answers: RankingAnswers) -> None:
        arrays = {n: getattr(answers, n) for n in ("all", "never_seen", "shuffled", "auc", "gap")}
        arrays |= {f"cold {k}": ranks for k, ranks in answers.cold.items()}
        said = {"choice": answers.choice, "tried": answers.tried, "fit_seconds": answers.fit_seconds}
        self._write(f"ranking {name}", arrays, said)

    def actions(self, name: str) -> ActionAnswers | None:
        return self._read(f"actions {name}", lambda arrays, said: ActionAnswers(**arrays, **said))

    def keep_actions(self, name: str, answers: ActionAnswers) -> None:
        arrays = {"probabilities": answers.probabilities, "shuffled": answers.shuffled}
        self._write(f"actions {name}", arrays, {"choice": answers.choice, "fit_seconds": answers.fit_seconds})

    def _file(self, what: str) -> Path:
        return self._folder / self._digest / f"{re.sub('[^a-z0-9]+', '-', what.lower()).strip('-')}.npz"

    def _read(self, what: str, made: Callable[[dict[str, Any], dict[str, Any]], Answers]) -> Answers | None:
        file = self._file(what)
        if not file.exists():
            return None
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        said = json.loads(str(arrays.pop("said")))
        said["choice"] = {name: _back(value) for name, value in said["choice"].items()}
        return made(arrays, said)

    def _write(self, what: str, arrays: dict[str, Any], said: dict[str, Any]) -> None:
        file = self._file(what)
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written = file.with_suffix(".tmp")
        with half_written.open("wb") as out:
            np.savez(out, said=np.array(json.dumps(said)), **arrays)
        half_written.replace(file)


def _back(value: Any) -> Any:
    """Choices as they were: JSON makes lists of tuples."""
    return tuple(value) if isinstance(value, list) else value
