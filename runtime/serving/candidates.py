"""The items of a request that are to be scored: stored content by id, or items that bring their own vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.personalization.ranking import cosine_scores, normalised

Vector = NDArray[np.float32]


class InvalidVector(ValueError):
    """A vector of the request has another length than the model's, or points nowhere. `candidate` is the position of
    the candidate that brought it; None for the query's."""

    def __init__(self, message: str, candidate: int | None = None) -> None:
        super().__init__(message)
        self.candidate = candidate


class OwnVector(NamedTuple):
    """A candidate that brings its own vector, of any length above zero."""

    id: str
    embedding: Sequence[float]


# An id alone stands for stored content.
Candidate = str | OwnVector


def only_ids(candidates: Sequence[object]) -> TypeGuard[list[str]]:
    """Whether none of the candidates brings its own vector."""
    return set(map(type, candidates)) <= {str}


@dataclass(frozen=True, eq=False)
class Candidates:
    """n candidates, of which k are known.

    known: positions of the known ones, intp [k], rising. ids: their ids, [k]. rows: of the catalogue, intp [k], −1 for
    one that brought its own vector. versions: of these rows, uint32 [k]. own: vectors by position in `ids`.
    Rows hold until the next change of the catalogue: read what they stand for before awaiting anything.
    """

    all_ids: list[str]
    known: NDArray[np.intp]
    ids: list[str]
    rows: NDArray[np.intp]
    versions: NDArray[np.uint32]
    own: dict[int, Vector]

    @property
    def unknown_ids(self) -> list[str]:
        """Ids that are not stored, in the order of the candidates."""
        if len(self.ids) == len(self.all_ids):
            return []
        known = set(self.known.tolist())
        return [id for n, id in enumerate(self.all_ids) if n not in known]

    def at(self, places: NDArray[np.intp], catalog: Catalog) -> "Candidates":
        """Those at some places among the known ones [m], looked up again: `known` are positions in `places`, without
        those that are not stored any more."""
        ids = [self.ids[place] for place in places.tolist()]
        brought = self.rows[places] < 0
        rows = np.where(brought, -1, catalog.rows_of(ids))
        known = np.flatnonzero(brought | (rows >= 0))
        own = {n: self.own[int(places[known[n]])] for n in np.flatnonzero(brought[known]).tolist()}
        versions = catalog.versions(rows[known].clip(min=0))
        return Candidates(ids, known, [ids[n] for n in known.tolist()], rows[known], versions, own)

    async def metadata(self, catalog: Catalog, wanted: NDArray[np.bool_] | None = None) -> Vector:
        """The content vectors, unit float32 [k, 384], of the known candidates, or of the `wanted` [k] among them."""
        if not self.own:
            return await catalog.gather(self.rows if wanted is None else self.rows[wanted])
        vectors = np.empty((len(self.ids), catalog.dimensions), np.float32)
        stored = self.rows >= 0
        if wanted is not None:
            stored &= wanted
        vectors[stored] = await catalog.gather(self.rows[stored])
        for position, vector in self.own.items():
            vectors[position] = vector
        return vectors if wanted is None else vectors[wanted]

    async def cosines(self, catalog: Catalog, vectors: Sequence[Vector]) -> list[Vector]:
        """Of the known candidates with each of these unit vectors, float32 [k]: the same to the last bit as from
        `metadata`, and quicker where that is not needed otherwise."""
        if not self.own:
            return await catalog.cosines(self.rows, vectors)
        metadata = await self.metadata(catalog)
        return [cosine_scores(vector, metadata) for vector in vectors]


def find(catalog: Catalog, candidates: Sequence[Candidate]) -> Candidates:
    """The candidates that have a vector. Raises InvalidVector."""
    ids = candidates if only_ids(candidates) else [one for one in candidates if isinstance(one, str)]
    found = catalog.lookup(ids)
    if len(found.ids) == len(candidates):  # as nearly always
        every = np.arange(len(found.ids))
        return Candidates(found.ids, every, found.ids, found.rows, catalog.versions(found.rows), {})
    all_ids = [one if isinstance(one, str) else one.id for one in candidates]
    rows_of = dict(zip(found.ids, found.rows.tolist(), strict=True))
    known: list[int] = []
    rows: list[int] = []
    own: dict[int, Vector] = {}
    for n, one in enumerate(candidates):
        if not isinstance(one, str):
            own[len(known)] = unit_vector_of(one.embedding, catalog.dimensions, candidate=n)
        elif one not in rows_of:
            continue
        known.append(n)
        rows.append(rows_of[one] if isinstance(one, str) else -1)
    row_array = np.array(rows, np.intp)
    versions = catalog.versions(row_array.clip(min=0))  # those of own vectors are not used
    return Candidates(all_ids, np.array(known, np.intp), [all_ids[n] for n in known], row_array, versions, own)


def unit_vector_of(values: Sequence[float], dimensions: int, candidate: int | None = None) -> Vector:
    """Unit float32 [dimensions] in the direction of `values`. Raises InvalidVector."""
    if len(values) != dimensions:
        raise InvalidVector(f"the vector has {len(values)} numbers, the model has {dimensions}", candidate)
    try:
        return normalised(np.array(values, np.float64))
    except ValueError as error:
        raise InvalidVector(str(error).removeprefix("vector 0 "), candidate) from None
