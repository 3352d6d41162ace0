"""The event schema: parallel arrays sorted by user and time, a catalogue, and a data set of both with its origin."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.sequence_features import DAYS_TO_EVENT_KEY, DEVICES
from training.data.exposures import Exposures

# Position is the code, as in the runtime's log (runtime.personalization.actions.TYPES): append, never reorder.
ACTIONS = ("skip", "view", "save", "share")
SKIP, VIEW, SAVE, SHARE = range(4)

_DTYPES: dict[str, Any] = {
    "user": np.int32,
    "item": np.int32,
    "action": np.int8,
    "time_us": np.int64,
    "duration_ms": np.float32,
    "device": np.int8,
    "session": np.int32,
    "days_to_event": np.float32,
    "exposure": np.int32,
}
_UNKNOWN: dict[str, float] = {
    "duration_ms": np.nan, "device": 0, "session": -1, "days_to_event": np.nan, "exposure": -1,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Events:
    """Interactions, sorted stably by (user, time_us): events of one microsecond keep the order of their source.

    user, item        int32 [n], rows of `Dataset.users` and of the catalogue
    action            int8 [n], code of ACTIONS
    time_us           int64 [n], microseconds since 1970, UTC
    duration_ms       float32 [n], NaN unknown
    device            int8 [n], code of DEVICES, 0 unknown
    session           int32 [n], -1 unknown; equal numbers mean the same session of a user, nothing else
    days_to_event     float32 [n], days until the date the user plans for, NaN unknown
    exposure          int32 [n], row of `Dataset.exposures` that the event answers, -1 for none
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    action: NDArray[np.int8]
    time_us: NDArray[np.int64]
    duration_ms: NDArray[np.float32]
    device: NDArray[np.int8]
    session: NDArray[np.int32]
    days_to_event: NDArray[np.float32]
    exposure: NDArray[np.int32]

    @classmethod
    def of(cls, **columns: Any) -> "Events":
        """From columns with rows in any order: cast, filled with "unknown" where a column is left out, and sorted.

        Raises ValueError where lengths differ or a code is outside its table.
        """
        n = len(columns["user"])
        made: dict[str, NDArray[Any]] = {}
        for name, dtype in _DTYPES.items():
            column = columns.pop(name, None)
            values = np.full(n, _UNKNOWN[name], dtype) if column is None else np.asarray(column).astype(dtype)
            if values.shape != (n,):
                raise ValueError(f"column {name} has shape {values.shape}, user has ({n},)")
            made[name] = values
        if columns:
            raise ValueError(f"unknown columns {sorted(columns)}; the schema has {sorted(_DTYPES)}")
        for name, table in (("action", ACTIONS), ("device", DEVICES)):
            if n and not 0 <= made[name].min() <= made[name].max() < len(table):
                raise ValueError(f"{name} has codes {made[name].min()} to {made[name].max()}, the table has {table}")
        order = np.lexsort((made["time_us"], made["user"]))  # lexsort is stable
        return cls(**{name: values[order] for name, values in made.items()})

    def __len__(self) -> int:
        return len(self.user)

    def take(self, index: Any) -> "Events":
        """The events at an index array, a mask or a slice, which has to keep them sorted: ascending indices do."""
        return Events(**{column.name: getattr(self, column.name)[index] for column in fields(self)})

    def starts(self, users: int) -> NDArray[np.int64]:
        """int64 [users + 1]: the events of user u are rows starts[u] to starts[u + 1]."""
        return np.searchsorted(self.user, np.arange(users + 1)).astype(np.int64)

    def of_user(self, user: int) -> "Events":
        """The events of one user, as views of the arrays."""
        start, end = np.searchsorted(self.user, [user, user + 1])
        return self.take(slice(int(start), int(end)))


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items.

    ids, texts    list[str] [items]; a text is "" where the source has none
    vectors       float32 [items, 384], unit rows by the runtime's text encoder; all zero where there is no text
    created_us    int64 [items], 0 unknown
    category      int16 [items], -1 unknown
    """

    ids: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]
    created_us: NDArray[np.int64]
    category: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Users, items and events of one source. `licence`, `mapping` and `limits` are sentences for the report.

    preference_embedding: float32 [users, 384], unit vectors of the onboarding preferences, zero rows for users without;
    None where the source has none. catalogue_id: int16 [items] where a data set has several catalogues and each user
    meets the items of one only; None for a single catalogue. days_to_event_key: name in an interaction's context, where
    a server that serves a model of these data finds `days_to_event`. exposures: rankings that experiments showed, None
    where the source has none.
    """

    name: str
    users: list[str]
    catalogue: Catalogue
    events: Events
    licence: str = ""
    mapping: str = ""
    limits: tuple[str, ...] = ()
    preference_embedding: NDArray[np.float32] | None = None
    catalogue_id: NDArray[np.int16] | None = None
    days_to_event_key: str = DAYS_TO_EVENT_KEY
    exposures: Exposures | None = None

    @property
    def starts(self) -> NDArray[np.int64]:
        """int64 [users + 1], see `Events.starts`."""
        return self.events.starts(len(self.users))

    def some_users(self, most: int) -> "Dataset":
        """At most `most` users, evenly spaced, without exposures, with a sentence in `limits` that says so."""
        if len(self.users) <= most:
            return self
        chosen = np.linspace(0, len(self.users) - 1, most).astype(np.int64)
        events = self.events.take(np.isin(self.events.user, chosen))
        events = replace(events, exposure=np.full(len(events), -1, np.int32))
        return replace(
            self,
            users=[self.users[user] for user in chosen],
            events=replace(events, user=np.searchsorted(chosen, events.user).astype(np.int32)),
            limits=(*self.limits, f"only {most:,} of the {len(self.users):,} users, in even steps"),
            preference_embedding=None if self.preference_embedding is None else self.preference_embedding[chosen],
            exposures=None,
        )

    def with_events(self, events: Events) -> "Dataset":
        """The same users and items with other events, such as a part of a split."""
        return replace(self, events=events)


@dataclass(frozen=True, eq=False)
class Histories:
    """The events of a batch of users before each query: rows starts[i] to ends[i] of `events`.

    Slices of one sorted log, so that a batch of prefixes is not copied.

    events        the rows the slices point into
    starts, ends  int64 [b]
    users         int32 [b], rows of `Dataset.users`: a history may be empty
    log           all events of all users; a model may read only those strictly before the query
    """

    events: Events
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    users: NDArray[np.int32]
    log: Events

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Events]:
        return (self.events.take(slice(int(a), int(b))) for a, b in zip(self.starts, self.ends, strict=True))

    def take(self, index: Any) -> "Histories":
        """The histories at an index, a mask or a slice."""
        return Histories(self.events, self.starts[index], self.ends[index], self.users[index], self.log)
