"""Results that are relevant and not all alike: maximal marginal relevance.

Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries",
SIGIR 1998: take, one after the other, the d that maximises λ·Sim₁(d, q) − (1 − λ)·max over those taken of Sim₂(d, dⱼ).
"""

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking import cosine_scores


def mmr(relevance: NDArray[np.float32], vectors: NDArray[np.float32], k: int, *, diversity: float) -> NDArray[np.intp]:
    """Positions of the k chosen, in the order they are chosen; all of them where there are fewer than k.

    relevance: float32 [n], best first or in any order; vectors: unit float32 [n, d]. `diversity` is 1 − λ, from 0 (by
    relevance alone) to 1 (after the first, only how unlike the others). The first one has nothing to be unlike and is
    the most relevant. Of equals the earliest is taken.
    """
    # The similarities so far are kept, so a step costs one product of the vectors with the one just taken.
    n = len(relevance)
    gain = (1 - diversity) * relevance.astype(np.float64)  # [n]
    nearest = np.full(n, -np.inf)  # [n], the greatest similarity to one that was taken
    chosen = np.empty(min(k, n), np.intp)
    for step in range(len(chosen)):
        objective = gain - diversity * nearest if step else relevance.astype(np.float64)
        objective[chosen[:step]] = -np.inf
        best = int(np.argmax(objective))
        chosen[step] = best
        nearest = np.maximum(nearest, cosine_scores(vectors[best], vectors))
    return chosen
