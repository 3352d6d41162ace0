"""Popularity of all time, and recent popularity: in a window or with a half-life, as the validation prefers."""

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Events, Histories
from training.evaluation.baselines.history import FOREVER, popularity
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.protocol import Scores

_HOUR_US = 3_600_000_000
_HOURS = (1.0, 6.0, 24.0, 168.0, 720.0, 2160.0)
WINDOW, HALF_LIFE = "window", "half-life"


class Popularity(Tuned):
    """Engaged events per item over the whole training data."""

    name = "popularity"

    def learn(self, data: Dataset) -> None:
        self.share = popularity(data)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        return np.tile(self.share, (len(histories), 1))


class FreshPopularity(Tuned):
    """log(1 + engaged events per item) before the query, over the whole log up to it, as a server would count.

    Counted in a window, or each event with half the weight of one a half-life later; from an hour to all time. The
    logarithm changes nothing alone, and is what adds up with other scores. All-time popularity breaks ties.
    """

    name = "popularity, tuned"
    scored: ClassVar = {
        "counted": (
            (WINDOW, 24.0),
            *((WINDOW, hours) for hours in (1.0, 6.0, *_HOURS[3:], FOREVER)),
            *((HALF_LIFE, hours) for hours in (*_HOURS, 8760.0)),
        )
    }

    def learn(self, data: Dataset) -> None:
        self.share = popularity(data)
        self._log: Events | None = None

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        times, items = self._by_time(histories.log)
        kind, hours = self.choice["counted"]
        counts = self._in_window if kind == WINDOW else self._decayed
        return np.log1p(counts(times, items, now_us, hours)) + self.share

    def _in_window(
        self, times: NDArray[np.int64], items: NDArray[np.int32], now_us: NDArray[np.int64], hours: float
    ) -> Scores:
        first = np.zeros(len(now_us), np.int64)
        if hours != FOREVER:
            first = np.searchsorted(times, now_us - int(hours * _HOUR_US))
        end = np.searchsorted(times, now_us)  # strictly before the query
        counts = np.empty((len(now_us), len(self.share)), np.float32)
        for row, (a, b) in enumerate(zip(first, end, strict=True)):
            counts[row] = np.bincount(items[a:b], minlength=len(self.share))
        return counts

    def _decayed(
        self, times: NDArray[np.int64], items: NDArray[np.int32], now_us: NDArray[np.int64], hours: float
    ) -> Scores:
        per_hour = math.log(2) / hours
        counts = np.empty((len(now_us), len(self.share)), np.float32)
        sums, done, before = np.zeros(len(self.share)), 0, 0
        for row in np.argsort(now_us, kind="stable").tolist():
            now = int(now_us[row])
            until = int(np.searchsorted(times, now))
            sums *= math.exp(-per_hour * min((now - before) / _HOUR_US, 1e6))
            age_hours = (now - times[done:until]) / _HOUR_US
            sums += np.bincount(items[done:until], np.exp(-per_hour * age_hours), minlength=len(sums))
            counts[row], done, before = sums, until, now
        return counts

    def _by_time(self, log: Events) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        if self._log is not log:
            engaged = np.flatnonzero(log.action != SKIP)
            order = engaged[np.argsort(log.time_us[engaged], kind="stable")]
            self._times, self._items, self._log = log.time_us[order], log.item[order], log
        return self._times, self._items
