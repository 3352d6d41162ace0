"""Whom the user vector speaks for while there is little to go by: history, then preferences, then what is popular."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking import normalised

Source = Literal["history", "preferences", "popular"]
Vector = NDArray[np.float32]  # [384], unit vector

# How many items, by Σ strength over the whole log, stand for "popular".
POPULAR_ITEMS = 20


class UserEmbedding(NamedTuple):
    embedding: Vector
    source: Source


def user_embedding(
    history: Vector | None, preferences: Callable[[], Vector | None], popular: Callable[[], Vector | None]
) -> UserEmbedding | None:
    """The first vector there is, and where it came from; None where even the catalogue is empty.

    The later steps are functions, so that a user with history costs no look-up for them.
    """
    if history is not None:
        return UserEmbedding(history, "history")
    if (preferred := preferences()) is not None:
        return UserEmbedding(preferred, "preferences")
    if (average := popular()) is not None:
        return UserEmbedding(average, "popular")
    return None


def popular_vector(embeddings: NDArray[np.floating]) -> Vector | None:
    """Unit vector of the plain average of popular items, [n, 384] → float32 [384]; None for no items or no direction.

    Plain, not weighted by popularity: one item that everybody saw should not be every newcomer's taste.
    """
    if len(embeddings) == 0:
        return None
    mean = embeddings.mean(axis=0, dtype=np.float64)
    if float(np.linalg.norm(mean)) < 1e-9:  # the items cancel out: what is left is rounding
        return None
    return normalised(mean)
