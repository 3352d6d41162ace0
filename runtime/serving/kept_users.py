"""What the sequence model made of users' histories, kept while it is true: ranking again reads no history then."""

import sys
import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.models.sequence_model import EncodedUser
from runtime.serving.sequence_items import Served
from runtime.store import UserState

# It also bounds for how long something is held of a user who was deleted on another machine.
LONGEST_IDLE_S = 600.0

# Of one user beside their id and the arrays: the objects that hold them.
_ENTRY_BYTES = 900


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KeptUser:
    """encoded: from `events` events. rows, versions: of the catalogue's items in them, [events].
    complete: whether these are all of the newest events that the model reads, so that nothing that comes into the
    catalogue is among them; else it is true of the catalogue after `changes` changes alone. state: of the user then."""

    served: Served
    encoded: EncodedUser
    events: int
    rows: NDArray[np.int32]
    versions: NDArray[np.uint32]
    changes: int
    complete: bool
    state: UserState


class KeptUsers:
    """By user id, the one used longest ago first. Event-loop thread only; at most `max_bytes`.

    Events do not change, so a history is known by how many events there are, the last one's sequence and when the user
    was last changed; and by the versions of its items' rows in the catalogue.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.forgotten = 0  # how often something was: what was read before must not be put after
        self._kept: OrderedDict[str, tuple[KeptUser, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._kept

    def get(self, user_id: str, state: UserState | None, served: Served, catalog: Catalog) -> KeptUser | None:
        """What is kept of a user who is now in this `state`, by the model that is served; None where it is not true any
        more."""
        if user_id not in self._kept:
            return None
        kept, _ = self._kept[user_id]
        if kept.served is not served or state is None or _history(state) != _history(kept.state):
            self._drop(user_id)
            return None
        if kept.changes != catalog.changes and not (kept.complete and _is_held(kept, catalog)):
            self._drop(user_id)
            return None
        self._kept[user_id] = kept, time.monotonic()
        self._kept.move_to_end(user_id)
        return kept

    def put(self, user_id: str, kept: KeptUser, forgotten: int) -> None:
        """forgotten: as it was before the history was read."""
        if forgotten != self.forgotten:
            return
        self._drop(user_id)
        size = _size(user_id, kept)
        while self._kept and self.used_bytes + size > self.max_bytes:
            self._drop(next(iter(self._kept)))
        if size <= self.max_bytes:
            self._kept[user_id] = kept, time.monotonic()
            self.used_bytes += size

    def forget(self, user_id: str) -> None:
        """Keep nothing of a user, also not what is being made now."""
        self.forgotten += 1
        self._drop(user_id)

    def clear(self) -> None:
        """Keep nothing, as of another model."""
        self.forgotten += 1
        self._kept.clear()
        self.used_bytes = 0

    def drop_idle(self, now_s: float) -> None:
        """Those that nobody ranked for in LONGEST_IDLE_S, by the monotonic clock."""
        before = now_s - LONGEST_IDLE_S
        while self._kept and next(iter(self._kept.values()))[1] < before:
            self._drop(next(iter(self._kept)))

    def _drop(self, user_id: str) -> None:
        if (found := self._kept.pop(user_id, None)) is not None:
            self.used_bytes -= _size(user_id, found[0])


def _history(state: UserState) -> tuple[int, int | None, int | None]:
    return state.interaction_count, state.last_sequence, state.last_updated_us


def _is_held(kept: KeptUser, catalog: Catalog) -> bool:
    """Whether the catalogue still has the items as they were."""
    rows = kept.rows.astype(np.intp)
    return bool(catalog.has(rows).all()) and np.array_equal(catalog.versions(rows), kept.versions)


def _size(user_id: str, kept: KeptUser) -> int:
    arrays = kept.encoded.state.nbytes + kept.rows.nbytes + kept.versions.nbytes
    return _ENTRY_BYTES + sys.getsizeof(user_id) + arrays
