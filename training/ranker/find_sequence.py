"""The sequence model of a log that a ranker is fitted beside, where nobody names one."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from runtime.models.bundle import MANIFEST, BundleError
from runtime.models.installed import DEFAULT, SEQUENCE
from training.checkpoint import VALIDATED, Checkpoint
from training.data.events import Dataset
from training.errors import TrainingError
from training.evaluation.sequence_bundle import GivenBundle

RUNS = Path("checkpoints")  # where the documentation has `vows-edge train` write them

_MOST_RUNS = 20  # the newest, that are looked at
_KNOWN = 0.9  # of a run's items, that are in the log it was trained on, where content was deleted since
_FEW = 0.01  # of the newest tenth, that two ways of cutting it may differ by


class FoundSequence(NamedTuple):
    """`folder`: of a run, or of a bundle. `what`: it is, for a message."""

    folder: Path
    what: str


def find_sequence(data: Dataset, newest: Dataset, *, models: Path = DEFAULT, runs: Path = RUNS) -> FoundSequence | None:
    """What was trained on this log, and has not seen its newest tenth: the run of the bundle that is installed in
    `models`, or else this bundle, or else the newest run in `runs`; None where there is nothing like that."""
    of_log: list[tuple[Path, str]] = []
    folders = sorted(runs.glob(f"*/{VALIDATED}"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[:_MOST_RUNS]:
        try:
            checkpoint = Checkpoint.load(folder)
        except TrainingError:
            continue
        until_us = checkpoint.data.get("trained_until_us")
        if _is_of(checkpoint.ids, data) and not has_seen(newest, until_us):
            of_log.append((folder.parent, checkpoint.run))
    installed = _installed(models)
    if installed is not None:
        for run, name in of_log:
            if name == installed.run:
                return FoundSequence(run, f"the run of the bundle installed in {models}")
        ids = installed.model.places(data.catalogue.ids)
        known = np.count_nonzero(ids >= 0) >= _KNOWN * max(installed.model.trained_items, 1)
        if known and not has_seen(newest, installed.trained_until_us):
            return FoundSequence(models / SEQUENCE, "the bundle that is installed")
    return FoundSequence(of_log[0][0], f"the newest run of this log in {runs}") if of_log else None


def has_seen(newest: Dataset, until_us: int | None) -> bool:
    """Whether weights that were fitted to events up to a time have seen the newest tenth; as good as, where it is not
    known."""
    return until_us is None or bool((newest.events.time_us <= until_us).mean() > _FEW)


def _installed(models: Path) -> GivenBundle | None:
    if not (models / SEQUENCE / MANIFEST).exists():
        return None
    try:
        return GivenBundle(models / SEQUENCE)
    except (BundleError, KeyError, ValueError):  # the server says why it does not serve it
        return None


def _is_of(ids: list[str], data: Dataset) -> bool:
    known = set(data.catalogue.ids)
    return bool(ids) and sum(id in known for id in ids) >= _KNOWN * len(ids)
