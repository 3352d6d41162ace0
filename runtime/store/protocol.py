"""The interface of durable state, which every implementation keeps: see tests/runtime/store/conformance."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from runtime.personalization import popularity
from runtime.store.changes import CatalogLog
from runtime.store.experiment_records import (
    ArmBucket,
    ExperimentChange,
    Exposure,
    FailedRankings,
    LoggedExposure,
    MovedOutcome,
)
from runtime.store.records import (
    AddOutcome,
    Content,
    ContentItem,
    Counts,
    DeletedUser,
    Embedding,
    Interaction,
    LoggedInteraction,
    PastInteraction,
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


class Store(Protocol):
    """Durable state: content, the interaction log, user states and preferences.

    Everything is awaited, from one thread: the event loop's. A write returns when it is on the disk: it survives the
    death of the process and of the machine. Writes take effect in the order in which they were begun, and raise
    StoreBusy or StoreClosed where nothing was written, StoreFull, StoreIOError, … (a StoreError) where the outcome is
    open. One that is cancelled before its turn comes is not written.

    Reads see every write that has returned and never wait for one. Each is an index look-up or a page of bounded size;
    an implementation lets other tasks run at least between pages. Raise StoreError.
    """

    # For files of a catalogue that outlive the process; an implementation without makes the catalogue at each start
    catalog_log: CatalogLog | None = None

    # Writes

    async def put_content(self, items: Sequence[ContentItem]) -> list[PutOutcome]:
        """Create or replace items, all or none, in order. Split bulk loads into calls of a few hundred items.

        Users who interacted with an item whose vector changes become stale in the same transaction.
        Raises ValueError for a vector that is not finite or not of the store's dimensions.
        """
        ...

    async def replace_vectors(self, vectors: Sequence[ContentItem]) -> list[bool]:
        """Give items new vectors, all or none, and nothing else: False for one whose fields are no longer those that
        the vector was made from, or that was deleted. Never creates an item; times and `hidden` stay as they are.

        Users become stale and ValueError is raised as by put_content.
        """
        ...

    async def delete_content(self, id: str) -> bool:
        """Remove an item; False if there was none. Its interactions stay in the log and count for nothing."""
        ...

    async def hide_content(self, id: str, hidden: bool) -> bool:
        """Keep an item out of the catalogue and of what is popular, or let it in again; False if there is none.
        Replacing a hidden item leaves it hidden; its interactions count as before."""
        ...

    async def add_interactions(
        self, interactions: Sequence[Interaction], *, counts: dict[str, popularity.Counts] | None = None
    ) -> list[AddOutcome]:
        """Append events; one outcome each, in order. A repeated event_id changes nothing, within a call as between:
        `duplicate` where it is the same event, else a Conflict. One that was deleted lately is not stored again
        (`deleted`): see tombstones.py.

        The event, the user's sums and count and the content's popularity and decayed counts change in one transaction.
        `counts` receives what the decayed counts of engaged content have become, where nobody else writes to the
        store; where it stays empty, read them with item_counts.
        """
        ...

    async def delete_interaction(self, event_id: str, *, counted: set[str] | None = None) -> bool:
        """Take an event back, as if it had never come; False if there is none. Its id is taken for some time. counted:
        gets the id of the content whose counts changed."""
        ...

    async def put_preferences(self, user_id: str, preferences: Preferences) -> None:
        """Set or replace a user's onboarding preferences. Raises ValueError as put_content does."""
        ...

    async def replace_preference_vector(self, user_id: str, preferences: Preferences) -> bool:
        """Give a user's preferences a new vector, and nothing else: False where they are no longer these, or were
        deleted. Never creates a user. Raises ValueError as put_content does."""
        ...

    async def rebuild_user(self, user_id: str) -> UserState | None:
        """Compute the user's sums from the log again, store them if that is possible (a full disk keeps nobody from
        reading), and return the state; None for an unknown user."""
        ...

    async def delete_user(self, user_id: str, *, counted: set[str] | None = None) -> DeletedUser:
        """Remove every trace of a user, also from the bytes of the files, and take their weight off popularity. For
        some time keyed hashes are left (tombstones.py), which refuse late retries of their events. counted: gets the
        ids of the content whose counts changed."""
        ...

    async def change_experiment(self, change: ExperimentChange, *, after: int) -> int | None:
        """Append what was done to an experiment; its sequence. None where something was done to any experiment since
        sequence `after`: nothing is written then, and whoever decided has not seen all."""
        ...

    async def add_exposures(self, exposures: Sequence[Exposure], failed: Sequence[FailedRankings] = ()) -> None:
        """Append rankings that were shown. A user's first of an experiment's period makes them a participant of the
        arm. The rows, the participants and the counts of the arms change in one transaction."""
        ...

    async def move_exposures(self, exposures: Sequence[Exposure]) -> list[MovedOutcome]:
        """Append rankings that another database recorded, each once, with the outcome of each: as `add_exposures`, but
        for who had few events: that goes by those from before the exposure. An event that is added again with its
        `ranking_id` afterwards is a duplicate, and answers the ranking from then on."""
        ...

    async def close_windows(self, now_us: int, *, limit: int = 256) -> int:
        """Measure the outcome of participants whose window ended before `now_us`, by the events with times within it,
        and count it, once for all. At most `limit`, those that ended first; how many there were."""
        ...

    async def trim_exposures(
        self, before_us: int, max_bytes: int, *, after_us: int = 2**63 - 1, limit: int = 1000
    ) -> int:
        """Delete the oldest exposures, at most `limit`, that are from before a time or beyond `max_bytes` in all, or
        from after a time, by a clock that was wrong; how many. Counts and participants stay."""
        ...

    async def forget_participants(self, ended: Mapping[str, int], *, limit: int = 1000) -> int:
        """Delete participants whose outcomes are counted, at most `limit`, of periods that get no more exposures; how
        many. ended: by experiment, the last of its periods that has ended."""
        ...

    # Reads

    async def get_content(self, id: str) -> Content | None:
        """An item with its vector, hidden or not; None if there is none."""

    async def unchanged(self, items: Sequence[tuple[str, bytes]], bundle_digest: str) -> dict[str, Unchanged]:
        """Those of the items (id, fields) that are stored with these very fields and a vector by this bundle, by id.
        However long stored fields are, they are compared where they lie."""
        ...

    async def list_content(self, *, after: int, limit: int, max_bytes: int) -> tuple[list[Content], int | None]:
        """Up to `limit` items that are not hidden, in the order in which they were first stored, and the `after` of the
        next page, None on the last. The first of a page is there whatever its size; the fields of all others fit in
        `max_bytes` with it."""
        ...

    async def embeddings(self, ids: Sequence[str]) -> dict[str, Embedding]:
        """The vectors of those of `ids` that exist."""
        ...

    async def hidden(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that exist and are hidden."""
        ...

    async def get_user(self, user_id: str) -> UserState | None:
        """The user's state, at the same cost for any length of history. Where `stale`, call rebuild_user instead."""
        ...

    async def newest(self, user_id: str, limit: int) -> UserHistory:
        """The user's newest `limit` events with content that exists, ties in the order they came; none if unknown."""
        ...

    async def recent(self, user_id: str, limit: int) -> RecentEvents:
        """The user's newest `limit` events by their own time, ties in the order they came; none if unknown."""
        ...

    async def item_counts(self, ids: Sequence[str]) -> dict[str, popularity.Counts]:
        """The decayed counts (personalization.popularity) of those of `ids` that somebody engaged with."""
        ...

    async def get_preferences(self, user_id: str) -> Preferences | None:
        """A user's onboarding preferences as they were set; None if there are none."""

    async def seen(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[Seen]:
        """The user's last interactions of every type, newest first; those with a sequence under `before`, if it is
        given. A long history is read in pages, `before` being the last sequence of the page before."""
        ...

    async def history(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[PastInteraction]:
        """The user's last interactions with content that is there, with its vectors; pages as those of `seen`."""
        ...

    async def log(
        self, *, after: int = 0, limit: int = 1000, user_id: str | None = None
    ) -> tuple[list[LoggedInteraction], int | None]:
        """A page of the events with sequence > `after`, in that order, and the `after` of the next, None on the last.
        Events that cannot be read are left out and reported, so that a page can have fewer than `limit`. `user_id`: of
        that user alone."""
        ...

    async def experiment_changes(self, *, after: int = 0) -> list[ExperimentChange]:
        """What was done to all experiments since sequence `after`, in that order."""
        ...

    async def experiment_counts(self, experiment: str, period: int) -> list[ArmBucket]:
        """The counts of a period's arms by time, oldest first: at most 512 buckets an arm and 4,096 in all, wider where
        it ran long or has many."""
        ...

    async def participant_arm(self, user_id: str, experiment: str, period: int) -> str | None:
        """The arm that a user was first shown in an experiment's period; None for one who was shown none."""
        ...

    async def exposures(self, *, after: int = 0, limit: int = 1000) -> list[LoggedExposure]:
        """The exposures with sequence > `after`, in that order."""
        ...

    async def counts(self) -> Counts:
        """How many rows of each kind are stored."""

    async def check_some(self, rows: int) -> None:
        """Look for damage in the next rows, at most so many; report it. Calls go through all rows, again and again."""
        ...

    def unreadable_rows(self) -> int:
        """Rows that were met and left out since the start, because they cannot be read."""
        ...

    def waiting_writes(self) -> int:
        """Writes that were accepted and are not on the disk yet."""
        ...

    def unavailable(self) -> str | None:
        """Why durable state cannot be reached at the moment; None while it can."""
        ...

    async def schema(self) -> list[str]:
        """Names of the migrations that the data has been through, oldest first."""
        ...

    # At start

    def vectors(self, bundle_digest: str, *, rows: int = 32) -> AsyncIterator[Vectors]:
        """Every vector made by this bundle of content that is not hidden, `rows` at a time: an item's fields can have
        250 KB."""
        ...

    async def content_of_other_bundles(
        self, bundle_digest: str, *, after: int = 0, limit: int = 64, max_bytes: int = 1 << 20
    ) -> tuple[list[Content], int | None]:
        """A page of the items whose vector another bundle made, and the `after` of the next; bounds as of
        list_content."""
        ...

    async def ids_without_room(self, bundle_digest: str, *, after: int = 0, limit: int = 256) -> list[tuple[int, str]]:
        """A page of (key, id) of the items that `vectors` leaves out: hidden, or by another bundle. `after`: the last
        key of the page before."""
        ...

    async def engaged_content(
        self, *, after: int = 0, limit: int = 512
    ) -> tuple[dict[str, popularity.Counts], int | None]:
        """A page of the decayed counts of all content that somebody engaged with, stored or not, by id, and the `after`
        of the next page, None on the last."""
        ...

    async def preferences_of_other_bundles(
        self, bundle_digest: str, *, after: int = 0, limit: int = 64
    ) -> tuple[list[UserPreferences], int | None]:
        """A page of the preferences whose vector another bundle made, and the `after` of the next, None on the last."""
        ...

    async def close(self) -> None:
        """Finish what is queued, checkpoint, close. Nothing is accepted afterwards. Safe to call twice."""
        ...
