"""What a user would do with each candidate."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.at import At, as_of
from runtime.api.rank import Candidate, candidate_ids, checked
from runtime.api.users import Device
from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.ids import Id, path_id
from runtime.serving.next_action import next_actions
from runtime.state import State

MAX_CANDIDATES = 500


class NextActionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Candidates as for /rank: ids of stored content, or ids with a vector of their own. `at`: answer as of this
    time, from events before it, where the server allows it."""

    candidates: Annotated[list[Id | Candidate], Meta(min_length=1, max_length=MAX_CANDIDATES)]
    device: Device | None = None
    at: At = None


class ActionProbabilities(msgspec.Struct, frozen=True):
    """The probabilities of the four actions, which sum to one; null for an id that is not stored."""

    id: str
    view: float | None
    save: float | None
    share: float | None
    skip: float | None


class NextActionResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """`model_version` names what answered: the installed ranker, the sequence model, or both as `ranker+sequence`.
    `events`: how many of the user's newest events were read. `source`: history, preferences (no event yet), or none
    (average over all users). `fallback`: why no model answered; the probabilities are then the user's own rates of
    the actions, the same for every candidate."""

    model_version: str
    source: Annotated[str, one_of("history", "preferences", "none")]
    events: int
    actions: list[ActionProbabilities]
    unknown: list[str]
    fallback: str | None = None


async def post_next_action(state: State, request: Request, body: NextActionRequest) -> NextActionResponse:
    """The probability of each action if the candidate is shown now."""
    found = await next_actions(
        state, path_id(request), checked(body.candidates), body.device, as_of(state, body.at, "$.at")
    )
    actions = [
        ActionProbabilities(id, **probabilities) if probabilities else ActionProbabilities(id, None, None, None, None)
        for id, probabilities in zip(candidate_ids(body.candidates), found.probabilities, strict=True)
    ]
    return NextActionResponse(found.model_version, found.source, found.events, actions, found.unknown, found.fallback)


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/user/{id:path}/next-action", post_next_action, "Predict a user's next action on candidates",
        request=NextActionRequest, response=NextActionResponse, access="read",
        errors=(400, 413, 415, 422, 503),
        example={"candidates": ["hollow-oak-barn", "grand-ballroom"]},
        max_values=250_000, answer_bytes=lambda body: 512 * len(body.candidates),
    ),
]  # fmt: skip
