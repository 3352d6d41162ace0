"""What goes into the store and comes out of it.

Times are integer microseconds since 1970, UTC; vectors are float32 [384].
"""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.personalization.actions import STRENGTHS, InteractionType
from runtime.personalization.user_vector import Sums

Embedding = NDArray[np.float32]  # [384], unit vector


def check_vector(id: str, embedding: Embedding, dimensions: int) -> None:
    """Raises ValueError for a vector that is not float32 [dimensions], or not finite."""
    if embedding.shape != (dimensions,) or embedding.dtype != np.float32:
        raise ValueError(
            f"the vector of {id!r} is {embedding.dtype} {embedding.shape}, expected float32 ({dimensions},)"
        )
    if not np.isfinite(embedding).all():
        raise ValueError(f"the vector of {id!r} has a value that is not a finite number")


PutOutcome = Literal["created", "replaced"]


class Conflict(msgspec.Struct, frozen=True):
    """The event_id is that of another event, which differs in these fields."""

    differs: tuple[str, ...]


# deleted: it was taken back, or deleted with its user, and this is a late retry
AddOutcome = Literal["stored", "duplicate", "unknown_content", "deleted"] | Conflict


class ContentItem(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """An item to store: its fields as JSON bytes (the store never looks inside) and the vector made from them."""

    id: str
    fields: bytes
    embedding: Embedding
    model_version: str
    bundle_digest: str  # of the bundle that made `embedding`
    tokens: int
    truncated: bool


class Content(ContentItem, frozen=True, eq=False, kw_only=True):
    """A stored item. `popularity` is Σ strength over the interactions with it; a `hidden` one is kept and in no
    answer."""

    popularity: int
    created_us: int
    updated_us: int
    hidden: bool


class Unchanged(msgspec.Struct, frozen=True):
    """What is stored beside the fields of an item."""

    tokens: int
    truncated: bool
    model_version: str


class FilesMark(msgspec.Struct, frozen=True):
    """Up to where files of a catalogue are in step: of which database, and up to which change, by its number. Where the
    store needs more than that, `position` says it, which only the store reads."""

    identity: str
    change: int
    position: str = ""


class FilesChanges(msgspec.Struct, frozen=True):
    """`ids` of content that may have changed since a mark. `unchanged`: how many items that are not hidden and have a
    vector by the bundle are not among them."""

    ids: list[str]
    unchanged: int


class Vectors(msgspec.Struct, frozen=True, eq=False):
    """Some stored vectors: `embeddings` float32 [n, 384], row i belongs to ids[i], whose fields are fields[i]."""

    ids: list[str]
    fields: list[bytes]
    embeddings: NDArray[np.float32]


class Seen(msgspec.Struct, frozen=True):
    """An interaction, and so content that the user has seen."""

    sequence: int
    content_id: str
    type: InteractionType
    time_us: int


class RecentEvents(msgspec.Struct, frozen=True, eq=False):
    """A user's newest events, oldest first, whether or not their content still exists. action: int8 [n], positions in
    TYPES."""

    content_ids: list[str]
    action: NDArray[np.int8]


class PastInteraction(msgspec.Struct, frozen=True, eq=False):
    """An interaction with content that is still there, and the content's vector."""

    sequence: int
    event_id: str
    content_id: str
    type: InteractionType
    time_us: int
    hidden: bool
    embedding: Embedding
    strength: int
    type_name: str


class OwnType(msgspec.Struct, frozen=True):
    """A site's own type of event, and what it weighs."""

    name: str
    strength: int


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `event_id` is unique over all users; `context` is JSON bytes. `timed`: whether the client gave the
    time; otherwise it is when the event came, and no part of what makes two events the same. `ranking_id`: the ranking
    it answers; without one, the last that showed the content to the user."""

    event_id: str
    user_id: str
    content_id: str
    type: InteractionType
    time_us: int
    duration_ms: int | None = None
    device: str | None = None
    context: bytes | None = None
    ranking_id: str | None = None
    timed: bool = True
    own_type: OwnType | None = None

    @property
    def strength(self) -> int:
        """What the event weighs: of its own type, or else of the action `type`."""
        return STRENGTHS[self.type] if self.own_type is None else self.own_type.strength

    @property
    def type_name(self) -> str:
        """The type as it was sent."""
        return self.type if self.own_type is None else self.own_type.name


class LoggedInteraction(Interaction, frozen=True, kw_only=True):
    """An event as the log has it. `sequence` rises with every stored event and is never used twice."""

    sequence: int
    received_us: int


class UserHistory(msgspec.Struct, frozen=True, eq=False):
    """A user's newest events with content that exists, oldest first: arrays and lists [n].

    action: int8, positions in the log's types; time_us: int64; duration_ms: float32, NaN unknown.
    """

    content_ids: list[str]
    action: NDArray[np.int8]
    time_us: NDArray[np.int64]
    duration_ms: NDArray[np.float32]
    device: list[str | None]
    context: list[bytes | None]

    def last(self, events: int) -> "UserHistory":
        """The newest of them."""
        return UserHistory(*(getattr(self, name)[-events:] for name in self.__struct_fields__))


class UserState(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What is kept per user.

    interaction_count: stored events of every type, skip included.
    last_sequence: of the last one that the log got; None without events.
    last_updated_us: when the store last accepted an event of this user, or took one back; None without events.
    sums: the decayed sums of the user vector; None when no event has a strength and a stored vector.
    stale: a vector in the history changed since `sums` were computed; ask for `rebuild_user` instead.
    """

    interaction_count: int
    last_sequence: int | None
    last_updated_us: int | None
    sums: Sums | None
    stale: bool


class Preferences(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Onboarding preferences and the vector made from them."""

    preferences: list[str]
    embedding: Embedding
    model_version: str
    bundle_digest: str
    updated_us: int = 0  # set by the store


class UserPreferences(msgspec.Struct, frozen=True, eq=False):
    """Preferences with the user whose they are."""

    user_id: str
    preferences: Preferences


class DeletedUser(msgspec.Struct, frozen=True):
    """Receipt of a deletion: rows removed from each table. All zero when there was no such user."""

    users: int
    user_sums: int
    interactions: int
    preferences: int
    exposures: int = 0
    participants: int = 0


class Changes(msgspec.Struct, frozen=True):
    """`ids` of content that changed, and the position behind them, which only the store reads. `complete`: the position
    before was lost, and `ids` are those of all content."""

    ids: list[str]
    position: str
    complete: bool


class Counts(msgspec.Struct, frozen=True):
    """Rows now. Costs the same however many there are."""

    content: int
    users: int
    interactions: int
    preferences: int
    exposures: int = 0
    exposure_bytes: int = 0
