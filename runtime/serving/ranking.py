"""Candidates in the order of a user's taste, or of a given vector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking import cosine_scores, ranked, top_k
from runtime.personalization.user_vector import Sums
from runtime.serving.candidates import Candidate, Candidates, find, unit_vector_of
from runtime.serving.explanations import Reason, explain
from runtime.serving.histories import reading
from runtime.serving.hybrid import hybrid_features
from runtime.serving.hybrid_user import user_to_rank_for
from runtime.serving.resources import Resources
from runtime.serving.sequence_items import Served
from runtime.serving.user_vectors import SIMPLE, sequence_user, user_vector

Model = Literal["auto", "hybrid", "simple", "sequence"]
Vector = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to rank by: a user, or a vector of the model's length.

    model: auto is the hybrid ranker for a user and simple for a vector. device: for the sequence model. at_us: as of
    when the hybrid ranker ranks, None for now.
    """

    model: Model = "auto"
    user_id: str | None = None
    embedding: Sequence[float] | None = None
    device: str | None = None
    at_us: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """scores: in the order of the candidates, None for one that is not stored. order: positions, best first; of equals
    the earlier one. explanations: in that order, None where they were not wanted. parts: likewise, what each feature
    gave to the score, of the hybrid ranker. fallback: why the simple model ranked where the sequence model was
    requested.
    """

    model_version: str
    source: str
    scores: list[float | None]
    order: list[int]
    unknown: list[str]
    explanations: list[list[Reason]] | None = None
    parts: list[dict[str, float]] | None = None
    fallback: str | None = None


class _Scored(NamedTuple):
    """`scores`: float32 [k], of the known candidates. By the simple model and the hybrid ranker, where they are to be
    explained, also their `metadata`, float32 [k, 384], and the user's `sums`, where their vector was made from them."""

    candidates: Candidates
    scores: Vector
    model_version: str
    source: str
    metadata: Vector | None = None
    sums: Sums | None = None
    parts: Callable[[NDArray[np.intp]], list[dict[str, float]]] | None = None


async def rank(
    resources: Resources,
    query: Query,
    candidates: Sequence[Candidate],
    *,
    top: int | None = None,
    explained: bool = False,
) -> Ranking:
    """Score candidates and order the best `top` of them (all by default): by the hybrid ranker for a user (auto), by
    the cosine with the query's vector otherwise.

    `explained`: name the interactions of a user that contributed most to each ranked cosine of the simple model, and
    what each feature gave to a score of the hybrid ranker; not by the sequence model.
    Raises NoContent, NotInstalled, QueueFull or InvalidVector.
    """
    scored, fallback = None, None
    if query.model == "sequence":
        scored, fallback = await _by_sequence(resources, query, candidates)
    elif query.user_id is not None and query.model != "simple":
        scored = await _by_hybrid(resources, query, query.user_id, candidates, explained=explained)
    if scored is None:
        scored = await _by_average(resources, query, candidates, explained=explained)
    found = scored.candidates
    best = ranked(scored.scores) if top is None else top_k(scored.scores, top)
    scores: list[float | None] = scored.scores.tolist()
    if len(scores) < len(found.all_ids):
        scores = [None] * len(found.all_ids)
        for position, score in zip(found.known.tolist(), scored.scores.tolist(), strict=True):
            scores[position] = score
    return Ranking(
        model_version=scored.model_version,
        source=scored.source,
        scores=scores,
        order=found.known[best].tolist(),
        unknown=found.unknown_ids,
        explanations=await _explanations(resources, query, scored, best) if explained else None,
        parts=scored.parts(best) if scored.parts is not None and explained else None,
        fallback=fallback,
    )


async def _by_hybrid(
    resources: Resources, query: Query, user_id: str, candidates: Sequence[Candidate], *, explained: bool
) -> _Scored:
    user = await user_to_rank_for(resources, user_id, query.at_us, device=query.device)
    found = find(resources.catalog, candidates)
    features, ranker, metadata = await hybrid_features(resources, user, found, with_vectors=explained)
    return _Scored(
        found, ranker.scores(features), ranker.version, user.source, metadata, user.sums,
        lambda best: ranker.parts(features[best]),
    )  # fmt: skip


async def _by_average(
    resources: Resources, query: Query, candidates: Sequence[Candidate], *, explained: bool
) -> _Scored:
    catalog = resources.catalog
    sums = None
    if query.embedding is not None:
        vector, source = unit_vector_of(query.embedding, catalog.dimensions), "embedding"
    else:
        assert query.user_id is not None
        user = await user_vector(resources, query.user_id)
        vector, source = user.embedding, str(user.source)
        sums = user.user.sums if user.user and source == "history" else None
    found = find(catalog, candidates)
    if not explained:
        (scores,) = await found.cosines(catalog, [vector])
        return _Scored(found, scores, SIMPLE, source)
    metadata = await found.metadata(catalog)
    return _Scored(found, cosine_scores(vector, metadata), SIMPLE, source, metadata, sums)


async def _by_sequence(
    resources: Resources, query: Query, candidates: Sequence[Candidate]
) -> tuple[_Scored | None, str | None]:
    """Or None, and why the simple model should rank."""
    if query.embedding is not None:
        served: Served = resources.sequence.require()
        vector, source = unit_vector_of(query.embedding, served.model.dimensions), "embedding"
    else:
        assert query.user_id is not None
        if (foreign := resources.sequence.require().known.fallback) is not None:
            return None, foreign
        state = await resources.store.get_user(query.user_id)
        user = await sequence_user(resources, query.user_id, query.device, state=state)
        if user.fallback is not None:
            return None, user.fallback
        served, vector, source = user.served, user.vector, user.source
    found = find(resources.catalog, candidates)
    scores = await resources.sequence.scores(served, vector, found)
    return _Scored(found, scores, served.model.model_version, source), None


async def _explanations(
    resources: Resources, query: Query, scored: _Scored, best: NDArray[np.intp]
) -> list[list[Reason]]:
    """Of the `best` [m] of the known candidates; none where the vector comes from no interactions."""
    if query.user_id is None or scored.sums is None or scored.metadata is None:
        return [[] for _ in range(len(best))]
    decay = resources.settings.decay_per_day
    user = await resources.store.get_user(query.user_id)
    async with reading(resources, user):
        return await explain(
            resources.store, query.user_id, scored.sums, scored.metadata[best], decay_per_day=decay, at_us=query.at_us
        )
