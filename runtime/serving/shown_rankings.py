"""Rankings by whatever model is in force for the user: the arm of an experiment, what was promoted, or the default."""

import time
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple, TypeVar

from runtime.experiments.exploration import Drawn, epsilon_greedy, plackett_luce
from runtime.models.scheduler import QueueFull
from runtime.models.text_encoder import ModelFailed
from runtime.personalization.actions import InteractionType
from runtime.serving.candidates import Candidate
from runtime.serving.catalog_search import Among, Found
from runtime.serving.experiment_state import Explore
from runtime.serving.experiments import MAX_POSITIONS, Assigned
from runtime.serving.ranking import Query, Ranking, rank
from runtime.serving.recommendations import Model, Recommended, recommend
from runtime.serving.resources import Resources
from runtime.serving.sequence import NotInstalled
from runtime.store import StoreError

T = TypeVar("T")

# What counts against an arm's error rate.
_FAILURES = (ModelFailed, NotInstalled, QueueFull, StoreError)


class ShownIn(NamedTuple):
    """The experiment within which a ranking is shown."""

    ranking_id: str
    experiment: str
    arm: str


async def rank_shown(
    resources: Resources, query: Query, candidates: Sequence[Candidate], *, top: int | None, explained: bool
) -> tuple[Ranking, ShownIn | None]:
    """As `rank`, where auto is the model in force for the user. Within an experiment the ranking is recorded before it
    is returned. Raises as `rank`, and StoreError.

    Where the model in force has been uninstalled, the default ranks: in no experiment, and as a failure of its arm.
    """
    experiments = resources.experiments
    if query.model != "auto" or query.user_id is None or query.at_us is not None:
        return await rank(resources, query, candidates, top=top, explained=explained), None
    assigned = await experiments.assign(query.user_id)
    try:
        if assigned is not None:
            return await _rank_within(resources, assigned, query, candidates, top=top, explained=explained)
        in_force = replace(query, model=experiments.promoted or "auto")
        return await rank(resources, in_force, candidates, top=top, explained=explained), None
    except NotInstalled:
        return await rank(resources, query, candidates, top=top, explained=explained), None


async def _rank_within(
    resources: Resources,
    assigned: Assigned,
    query: Query,
    candidates: Sequence[Candidate],
    *,
    top: int | None,
    explained: bool,
) -> tuple[Ranking, ShownIn]:
    user_id = query.user_id
    assert user_id is not None
    explore = _explored(assigned)
    started = time.monotonic()
    wanted = top if top is None or explore is None else max(top, explore.top)
    query = replace(query, model=assigned.arm.model)
    ranking = await _counted(resources, assigned, rank(resources, query, candidates, top=wanted, explained=explained))
    drawn, left = None, []
    if explore is not None:
        drawn = _draw(explore, assigned, [ranking.scores[n] or 0.0 for n in ranking.order])
        if top is not None:
            left = [_id(candidates[ranking.order[n]]) for n in drawn.order[top : explore.top].tolist()]
        ranking = _reordered(ranking, drawn.order[:top].tolist())
    recorded = ranking.order[:MAX_POSITIONS]
    shown = list(zip((_id(candidates[n]) for n in recorded), _propensities(drawn, len(recorded)), strict=True))
    return ranking, await _expose(resources, assigned, user_id, shown, left, ranking.model_version, started)


async def recommend_shown(
    resources: Resources,
    user_id: str,
    k: int,
    *,
    among: Among,
    model: Model,
    exclude: Collection[InteractionType],
    diversity: float,
    at_us: int | None,
) -> tuple[Recommended, ShownIn | None]:
    """As `recommend`, where auto is the model in force for the user; for one that cannot search the catalogue it is the
    default. Within an experiment recorded before it is returned. Raises as `recommend`."""
    assigned = None
    if model == "auto" and at_us is None:
        assigned = await resources.experiments.assign(user_id)
        in_force = resources.experiments.promoted if assigned is None else assigned.arm.model
        model = "auto" if in_force is None or in_force == "sequence" else in_force
    explore = None if assigned is None else _explored(assigned)
    started = time.monotonic()
    found = recommend(
        resources,
        user_id,
        k if explore is None else max(k, explore.top),
        among=among,
        model=model,
        exclude=exclude,
        diversity=diversity,
        at_us=at_us,
    )
    if assigned is None:
        return await found, None
    recommended = await _counted(resources, assigned, found)
    hits = recommended.found.hits
    drawn, left = None, []
    if explore is not None:
        drawn = _draw(explore, assigned, [hit.score for hit in hits])
        left = [hits[n].id for n in drawn.order[k : explore.top].tolist()]
        hits = [hits[n] for n in drawn.order[:k].tolist()]
        recommended = recommended._replace(found=Found(hits, recommended.found.matched))
    shown = list(zip((hit.id for hit in hits), _propensities(drawn, len(hits)), strict=True))
    return recommended, await _expose(resources, assigned, user_id, shown, left, recommended.model_version, started)


async def _counted(resources: Resources, assigned: Assigned, ranking: Awaitable[T]) -> T:
    try:
        return await ranking
    except _FAILURES:
        resources.experiments.failed(assigned)
        raise


async def _expose(
    resources: Resources,
    assigned: Assigned,
    user_id: str,
    shown: Sequence[tuple[str, float]],
    left: Sequence[str],
    model_version: str,
    started: float,
) -> ShownIn:
    """left: what was drawn behind the positions shown."""
    ms = (time.monotonic() - started) * 1e3
    await resources.experiments.expose(assigned, user_id, shown, left, model_version=model_version, ms=ms)
    return ShownIn(assigned.ranking_id, assigned.experiment.name, assigned.arm.name)


def _explored(assigned: Assigned) -> Explore | None:
    explore = assigned.arm.explore or assigned.experiment.definition.explore
    return None if explore.method == "none" else explore


def _id(candidate: Candidate) -> str:
    return candidate if isinstance(candidate, str) else candidate.id


def _draw(explore: Explore, assigned: Assigned, scores: Sequence[float]) -> Drawn:
    """scores: best first."""
    random = Random(f"{explore.seed}/{assigned.ranking_id}")
    if explore.method == "epsilon":
        return epsilon_greedy(len(scores), explore.top, explore.epsilon, random)
    return plackett_luce(scores, explore.top, explore.temperature, random)


def _propensities(drawn: Drawn | None, n: int) -> list[float]:
    found: list[float] = [1.0] * n if drawn is None else drawn.propensities[:n].tolist()
    return found


def _reordered(ranking: Ranking, order: Sequence[int]) -> Ranking:
    """order: positions in `ranking.order`."""

    def picked(values: list[T] | None) -> list[T] | None:
        return None if values is None else [values[n] for n in order]

    return replace(
        ranking,
        order=[ranking.order[n] for n in order],
        explanations=picked(ranking.explanations),
        parts=picked(ranking.parts),
    )
