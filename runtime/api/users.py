"""Users: onboarding preferences, the vector of their taste, and being forgotten."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.content import same_id, utc
from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.errors import ApiError
from runtime.http.ids import Id, path_id
from runtime.http.lenient import NOT_GIVEN, ReadOnly
from runtime.serving.user_vectors import Model, current_vector
from runtime.serving.users import delete_user_data, set_preferences, user_preferences
from runtime.state import State
from runtime.store import DeletedUser

Device = Annotated[str, Meta(max_length=64)]


class PreferencesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Preferences given at onboarding, in free text. What the answers say beside them is ignored; a `user_id` is the
    one in the path."""

    preferences: Annotated[list[Annotated[str, Meta(min_length=1, max_length=500)]], Meta(min_length=1, max_length=64)]
    user_id: Id | None = None
    tokens: ReadOnly = NOT_GIVEN
    unknown_tokens: ReadOnly = NOT_GIVEN
    truncated: ReadOnly = NOT_GIVEN
    model_version: ReadOnly = NOT_GIVEN
    updated_at: ReadOnly = NOT_GIVEN


class StoredPreferences(msgspec.Struct, frozen=True):
    """`model_version`: the model that made their vector."""

    user_id: str
    preferences: list[str]
    model_version: str
    updated_at: datetime


class PreferencesResponse(msgspec.Struct, frozen=True):
    """The preferences that were stored, and the tokens of their text as in /embed."""

    user_id: str
    preferences: list[str]
    tokens: int
    unknown_tokens: int
    truncated: bool


class EmbeddingQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model`: simple (384 numbers) or sequence (128, of what the user wants now, on `device` or else the last one)."""

    model: Model = "simple"
    device: Device | None = None


class UserEmbedding(msgspec.Struct, frozen=True, omit_defaults=True):
    """`source`: history, preferences (no usable history), or popular (neither). `embedding` has unit length.

    `fallback`: why the simple model was used although sequence was requested; `model_version` names the one used.
    """

    embedding: list[float]
    interaction_count: int
    last_updated: datetime | None
    model_version: str
    source: Annotated[str, one_of("history", "preferences", "popular")]
    fallback: str | None = None


class UserDeleted(msgspec.Struct, frozen=True):
    """What was removed, by table; all zero when nothing was stored about the user."""

    user_id: str
    deleted: DeletedUser


async def put_preferences(state: State, request: Request, body: PreferencesRequest) -> PreferencesResponse:
    """Embedded as one text, and used until there is a history."""
    user_id = same_id(path_id(request), body.user_id, "$.user_id")
    embedded = await set_preferences(state, user_id, body.preferences, request.is_disconnected)
    return PreferencesResponse(user_id, body.preferences, embedded.tokens, embedded.unknown, embedded.truncated)


async def get_preferences(state: State, request: Request) -> StoredPreferences:
    """As they were set. 404 where none were."""
    user_id = path_id(request)
    stored = await user_preferences(state, user_id)
    if stored is None:
        raise ApiError(404, "no_preferences", f"user {user_id!r} has no onboarding preferences")
    return StoredPreferences(user_id, stored.preferences, stored.model_version, utc(stored.updated_us))


async def get_user_embedding(state: State, request: Request, query: EmbeddingQuery) -> UserEmbedding:
    """The decayed average of the user's items, at the same cost for any length of history; or, with model=sequence,
    the trained model's vector of their latest events. New users get the former, and `fallback` says so.
    """
    found = await current_vector(state, path_id(request), model=query.model, device=query.device)
    user = found.user
    return UserEmbedding(
        embedding=found.embedding.tolist(),
        interaction_count=user.interaction_count if user else 0,
        last_updated=utc(user.last_updated_us) if user and user.last_updated_us is not None else None,
        model_version=found.model_version,
        source=found.source,
        fallback=found.fallback,
    )


async def delete_user(state: State, request: Request) -> UserDeleted:
    """Everything of the user is deleted: events, preferences, vector, weight in popularity, bytes in files, entry in
    the cache. Keyed hashes are kept for VOWS_TOMBSTONE_S, so that late retries do not bring the events back."""
    user_id = path_id(request)
    return UserDeleted(user_id, await delete_user_data(state, user_id))


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "PUT", "/user/{id:path}/preferences", put_preferences, "Set onboarding preferences",
        request=PreferencesRequest, response=PreferencesResponse, errors=(400, 413, 415, 422, 503),
        example={"preferences": ["rustic barn", "wildflowers", "outdoor ceremony"]},
    ),
    Endpoint(
        "GET", "/user/{id:path}/preferences", get_preferences, "A user's onboarding preferences",
        response=StoredPreferences, errors=(404, 422, 503),
    ),
    Endpoint(
        "GET", "/user/{id:path}/embedding", get_user_embedding, "A user's vector",
        query=EmbeddingQuery, response=UserEmbedding, errors=(404, 409, 422, 503), example={"model": "simple"},
    ),
    Endpoint(
        "DELETE", "/user/{id:path}", delete_user, "Delete a user",
        response=UserDeleted, errors=(422, 503),
    ),
]  # fmt: skip
