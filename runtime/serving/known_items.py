"""Which items of the catalogue a sequence model was trained on.

A model that was trained on none of them, as the one of simulated couples before any training of the site's own, ranks
this site's content no better than chance: `simple` answers then, and the answer says so.
"""

from collections.abc import Sequence

import numpy as np

from runtime.catalog.catalog import Catalog
from runtime.models.sequence_model import SequenceModel


class KnownItems:
    """By the ids of the training log: 16 bytes for each of them. Event-loop thread only."""

    def __init__(self, model: SequenceModel, catalog: Catalog) -> None:
        self.trained_on = model.trained_items
        self.complete = False  # whether all of the catalogue was looked at
        self._model, self._catalog = model, catalog
        self._rows = np.full(self.trained_on, -1, np.int64)  # of the catalogue, by row of the model's table
        self._versions = np.zeros(self.trained_on, np.uint32)
        self._looked = 0
        self._counted = (-1, -1, 0)  # as of which change of the catalogue and look, and how many there were

    def look_at(self, ids: Sequence[str]) -> None:
        """Take note of the items of the catalogue with these ids, as they are now."""
        if not self.trained_on or not len(ids):
            return
        found = self._catalog.lookup(ids)
        places = self._model.places(found.ids)
        known = places >= 0
        self._rows[places[known]] = found.rows[known]
        self._versions[places[known]] = self._catalog.versions(found.rows[known])
        self._looked += 1

    def count(self) -> int:
        """Items of the catalogue that the model was trained on. Every ranking asks, so the last answer is kept."""
        changes, looked, count = self._counted
        if (changes, looked) != (self._catalog.changes, self._looked):
            rows = np.flatnonzero(self._rows >= 0)
            at = self._rows[rows]
            count = int(np.count_nonzero(self._catalog.has(at) & (self._catalog.versions(at) == self._versions[rows])))
            self._counted = (self._catalog.changes, self._looked, count)
        return count

    @property
    def fallback(self) -> str | None:
        """Why another model should answer; None where this one knows an item of the catalogue, where that is still
        being counted, and for a model of no ids, which reads texts alone."""
        if not self.complete or not self.trained_on or self.count():
            return None
        return (
            f"the sequence model knows none of the {len(self._catalog):,} items of this catalogue: train one on your "
            "own log with `vows-edge train --events DATA --out FOLDER`"
        )
