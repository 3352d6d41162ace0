"""The vector of a user without events and preferences: the average of what is popular."""

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking import normalised

Vector = NDArray[np.float32]  # [384], unit vector

# How many items, by what everybody engaged with lately, stand for "popular".
POPULAR_ITEMS = 20

# A user with fewer events than this counts as new.
COLD_EVENTS = 5


def popular_vector(embeddings: NDArray[np.floating]) -> Vector | None:
    """Unit vector of the plain average of popular items, [n, 384] → float32 [384]; None for no items or no direction.

    Plain, not weighted by popularity: one very popular item should not define every new user.
    """
    if len(embeddings) == 0:
        return None
    mean = embeddings.mean(axis=0, dtype=np.float64)
    if float(np.linalg.norm(mean)) < 1e-9:  # the items cancel out: what is left is rounding
        return None
    return normalised(mean)
