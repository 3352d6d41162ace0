"""Candidates in the order of a user's taste."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.at import At, as_of
from runtime.api.content import utc
from runtime.api.users import Device
from runtime.http.endpoint import Endpoint
from runtime.http.errors import invalid
from runtime.http.ids import SURELY_SHORT, Id, check_id
from runtime.http.lenient import NOT_GIVEN, ReadOnly
from runtime.serving.candidates import OwnVector, only_ids
from runtime.serving.explanations import Reason
from runtime.serving.ranking import Model, Query
from runtime.serving.shown_rankings import rank_shown
from runtime.state import State

MAX_CANDIDATES = 2_000


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate that brings its own vector, of any length above zero; without one it is stored content, such as a
    result of /search, whose `score` is ignored."""

    id: Id
    embedding: list[float] | None = None
    score: ReadOnly = NOT_GIVEN


class RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `user_id` and `embedding`. A candidate that is an id is stored content.

    `model`: auto is, for a user, the arm of their experiment, else what was promoted, else hybrid; for an embedding it
    is simple. hybrid scores what everybody does lately, what the user did with the item, and content together; simple
    is the cosine with the average of the history; sequence is the cosine with the trained model's vector of what the
    user wants now, on `device` or else the last one they used, and `embedding` has its length then. `at`: rank as of
    then, from events before it; by the hybrid model, and where VOWS_ALLOW_AT is set.
    """

    model: Model = "auto"
    device: Device | None = None
    user_id: Id | None = None
    embedding: list[float] | None = None
    candidates: Annotated[list[Id | Candidate], Meta(min_length=1, max_length=MAX_CANDIDATES)]
    top_k: Annotated[int, Meta(ge=1)] | None = None
    at: At = None


class RankQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`explain` names, for each ranked candidate, the three of the user's last 4,096 interactions that contributed most
    to its cosine with the average of the history, and by the hybrid model what each feature gave to its score."""

    explain: bool = False


class CandidateScore(msgspec.Struct, frozen=True, gc=False):
    """`score`: higher is better; a cosine, but by the hybrid model a sum of weighted features that can have any size.
    null for an id that is not stored."""

    id: str
    score: float | None


class Contribution(msgspec.Struct, frozen=True):
    """`contribution`: the part of the cosine with the average of the history that comes from this interaction. Those of
    the whole history add up to it."""

    event_id: str
    content_id: str
    type: str
    timestamp: datetime
    contribution: float


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The interactions that contributed most to the score of candidate `id`, largest first. `features`: by the hybrid
    model, what each feature gave to the score; they add up to it."""

    id: str
    interactions: list[Contribution]
    features: dict[str, float] = {}


class RankResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """`scores` in the order of the candidates, `ranked` best first (ties keep the candidates' order). `explanations`,
    where requested, in the order of `ranked`; none where the vector comes from no interactions (see `source`).

    `fallback`: why the simple model was used although sequence was requested; `model_version` names the one used.
    `ranking_id`, `experiment`, `arm`: where the user takes part in an experiment; send the first with interactions.
    """

    model_version: str
    source: str
    scores: list[CandidateScore]
    ranked: list[CandidateScore]
    unknown: list[str]
    explanations: list[Explanation] | None = None
    fallback: str | None = None
    ranking_id: str | None = None
    experiment: str | None = None
    arm: str | None = None


async def post_rank(state: State, request: Request, body: RankRequest, query: RankQuery) -> RankResponse:
    """A score for each candidate, and their order. Unknown ids get no score and are listed."""
    if (body.user_id is None) == (body.embedding is None):
        raise invalid("give either user_id or embedding", "$")
    if query.explain and body.user_id is None:
        raise invalid("interactions explain the ranking of a user: give user_id", "explain")
    if query.explain and body.model == "sequence":
        raise invalid("the simple model's scores are sums over interactions, the sequence model's are not", "explain")
    if body.model == "hybrid" and body.user_id is None:
        raise invalid("the hybrid model ranks for a user, not for a vector: give user_id", "$.model")
    if body.at is not None and (body.user_id is None or body.model not in ("auto", "hybrid")):
        raise invalid("only the hybrid model can rank a user as of another time", "$.at")
    if body.user_id is not None:
        check_id(body.user_id, "$.user_id")
    ranking_query = Query(
        model=body.model,
        user_id=body.user_id,
        embedding=body.embedding,
        device=body.device,
        at_us=as_of(state, body.at, "$.at"),
    )
    ranking, shown = await rank_shown(
        state, ranking_query, checked(body.candidates), top=body.top_k, explained=query.explain
    )
    ids = candidate_ids(body.candidates)
    scores = list(map(CandidateScore, ids, ranking.scores))
    best_first = [scores[position] for position in ranking.order]
    explanations = None
    if ranking.explanations is not None:
        explanations = [
            Explanation(one.id, [_contribution(reason) for reason in reasons], parts)
            for one, reasons, parts in zip(
                best_first, ranking.explanations, ranking.parts or [{}] * len(best_first), strict=True
            )
        ]
    return RankResponse(
        model_version=ranking.model_version,
        source=ranking.source,
        scores=scores,
        ranked=best_first,
        unknown=ranking.unknown,
        explanations=explanations,
        fallback=ranking.fallback,
        **({} if shown is None else shown._asdict()),
    )


def _contribution(reason: Reason) -> Contribution:
    past = reason.interaction
    return Contribution(past.event_id, past.content_id, past.type_name, utc(past.time_us), reason.contribution)


def candidate_ids(candidates: list[str | Candidate]) -> list[str]:
    """The id of each candidate, in order."""
    if only_ids(candidates):
        return candidates
    return [one if isinstance(one, str) else one.id for one in candidates]


def checked(candidates: list[str | Candidate]) -> list[str | OwnVector]:
    """The candidates for `serving`. Raises ApiError 422 for an id that is too long."""
    if only_ids(candidates) and max(map(len, candidates)) <= SURELY_SHORT:  # as nearly always: none is empty
        return list(candidates)
    found: list[str | OwnVector] = []
    for n, one in enumerate(candidates):
        if isinstance(one, str):
            found.append(check_id(one, f"$.candidates[{n}]"))
        else:
            id = check_id(one.id, f"$.candidates[{n}].id")
            found.append(id if one.embedding is None else OwnVector(id, one.embedding))
    return found


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/rank", post_rank, "Rank candidates for a user",
        request=RankRequest, query=RankQuery, response=RankResponse, access="read",
        errors=(400, 404, 409, 413, 415, 422, 503),
        example={"user_id": "ada", "candidates": ["hollow-oak-barn", "grand-ballroom"], "top_k": 1},
        max_values=400_000, answer_bytes=lambda body, query: (3_072 if query.explain else 512) * len(body.candidates),
    ),
]  # fmt: skip
