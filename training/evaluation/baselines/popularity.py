"""Popularity of all time and of the last days."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Events, Histories
from training.evaluation.baselines.history import popularity
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.protocol import Scores

_DAY_US = 86_400_000_000


class Popularity(Tuned):
    """Engaged events per item over the whole training data."""

    name = "popularity"

    def learn(self, data: Dataset) -> None:
        self.share = popularity(data)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        return np.tile(self.share, (len(histories), 1))


class RecentPopularity(Tuned):
    """Engaged events per item in the 7 days before the query, over the whole log up to it, as a server would count.

    All-time popularity breaks ties. The window is fixed, not tuned.
    """

    name = "popularity, 7 days"
    scored: ClassVar = {"days": (7.0,)}

    def learn(self, data: Dataset) -> None:
        self.share = popularity(data)
        self._log: Events | None = None

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        times, items = self._by_time(histories.log)
        first = np.searchsorted(times, now_us - int(self.choice["days"] * _DAY_US))
        end = np.searchsorted(times, now_us)  # strictly before the query
        scores = np.empty((len(histories), len(self.share)), np.float32)
        for row, (a, b) in enumerate(zip(first, end, strict=True)):
            scores[row] = np.bincount(items[a:b], minlength=len(self.share))
        return scores + self.share

    def _by_time(self, log: Events) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        if self._log is not log:
            engaged = np.flatnonzero(log.action != SKIP)
            order = engaged[np.argsort(log.time_us[engaged], kind="stable")]
            self._times, self._items, self._log = log.time_us[order], log.item[order], log
        return self._times, self._items


class FreshPopularity(RecentPopularity):
    """As `RecentPopularity`, with a tuned window: from an hour to a quarter of a year."""

    name = "popularity, tuned window"
    scored: ClassVar = {"days": (7.0, 1 / 24, 0.25, 1.0, 30.0, 90.0)}
