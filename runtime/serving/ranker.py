"""The hybrid ranker that is served: the prior, or a trained bundle, and the switch to another one while serving."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.models.bundle import MANIFEST, Bundle, BundleError
from runtime.models.bundle_folder import Stamp, folder_stamp
from runtime.models.ranker import LoadedRanker, load_ranker
from runtime.personalization.hybrid import prior
from runtime.serving.sequence import SequenceServing
from runtime.serving.sequence_items import Served

log = logging.getLogger("vows")

KIND = "ranker"
LOOK_EVERY_S = 2.0  # at the folder, for another bundle

# Of one item: its row in the table of neighbours, and the version of the catalogue's row that this belongs to.
ITEM_BYTES = 8


class RankerServing:
    """Event-loop thread only. `served`: what ranks now. `problem`: why the bundle that is there does not."""

    def __init__(
        self, folders: Sequence[Path], catalog: Catalog, sequence: SequenceServing, *, with_sequence: bool = True
    ) -> None:
        """folders: where the bundle is looked for, first to last. with_sequence: whether the score of a sequence model
        may be a feature."""
        self.served = LoadedRanker(prior())
        self.problem: str | None = None
        self._folders = folders
        self._catalog = catalog
        self._sequence = sequence
        self._with_sequence = with_sequence
        self._logged: str | None = None
        self._seen: Stamp | None = None
        self._table_row = np.empty(catalog.capacity, np.int32)  # of each catalogue row
        self._version = np.zeros(catalog.capacity, np.uint32)  # 0: not looked up

    def take_over(self) -> None:
        """Serve the bundle that is there, if it is another one than before; without one, or where it cannot be served,
        what ranked before stays."""
        folder = next((folder for folder in self._folders if (folder / MANIFEST).exists()), self._folders[-1])
        stamp = folder_stamp(folder)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            loaded = LoadedRanker(prior()) if stamp is None else load_ranker(Bundle.load(folder.resolve(), kind=KIND))
        except Exception as error:  # a bundle can be wrong in any way: none of them may end what is served
            what = "" if isinstance(error, BundleError) else f"bundle {folder}: {type(error).__name__}: "
            self.problem = f"{what}{error}"
            log.error("%s; %s still ranks", self.problem, self.served.ranker.version)
            return
        self.problem = None
        self.served = loaded
        self._version[: self._catalog.rows] = 0
        self._log()

    @property
    def beside(self) -> Served | None:
        """The sequence model whose score is a feature now, with the second set of weights; None where the first set
        ranks: see `apart`."""
        return self._sequence.served if self.apart is None else None

    @property
    def apart(self) -> str | None:
        """Why the score of the sequence model is no feature now; None where it is."""
        fitted, served = self.served.sequence, self._sequence.served
        if not self._with_sequence:
            return "VOWS_HYBRID_SEQUENCE is 0"
        if fitted is None or fitted.ranker is None:
            return f"{self.served.ranker.version} has no weights for one"
        if served is None:
            return f"{fitted.model_version} is not installed"
        if not fitted.is_it(served.model):
            same_name = served.model.model_version == fitted.model_version
            found = f"{served.model.model_version}{' of another training run' if same_name else ''}"
            return f"{found} is served, the weights were fitted beside {fitted.model_version}"
        return served.known.fallback

    def _log(self) -> None:
        """What ranks, where it is another than before."""
        beside, version = self.beside, self.served.ranker.version
        if beside is not None:
            now = f"{version} ranks, with the score of {beside.model.model_version}"
        elif self.served.sequence is not None and self.served.sequence.ranker is not None:
            now = f"{version} ranks, without the score of a sequence model: {self.apart}"
        else:
            now = f"{version} ranks"
        if now != self._logged:
            self._logged = now
            log.info("%s", now)

    def table_rows(self, rows: NDArray[np.integer]) -> NDArray[np.int32]:
        """Rows of the neighbour table, [k], for rows of the catalogue that hold an item, or −1 of either."""
        found = np.full(len(rows), -1, np.int32)
        there = np.flatnonzero(rows >= 0)
        own = rows[there].astype(np.intp)
        versions = self._catalog.versions(own)
        new = np.flatnonzero(self._version[own] != versions)
        if len(new):
            ids = self._catalog.ids(own[new])
            if len(ids) == len(new):
                self._table_row[own[new]] = self.served.rows(ids)
                self._version[own[new]] = versions[new]
            else:  # some rows are free: they are in no answer
                for row, version in zip(own[new].tolist(), versions[new].tolist(), strict=True):
                    if held := self._catalog.ids(np.array([row])):
                        self._table_row[row], self._version[row] = self.served.rows(held)[0], version
                    else:
                        self._table_row[row] = -1
        found[there] = self._table_row[own]
        return found

    async def watch(self) -> None:
        """Until cancelled: take over another bundle when one appears, and log what ranks."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.take_over()
            self._log()
