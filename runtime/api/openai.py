"""Embeddings for clients that speak OpenAI's API: the same vectors as /embed, in its shapes and with its errors."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from runtime.api.embed import AT_ONCE, EncodingFormat, answer_bytes, encoded
from runtime.http.endpoint import Endpoint
from runtime.http.errors import ApiError, ErrorShape, invalid
from runtime.http.ids import path_id
from runtime.http.pieces import list_in_pieces
from runtime.models.bundle import MANIFEST
from runtime.models.embedder import EmbeddedText
from runtime.models.vectors import Vector, shortened
from runtime.state import State
from runtime.system.text import visible

# Names under which clients know the model that is served. No name of a model that is not.
ALIASES = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")

# As OpenAI: inputs of a request, and characters that 8,192 of its tokens may have.
MAX_INPUTS = 2_048
_Text = Annotated[str, Meta(max_length=65_536)]

# A list of inputs, or the token ids of one input: the model reads 256.
_Ids = Annotated[list[int], Meta(min_length=1, max_length=256)]
_Inputs = Annotated[list[_Text | int | _Ids], Meta(min_length=1, max_length=MAX_INPUTS)]


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`input`: a text, a list of up to 2,048 texts, the token ids of one text (from [CLS] to [SEP]), or a list of such
    lists. `dimensions` keeps the first numbers of each vector and brings it back to unit length. Fields that are not
    named here, such as `user`, are ignored."""

    input: _Text | _Inputs
    model: Annotated[str, Meta(max_length=256)]
    encoding_format: EncodingFormat = "float"
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class EmbeddingItem(msgspec.Struct, frozen=True):
    """`embedding`: numbers, or little-endian float32 in base64. Beyond OpenAI's fields: `tokens` counts the whole text;
    the model reads the first 256, and `truncated` says that there were more. `unknown_tokens` of `tokens` stand for
    words that the model cannot tell apart."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    tokens: int
    unknown_tokens: int
    truncated: bool


class Usage(msgspec.Struct, frozen=True):
    """Tokens that the model read, [CLS] and [SEP] included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(msgspec.Struct, frozen=True):
    """One item an input, in order."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: Usage


class Model(msgspec.Struct, frozen=True):
    """`created`: seconds since 1970 when the bundle was installed."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(msgspec.Struct, frozen=True):
    """As OpenAI lists models."""

    object: Literal["list"]
    data: list[Model]


class OpenAIError(msgspec.Struct, frozen=True):
    """`code` as in this API's own errors; `param` is the field, without `$.`."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    """An error as OpenAI's clients read it."""

    error: OpenAIError


def _render(refusal: ApiError) -> tuple[int, OpenAIErrorBody]:
    """OpenAI answers 400 where this API says 422."""
    status = 400 if refusal.status == 422 else refusal.status
    error = refusal.error
    param = (error.field or "$").removeprefix("$").removeprefix(".")
    kind: Literal["invalid_request_error", "server_error"] = (
        "server_error" if status >= 500 else "invalid_request_error"
    )
    return status, OpenAIErrorBody(OpenAIError(error.message, kind, param or None, error.code))


OPENAI_ERRORS = ErrorShape(OpenAIErrorBody, _render)


async def post_v1_embeddings(state: State, request: Request, body: EmbeddingsRequest) -> Response:
    """OpenAI-compatible. `model` is sentence-bert-v1 or all-MiniLM-L6-v2."""
    _check_model(state, body.model)
    dimensions = body.dimensions or state.embedder.encoder.dimensions
    if dimensions > state.embedder.encoder.dimensions:
        most = state.embedder.encoder.dimensions
        raise invalid(f"the model makes {most} dimensions, {dimensions} were asked for", "$.dimensions")
    embedded = await _embed(state, request, body.input)
    for one in embedded if dimensions < state.embedder.encoder.dimensions else ():
        _check_length(one.vector, dimensions)
    data = (
        EmbeddingItem(
            object="embedding",
            index=n,
            embedding=encoded(shortened(one.vector, dimensions), body.encoding_format),
            tokens=one.tokens,
            unknown_tokens=one.unknown,
            truncated=one.truncated,
        )
        for n, one in enumerate(embedded)
    )
    read = sum(min(one.tokens, state.embedder.encoder.max_tokens) for one in embedded)
    answer = EmbeddingsResponse("list", [], state.embedder.encoder.model_version, Usage(read, read))
    return list_in_pieces(answer, "data", data, at_once=AT_ONCE)


async def get_v1_models(state: State, request: Request) -> ModelList:
    """The text model, under its own name."""
    return ModelList("list", [_model(state)])


async def get_v1_model(state: State, request: Request) -> Model:
    """Also by the names all-MiniLM-L6-v2 and sentence-transformers/all-MiniLM-L6-v2."""
    _check_model(state, path_id(request))
    return _model(state)


async def _embed(state: State, request: Request, given: str | list[Any]) -> list[EmbeddedText]:
    """The vector of each input. A single input goes ahead of batches, however it is wrapped."""
    if isinstance(given, str):
        return [await state.embedder.embed(_text(given, "$.input"), request.is_disconnected)]
    if len({type(one) for one in given}) > 1:
        raise invalid("input is one of: a text, texts, token ids, lists of token ids; this list is mixed", "$.input")
    if isinstance(given[0], str):
        texts = [_text(one, f"$.input[{n}]") for n, one in enumerate(given)]
        if len(texts) == 1:
            return [await state.embedder.embed(texts[0], request.is_disconnected)]
        return await state.embedder.embed_batch(texts, request.is_disconnected)
    one = isinstance(given[0], int)
    tokens = []
    for n, ids in enumerate([given] if one else given):
        try:
            tokens.append(state.embedder.encoder.tokenizer.tokens(ids))
        except ValueError as error:
            raise invalid(str(error), "$.input" if one else f"$.input[{n}]") from None
    return await state.embedder.embed_tokens(tokens, request.is_disconnected)


def _text(text: str, field: str) -> str:
    """White space alone is taken, as OpenAI does; its vector is that of no words."""
    if text and (text.isspace() or visible(text)):
        return text.strip()
    raise invalid("of the text nothing can be seen" if text else "the text is empty", field)


def _check_length(vector: Vector, dimensions: int) -> None:
    """Before anything of the answer is sent."""
    try:
        shortened(vector, dimensions)
    except ValueError as error:
        raise invalid(str(error), "$.dimensions") from None


def _check_model(state: State, name: str) -> None:
    served = state.embedder.encoder.model_version
    if name not in (served, *ALIASES):
        raise ApiError(
            404,
            "model_not_found",
            f"the model {name!r} is not served here; use {served!r} or {ALIASES[0]!r}",
            field="$.model",
        )


def _model(state: State) -> Model:
    bundle = state.embedder.encoder.bundle
    created = int((bundle.path / MANIFEST).stat().st_mtime)
    return Model(bundle.manifest.model_version, "model", created, "vows-edge")


def _answer_bytes(body: EmbeddingsRequest) -> int:
    one = isinstance(body.input, str) or isinstance(body.input[0], int)
    return answer_bytes(1 if one else len(body.input), body.encoding_format)


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/v1/embeddings", post_v1_embeddings, "Embed texts, for OpenAI clients",
        request=EmbeddingsRequest, response=EmbeddingsResponse, errors=(400, 404, 413, 415, 503),
        access="read", error_shape=OPENAI_ERRORS, answer_bytes=_answer_bytes,
        example={"model": "sentence-bert-v1", "input": ["a rustic barn with string lights", "a harbour loft"]},
    ),
    Endpoint(
        "GET", "/v1/models", get_v1_models, "The models served, for OpenAI clients",
        response=ModelList, error_shape=OPENAI_ERRORS,
    ),
    Endpoint(
        "GET", "/v1/models/{id:path}", get_v1_model, "One model, for OpenAI clients",
        response=Model, errors=(400, 404), error_shape=OPENAI_ERRORS,
    ),
]  # fmt: skip
