"""Durable state behind one small protocol; SQLite by default.

What holds, once a write has returned: it survives the death of the process and, as far as the disk honours a sync, of
the machine. `delete_user` holds for the bytes of the files too. A write that raises leaves the outcome open (the sync
may have failed after the write): repeating the call is safe, because writes are idempotent.
"""

from runtime.store.errors import (
    SchemaTooNew,
    StoreBusy,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreIOError,
    StoreLocked,
)
from runtime.store.experiment_records import (
    ArmBucket,
    ChangeKind,
    ExperimentChange,
    Exposure,
    FailedRankings,
    LoggedExposure,
)
from runtime.store.protocol import Store
from runtime.store.records import (
    AddOutcome,
    Conflict,
    Content,
    ContentItem,
    Counts,
    DeletedUser,
    Embedding,
    Interaction,
    LoggedInteraction,
    NewVector,
    PastInteraction,
    Popular,
    Preferences,
    PutOutcome,
    RecentEvents,
    Seen,
    Unchanged,
    UserHistory,
    UserPreferences,
    UserState,
    Vectors,
)

__all__ = [
    "AddOutcome",
    "ArmBucket",
    "ChangeKind",
    "Conflict",
    "Content",
    "ContentItem",
    "Counts",
    "DeletedUser",
    "Embedding",
    "ExperimentChange",
    "Exposure",
    "FailedRankings",
    "Interaction",
    "LoggedExposure",
    "LoggedInteraction",
    "NewVector",
    "PastInteraction",
    "Popular",
    "Preferences",
    "PutOutcome",
    "RecentEvents",
    "SchemaTooNew",
    "Seen",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreIOError",
    "StoreLocked",
    "Unchanged",
    "UserHistory",
    "UserPreferences",
    "UserState",
    "Vectors",
]
