"""Content → embedding, without keeping it."""

import time
from base64 import b64encode
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from runtime.api.content import GivenContent
from runtime.catalog.item_fields import Content, ignored_fields
from runtime.http.endpoint import Endpoint
from runtime.http.errors import invalid
from runtime.http.lenient import NOT_GIVEN, ReadOnly
from runtime.http.media import accepts_only
from runtime.http.pieces import Pieces, list_in_pieces
from runtime.models.embedder import EmbeddedText
from runtime.models.vectors import Vector, octets
from runtime.serving.content import BlankContent, content_text
from runtime.state import State

MAX_BATCH = 256
_MOST_VALUES = 65_536  # MAX_BATCH items of 64 tags and 64 images each are half as many

# Held for each item of a batch until the response is sent: the vector, its counts, what was decoded for it.
_ITEM_BYTES = 2_048
# As JSON an item is held twice, encoded and in the piece that is sent, for the items of one piece.
AT_ONCE = 16
_JSON_BYTES = {"float": 2 * 8_704, "base64": 2 * 2_304}

EncodingFormat = Literal["float", "base64"]
OCTETS = "application/octet-stream"


class EmbedContent(GivenContent, frozen=True, kw_only=True):
    """The fields of an item, as it is stored or was answered: its id, vector, version and times are ignored."""

    id: ReadOnly = NOT_GIVEN


class EmbedRequest(EmbedContent, frozen=True, kw_only=True):
    """The fields of an item; `encoding_format` base64 gives the vector as little-endian float32 in base64."""

    encoding_format: EncodingFormat = "float"


class ContentEmbedding(msgspec.Struct, frozen=True):
    """`embedding`: 384 numbers of unit length, or base64. `tokens` counts the whole text, [CLS] and [SEP] included; the
    model reads the first 256, and `truncated` says that there were more. `unknown_tokens` of `tokens` stand for words
    that the model cannot tell apart (emoji, many scripts, words over 100 characters). `used` and `ignored` name the
    fields that were given."""

    embedding: list[float] | str
    tokens: int
    unknown_tokens: int
    truncated: bool
    used: list[str]
    ignored: list[str]


class EmbedResponse(ContentEmbedding, frozen=True):
    """As an item of a batch, with the time that it took on the server."""

    model_version: str
    latency_ms: float


class EmbedBatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contents to embed, in order."""

    items: Annotated[list[EmbedContent], Meta(min_length=1, max_length=MAX_BATCH)]
    encoding_format: EncodingFormat = "float"


class EmbedBatchResponse(msgspec.Struct, frozen=True):
    """One result an item, in order."""

    results: list[ContentEmbedding]
    model_version: str
    latency_ms: float


async def post_embed(state: State, request: Request, body: EmbedRequest) -> EmbedResponse | Response:
    """With `Accept: application/octet-stream` the answer is the vector alone, 384 little-endian float32."""
    started = time.monotonic()
    text, used = content_text(body)
    embedded = await state.embedder.embed(text, request.is_disconnected)
    version = state.embedder.encoder.model_version
    if accepts_only(request.scope, OCTETS.encode()):
        return _octets([embedded], version)
    return EmbedResponse(
        embedding=encoded(embedded.vector, body.encoding_format),
        tokens=embedded.tokens,
        unknown_tokens=embedded.unknown,
        truncated=embedded.truncated,
        used=used,
        ignored=ignored_fields(body),
        model_version=version,
        latency_ms=elapsed_ms(started),
    )


async def post_embed_batch(state: State, request: Request, body: EmbedBatchRequest) -> Response:
    """Each text runs alone, so its vector equals that of /embed. `Accept` as there: one row an item."""
    started = time.monotonic()
    texts = [_text_of(content, f"$.items[{n}]") for n, content in enumerate(body.items)]
    embedded = await state.embedder.embed_batch([text for text, _ in texts], request.is_disconnected)
    version = state.embedder.encoder.model_version
    if accepts_only(request.scope, OCTETS.encode()):
        return _octets(embedded, version)
    results = (
        ContentEmbedding(
            embedding=encoded(one.vector, body.encoding_format),
            tokens=one.tokens,
            unknown_tokens=one.unknown,
            truncated=one.truncated,
            used=used,
            ignored=ignored_fields(content),
        )
        for one, (_, used), content in zip(embedded, texts, body.items, strict=True)
    )
    return list_in_pieces(EmbedBatchResponse([], version, elapsed_ms(started)), "results", results, at_once=AT_ONCE)


def _text_of(content: Content, field: str) -> tuple[str, list[str]]:
    try:
        return content_text(content)
    except BlankContent as error:
        raise invalid(str(error), field) from None


def answer_bytes(items: int, encoding_format: EncodingFormat) -> int:
    """Held for the answer about so many items."""
    return items * _ITEM_BYTES + min(items, AT_ONCE) * _JSON_BYTES[encoding_format]


def elapsed_ms(started: float) -> float:
    """Milliseconds since a time of the monotonic clock."""
    return round((time.monotonic() - started) * 1000, 3)


def encoded(vector: Vector, encoding_format: EncodingFormat) -> Any:
    """The vector as JSON text already: 8 KB, where a list of Python floats would hold 12 KB until it is encoded."""
    if encoding_format == "base64":
        return b64encode(octets(vector)).decode()
    return msgspec.Raw(msgspec.json.encode(vector.tolist()))


def _octets(embedded: list[EmbeddedText], version: str) -> Response:
    headers = {
        "content-length": str(sum(one.vector.nbytes for one in embedded)),
        "x-model-version": version,
        "x-tokens": ",".join(str(one.tokens) for one in embedded),
        "x-unknown-tokens": ",".join(str(one.unknown) for one in embedded),
        "x-truncated": ",".join(str(one.truncated).lower() for one in embedded),
    }
    return Pieces((octets(one.vector) for one in embedded), headers=headers, media_type=OCTETS)


_EXAMPLE = {"text": "a rustic barn with string lights", "tags": ["rustic", "venue"]}

ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/embed", post_embed, "Embed one piece of content",
        request=EmbedRequest, response=EmbedResponse, access="read", errors=(400, 413, 415, 422, 503), example=_EXAMPLE,
    ),
    Endpoint(
        "POST", "/embed/batch", post_embed_batch, "Embed up to 256 pieces of content",
        request=EmbedBatchRequest, response=EmbedBatchResponse, access="read", errors=(400, 413, 415, 422, 503),
        example={"items": [_EXAMPLE, {"title": "Harbour House", "description": "A loft above the marina."}]},
        max_values=_MOST_VALUES, answer_bytes=lambda body: answer_bytes(len(body.items), body.encoding_format),
    ),
]  # fmt: skip
