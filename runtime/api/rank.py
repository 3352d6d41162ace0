"""Candidates in the order of a user's taste."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from starlette.requests import Request

from runtime.api.content import utc
from runtime.api.users import MODEL_VERSION, Device, Model, user_now, user_vector
from runtime.http.endpoint import Endpoint
from runtime.http.errors import invalid
from runtime.http.ids import Id, check_id
from runtime.personalization.actions import InteractionType
from runtime.personalization.ranking import cosine_scores, normalised, ranked, top_k
from runtime.personalization.user_vector import Sums
from runtime.serving.explanations import Reason, explain
from runtime.serving.sequence import Candidates, Served

if TYPE_CHECKING:
    from runtime.state import State

MAX_CANDIDATES = 2_000


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate that brings its own vector, of any length above zero."""

    id: Id
    embedding: list[float]


class RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `user_id` and `embedding`. An id among the candidates means stored content.

    `model`: simple, or sequence for the trained model's vector of what the user wants now, on `device` or else the last
    one they used; `embedding` has its length then.
    """

    model: Model = "simple"
    device: Device | None = None
    user_id: Id | None = None
    embedding: list[float] | None = None
    candidates: Annotated[list[Id | Candidate], Meta(min_length=1, max_length=MAX_CANDIDATES)]
    top_k: Annotated[int, Meta(ge=1)] | None = None


class RankQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`explain` names, for each ranked candidate, the three of the user's last 4,096 interactions that contributed most
    to its score."""

    explain: bool = False


class Score(msgspec.Struct, frozen=True):
    """Cosine of the user's vector and the candidate's; null for an id that is not stored."""

    id: str
    score: float | None


class Contribution(msgspec.Struct, frozen=True):
    """`contribution`: the part of the score that comes from this interaction. Those of the whole history add
    up to it."""

    event_id: str
    content_id: str
    type: InteractionType
    timestamp: datetime
    contribution: float


class Explanation(msgspec.Struct, frozen=True):
    """The interactions that contributed most to the score of candidate `id`, largest first."""

    id: str
    interactions: list[Contribution]


class RankResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """`scores` in the order of the candidates, `ranked` best first (ties keep the candidates' order). `explanations`,
    where asked for, in the order of `ranked`; none where the vector comes from no interactions (see `source`).

    `fallback`: why the simple model answers where the sequence model was asked; `model_version` says which did.
    """

    model_version: str
    source: str
    scores: list[Score]
    ranked: list[Score]
    unknown: list[str]
    explanations: list[Explanation] | None = None
    fallback: str | None = None


async def post_rank(state: "State", request: Request, body: RankRequest, query: RankQuery) -> RankResponse:
    """Cosine of the user's vector (or the given one) to each candidate. Unknown ids get no score and are listed."""
    if (body.user_id is None) == (body.embedding is None):
        raise invalid("give either user_id or embedding", "$")
    if query.explain and body.user_id is None:
        raise invalid("interactions explain the ranking of a user: give user_id", "explain")
    if query.explain and body.model == "sequence":
        raise invalid("the simple model's scores are sums over interactions, the sequence model's are not", "explain")
    ids = [candidate if isinstance(candidate, str) else candidate.id for candidate in body.candidates]
    asked, fallback = await _sequence_user(state, body) if body.model == "sequence" else (None, None)
    sums = None
    if asked is None:
        user, source, sums = await _user(state, body)
        matrix, known = known_candidates(state, body.candidates)
        found, version = cosine_scores(user, matrix if known.all() else matrix[known]), MODEL_VERSION
    else:
        matrix, known = known_candidates(state, body.candidates)
        candidates = sequence_candidates(state, body.candidates, matrix, known)
        found = await state.sequence.scores(asked.served, asked.vector, candidates)
        source, version = asked.source, asked.served.model.model_version
    scores: list[Score] = [Score(id, None) for id in ids]
    for position, score in zip(np.flatnonzero(known).tolist(), found.tolist(), strict=True):
        scores[position] = Score(ids[position], score)
    order = ranked(found) if body.top_k is None else top_k(found, body.top_k)
    best = np.flatnonzero(known)[order]
    best_first = [scores[position] for position in best.tolist()]
    explanations = None
    if query.explain:
        explanations = await _explanations(state, body.user_id, sums, [one.id for one in best_first], matrix[best])
    return RankResponse(
        model_version=version,
        source=source,
        scores=scores,
        ranked=best_first,
        unknown=[id for id, is_known in zip(ids, known.tolist(), strict=True) if not is_known],
        explanations=explanations,
        fallback=fallback,
    )


async def _user(state: "State", body: RankRequest) -> tuple[NDArray[np.float32], str, Sums | None]:
    """The vector to rank for, its source, and the sums it was made from, where it was."""
    if body.embedding is not None:
        return _vector(body.embedding, state.catalog.dimensions, "$.embedding"), "embedding", None
    assert body.user_id is not None
    vector = await user_vector(state, check_id(body.user_id, "$.user_id"))
    sums = vector.user.sums if vector.user and vector.source == "history" else None
    return vector.embedding, vector.source, sums


async def _explanations(
    state: "State", user_id: str | None, sums: Sums | None, ids: list[str], vectors: NDArray[np.float32]
) -> list[Explanation]:
    """For each of `ids`, whose vectors [m, d] were ranked with `sums`."""
    if user_id is None or sums is None:
        return [Explanation(id, []) for id in ids]
    decay = state.settings.decay_per_day
    async with state.history_turn:
        found = await explain(state.store, user_id, sums, vectors, decay_per_day=decay)
    return [Explanation(id, [_contribution(one) for one in reasons]) for id, reasons in zip(ids, found, strict=True)]


def _contribution(reason: Reason) -> Contribution:
    past = reason.interaction
    return Contribution(past.event_id, past.content_id, past.type, utc(past.time_us), reason.contribution)


class _SequenceQuery(NamedTuple):
    served: Served
    vector: NDArray[np.float32]
    source: str


async def _sequence_user(state: "State", body: RankRequest) -> tuple[_SequenceQuery | None, str | None]:
    """What to rank by with the sequence model, or why the simple model ranks instead."""
    if body.embedding is not None:
        served = state.sequence.require()
        vector = _vector(body.embedding, served.model.dimensions, "$.embedding")
        return _SequenceQuery(served, vector, "embedding"), None
    assert body.user_id is not None
    found = await user_now(state, check_id(body.user_id, "$.user_id"), body.device)
    if found.fallback is not None:
        return None, found.fallback
    return _SequenceQuery(found.served, found.now.vector, found.source), None


def sequence_candidates(
    state: "State", candidates: list[str | Candidate], matrix: NDArray[np.float32], known: NDArray[np.bool_]
) -> Candidates:
    """The known ones of `candidates`, as the sequence model takes them; the others from `known_candidates`."""
    some = [one for one, is_known in zip(candidates, known.tolist(), strict=True) if is_known]
    rows = np.full(len(some), -1, np.intp)
    stored = [n for n, one in enumerate(some) if isinstance(one, str)]
    rows[stored] = state.catalog.lookup([one for one in some if isinstance(one, str)]).rows
    return Candidates([one if isinstance(one, str) else one.id for one in some], matrix[known], rows)


def known_candidates(
    state: "State", candidates: list[str | Candidate]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors float32 [n, d] in candidate order (zeros where unknown) and which of them are known."""
    matrix = np.zeros((len(candidates), state.catalog.dimensions), np.float32)
    known = np.ones(len(candidates), np.bool_)
    positions: list[int] = []  # of the candidates that are ids
    ids: list[str] = []
    for n, candidate in enumerate(candidates):
        if isinstance(candidate, str):
            positions.append(n)
            ids.append(check_id(candidate, f"$.candidates[{n}]"))
        else:
            check_id(candidate.id, f"$.candidates[{n}].id")
            matrix[n] = _vector(candidate.embedding, state.catalog.dimensions, f"$.candidates[{n}].embedding")
    found = state.catalog.lookup(ids)
    if len(found.ids) == len(candidates):  # as nearly always: gathered once, never copied again
        return state.catalog.gather(found.rows), known
    unknown = set(found.unknown)
    known[positions] = [id not in unknown for id in ids]
    matrix[[n for n in positions if known[n]]] = state.catalog.gather(found.rows)
    return matrix, known


def _vector(values: list[float], dimensions: int, field: str) -> NDArray[np.float32]:
    if len(values) != dimensions:
        raise invalid(f"the vector has {len(values)} numbers, the model has {dimensions}", field)
    try:
        return normalised(np.array(values, np.float64)).astype(np.float32)
    except ValueError as error:
        raise invalid(str(error).removeprefix("vector 0 "), field) from None


ENDPOINTS = [
    Endpoint(
        "POST", "/rank", post_rank, "Rank candidates for a user",
        request=RankRequest, query=RankQuery, response=RankResponse, access="read",
        errors=(400, 404, 409, 413, 415, 422, 503),
        example={"user_id": "ada", "candidates": ["hollow-oak-barn", "grand-ballroom"], "top_k": 1},
        max_values=400_000, answer_bytes=lambda body, query: (3_072 if query.explain else 512) * len(body.candidates),
    ),
]  # fmt: skip
