"""Rankings that experiments showed, as arrays: what stood at which position with which probability."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Exposure(NamedTuple):
    """A ranking as it was logged. key: what its interactions name it by. shown: item ids with propensities, best first.
    not_shown: what exploration could have put in their place. group: experiment, period and arm."""

    key: int | str
    user_id: str
    time_us: int
    group: str
    shown: Sequence[tuple[str, float]]
    not_shown: Sequence[str] = ()

    @property
    def ids(self) -> list[str]:
        """All items, those shown first."""
        return [*(id for id, _ in self.shown), *self.not_shown]


@dataclass(frozen=True, eq=False)
class Exposures:
    """Exposures of a data set, m of them. Entries are those shown, best first, and then those that were not.

    user          int32 [m], rows of `Dataset.users`
    time_us       int64 [m]
    group         int32 [m], rows of `groups`: experiment, period and arm
    starts        int64 [m + 1]: the entries of exposure i are starts[i] to starts[i + 1]
    shown         int32 [m]: how many of them were shown
    item          int32 [entries], rows of the catalogue
    propensity    float64 [entries]: of the item at its position, given those before it; NaN for one that was not shown
    """

    user: NDArray[np.int32]
    time_us: NDArray[np.int64]
    group: NDArray[np.int32]
    groups: list[str]
    starts: NDArray[np.int64]
    shown: NDArray[np.int32]
    item: NDArray[np.int32]
    propensity: NDArray[np.float64]

    @classmethod
    def of(cls, logged: Sequence[Exposure], user_rows: Mapping[str, int], item_rows: Mapping[str, int]) -> "Exposures":
        """In the order of `logged`; the rows of all users and items must be there."""
        groups: dict[str, int] = {}
        sizes = [len(one.shown) + len(one.not_shown) for one in logged]
        entries = sum(sizes)
        return cls(
            user=np.array([user_rows[one.user_id] for one in logged], np.int32),
            time_us=np.array([one.time_us for one in logged], np.int64),
            group=np.array([groups.setdefault(one.group, len(groups)) for one in logged], np.int32),
            groups=list(groups),
            starts=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
            shown=np.array([len(one.shown) for one in logged], np.int32),
            item=np.fromiter((item_rows[id] for one in logged for id in one.ids), np.int32, entries),
            propensity=np.fromiter(_propensities(logged), np.float64, entries),
        )

    def __len__(self) -> int:
        return len(self.user)

    def entries(self, row: int) -> slice:
        """Where the entries of an exposure are."""
        return slice(int(self.starts[row]), int(self.starts[row + 1]))


def rows_by_key(logged: Iterable[Exposure], keys: Sequence[int | str | None]) -> NDArray[np.int32]:
    """For each of `keys` the row of the exposure that has it, int32; −1 for None or one that is not there."""
    rows = {one.key: row for row, one in enumerate(logged)}
    return np.fromiter((-1 if key is None else rows.get(key, -1) for key in keys), np.int32, len(keys))


def _propensities(logged: Iterable[Exposure]) -> Iterable[float]:
    for one in logged:
        yield from (propensity for _, propensity in one.shown)
        yield from (float("nan") for _ in one.not_shown)
