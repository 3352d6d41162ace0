"""Content → embedding, without keeping it."""

import time
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.endpoint import Endpoint
from runtime.api.errors import invalid
from runtime.content import Content, embedding_text, ignored_fields

if TYPE_CHECKING:
    from runtime.parts import Parts

MAX_BATCH = 256


class Embedding(msgspec.Struct, frozen=True):
    """`embedding`: 384 numbers, unit length. `tokens` counts the whole text, of which the model reads the first 256."""

    embedding: list[float]
    tokens: int
    truncated: bool
    used: list[str]
    ignored: list[str]


class EmbedResponse(Embedding, frozen=True):
    model_version: str
    latency_ms: float


class EmbedBatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[Content], Meta(min_length=1, max_length=MAX_BATCH)]


class EmbedBatchResponse(msgspec.Struct, frozen=True):
    results: list[Embedding]
    model_version: str
    latency_ms: float


async def post_embed(parts: "Parts", request: Request, content: Content) -> EmbedResponse:
    started = time.monotonic()
    text, used = text_of(content)
    embedded = await parts.embedder.embed(text, request.is_disconnected)
    return EmbedResponse(
        embedding=embedded.vector.tolist(),
        tokens=embedded.tokens,
        truncated=embedded.truncated,
        used=used,
        ignored=ignored_fields(content),
        model_version=parts.embedder.encoder.model_version,
        latency_ms=elapsed_ms(started),
    )


async def post_embed_batch(parts: "Parts", request: Request, batch: EmbedBatchRequest) -> EmbedBatchResponse:
    started = time.monotonic()
    texts = [text_of(content, f"$.items[{n}]") for n, content in enumerate(batch.items)]
    embedded = await parts.embedder.embed_batch([text for text, _ in texts], request.is_disconnected)
    results = [
        Embedding(one.vector.tolist(), one.tokens, one.truncated, used, ignored_fields(content))
        for one, (_, used), content in zip(embedded, texts, batch.items, strict=True)
    ]
    return EmbedBatchResponse(results, parts.embedder.encoder.model_version, elapsed_ms(started))


def text_of(content: Content, field: str = "$") -> tuple[str, list[str]]:
    """`embedding_text`, refusing content that says nothing."""
    text, used = embedding_text(content)
    if not text:
        raise invalid("one of text, title, description, vendor_name or tags must say something", field)
    return text, used


def elapsed_ms(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


ENDPOINTS = [
    Endpoint(
        "POST", "/embed", post_embed, "Embed one piece of content",
        request=Content, response=EmbedResponse, errors=(400, 413, 415, 422, 503),
    ),
    Endpoint(
        "POST", "/embed/batch", post_embed_batch, "Embed up to 256 pieces of content",
        request=EmbedBatchRequest, response=EmbedBatchResponse, errors=(400, 413, 415, 422, 503),
    ),
]  # fmt: skip
