"""What the rest of the runtime may ask of durable state."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

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
    Popular,
    Preferences,
    PutOutcome,
    Seen,
    UserHistory,
    UserPreferences,
    UserState,
    Vectors,
)


class Store(Protocol):
    """Durable state: content, the interaction log, user states and preferences.

    Writes return a future at once; `await asyncio.wrap_future(...)` it. When it completes, the write is on the disk:
    it survives the death of the process and of the machine. Writes are applied in the order they were submitted.
    They raise StoreBusy or StoreClosed when called, and the futures raise StoreFull, StoreIOError, … (a StoreError).
    A future cancelled before its turn comes is not written.

    Reads are short (an index look-up), never wait for a write, and are called from one thread: the event loop's. They
    see every write whose future has completed.
    """

    # Writes

    def put_content(self, items: Sequence[ContentItem]) -> "Future[list[PutOutcome]]":
        """Create or replace items, all or none, in order. Split bulk loads into calls of a few hundred items.

        Users who interacted with an item whose vector changes become stale in the same transaction.
        Raises ValueError for a vector that is not finite or not of the store's dimensions.
        """
        ...

    def delete_content(self, id: str) -> "Future[bool]":
        """Remove an item; False if there was none. Its interactions stay in the log and count for nothing."""
        ...

    def hide_content(self, id: str, hidden: bool) -> "Future[bool]":
        """Keep an item out of the catalogue and of what is popular, or let it in again; False if there is none.
        Replacing a hidden item leaves it hidden; its interactions count as before."""
        ...

    def add_interactions(self, interactions: Sequence[Interaction]) -> "Future[list[AddOutcome]]":
        """Append events; one outcome each, in order. A repeated event_id changes nothing, within a call as between.

        The event, the user's sums and count and the content's popularity change in one transaction.
        """
        ...

    def delete_interaction(self, event_id: str) -> "Future[bool]":
        """Take an event back, as if it had never come; False if there is none. Its id can be used again."""
        ...

    def put_preferences(self, user_id: str, preferences: Preferences) -> "Future[None]":
        """Set or replace a user's onboarding preferences. Raises ValueError as put_content does."""
        ...

    def rebuild_user(self, user_id: str) -> "Future[UserState | None]":
        """Compute the user's sums from the log again, store them, and return the state; None for an unknown user."""
        ...

    def delete_user(self, user_id: str) -> "Future[DeletedUser]":
        """Remove every trace of a user, also from the bytes of the files, and take their weight off popularity."""
        ...

    # Reads

    def get_content(self, id: str) -> Content | None: ...

    def get_contents(self, ids: Sequence[str]) -> list[Content]:
        """Those of `ids` that exist, in the order asked."""
        ...

    def list_content(self, *, after: int, limit: int, max_bytes: int) -> tuple[list[Content], int | None]:
        """Up to `limit` items that are not hidden, in the order in which they were first stored, and the `after` of the
        next page, None on the last. The first of a page is there whatever its size; the fields of all others fit in
        `max_bytes` with it."""
        ...

    def embeddings(self, ids: Sequence[str]) -> dict[str, Embedding]:
        """The vectors of those of `ids` that exist."""
        ...

    def hidden(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that exist and are hidden."""
        ...

    def get_user(self, user_id: str) -> UserState | None:
        """The user's state, at the same cost for any length of history. Where `stale`, use rebuild_user's instead."""
        ...

    def newest(self, user_id: str, limit: int) -> UserHistory:
        """The user's newest `limit` events with content that exists, ties in the order they came; none if unknown."""
        ...

    def get_preferences(self, user_id: str) -> Preferences | None: ...

    def popular(self, n: int) -> list[Popular]:
        """The n items with the greatest popularity, ties in order of first appearance; items without any included."""
        ...

    def seen(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[Seen]:
        """The user's last interactions of every type, newest first; those with a sequence under `before`, if it is
        given. A long history is read in pages, `before` being the last sequence of the page before."""
        ...

    def history(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[PastInteraction]:
        """The user's last interactions with content that is there, with its vectors; pages as those of `seen`."""
        ...

    def log(self, *, after: int = 0, limit: int = 1000) -> list[LoggedInteraction]:
        """The events with sequence > `after`, in that order: the cursor of an export is the last sequence it saw."""
        ...

    def counts(self) -> Counts: ...

    def waiting_writes(self) -> int:
        """Writes that were accepted and are not on the disk yet."""
        ...

    def schema(self) -> list[str]:
        """Names of the migrations that the data has been through, oldest first."""
        ...

    # At start

    def vectors(self, bundle_digest: str, *, rows: int = 32) -> Iterator[Vectors]:
        """Every vector made by this bundle of content that is not hidden, `rows` at a time: an item's fields can have
        250 KB."""
        ...

    def content_of_other_bundles(self, bundle_digest: str, *, limit: int = 256) -> list[Content]:
        """Items whose vector another bundle made: embed and put them again, until none is left."""
        ...

    def preferences_of_other_bundles(self, bundle_digest: str, *, limit: int = 256) -> list[UserPreferences]:
        """Preferences whose vector another bundle made."""
        ...

    def close(self) -> None:
        """Finish what is queued, checkpoint, close. Nothing is accepted afterwards. Safe to call twice."""
        ...
