"""What the ranker's weights are more for users with few events: fitted to lists whose histories are cut, beside the
weights of whole histories, which stay as they are.

Weights of whole histories let counts only correct what neighbours and the user's own events say. Where those say little
the corrections would rank alone.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.hybrid import MET, Ranker, few, share_of_few
from runtime.personalization.ranking_features import NAMES_WITH_SEQUENCE, OWN_NAMES, met
from training.data.events import Histories
from training.evaluation.queries import Queries
from training.ranker.fit import standardised
from training.ranker.lists import Lists
from training.ranker.ndcg_fit import beside, ndcg_of

MOST_LISTS = 2_000
REACHES = (5, 16)  # from so many events on a user is ranked by the weights of whole histories


class Cut(NamedTuple):
    """Queries in the order of time, with the newest events of their users alone; `gone`: the events before these."""

    queries: Queries
    gone: Histories

    def take(self, index: NDArray[np.bool_]) -> "Cut":
        """Some of the queries."""
        return Cut(self.queries.take(index), self.gone.take(index))


def cut(queries: Queries, seed: int = 0) -> Cut:
    """At most MOST_LISTS of the queries, evenly spaced. Each keeps as many events as are drawn, from none to fewer than
    the longest of REACHES, the logarithm of one more evenly; shorter histories stay as they are."""
    chosen = np.unique(np.linspace(0, len(queries) - 1, min(len(queries), MOST_LISTS)).round().astype(np.int64))
    some = queries.take(chosen[np.argsort(queries.now_us[chosen], kind="stable")])
    drawn = np.random.default_rng(seed).uniform(0, np.log(REACHES[-1]), len(some))
    whole = some.histories
    starts = np.maximum(whole.starts, whole.ends + 1 - np.floor(np.exp(drawn)).astype(np.int64))
    left = Histories(whole.events, starts, whole.ends, whole.users, whole.log)
    gone = Histories(whole.events, whole.starts, starts, whole.users, whole.log)
    return Cut(replace(some, histories=left), gone)


def fit_few(
    found: Lists, events: NDArray[np.int64], users: NDArray[np.integer], weights: dict[str, float]
) -> dict[str, float]:
    """What to add to `weights`, of whole histories, under names with `few` before them; nothing where that ranks no
    better. found: of cut histories; events: how many are in each, users: whose they are, [queries].

    For each of REACHES there are weights of the listwise loss, and moved from there to a higher NDCG. Each of these is
    kept where it ranks better than what was kept before it for both halves of the users, fitted to the other half.
    """
    halves = [users // 2 % 2 == half for half in (0, 1)]  # not by odd and even: half of the users may be given
    if not all(half.any() for half in halves):
        return {}
    names = NAMES_WITH_SEQUENCE[: found.x.shape[2]]
    whole = Ranker.of("of whole histories", weights, names)
    scores = whole.scores(found.x.reshape(-1, len(names))).reshape(found.log_weight.shape)
    best = [float(ndcg_of(scores[half], found.log_weight[half]).mean()) for half in halves]
    chosen: tuple[int, int] | None = None  # reach and step
    for reach in REACHES:
        z, *_ = _faded(found, events, reach)
        by_half = [beside(z[~half], found.log_weight[~half], scores[~half]) for half in halves]
        for step in range(len(by_half[0])):
            judged = [
                float(ndcg_of(scores[half] + z[half] @ of[step].astype(np.float32), found.log_weight[half]).mean())
                for half, of in zip(halves, by_half, strict=True)
            ]
            if all(one > before for one, before in zip(judged, best, strict=True)):
                best, chosen = judged, (reach, step)
    if chosen is None:
        return {}
    reach, step = chosen
    z, spread, columns = _faded(found, events, reach)
    more = beside(z, found.log_weight, scores)[step] / spread
    return {f"{few(reach)}{name}": float(weight) for name, weight in zip(columns, more, strict=True) if weight}


def _faded(
    found: Lists, events: NDArray[np.int64], reach: int
) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str]]:
    """The features that weights of few events weigh, by their share in each list: standardised, with the spread and the
    name of each that varies."""
    names = NAMES_WITH_SEQUENCE[: found.x.shape[2]]
    again = [column for column, name in enumerate(names) if name not in OWN_NAMES]
    had = met(found.x.reshape(-1, len(names))).reshape(*found.log_weight.shape, 1)
    share = np.array([share_of_few(one, reach) for one in events.tolist()], np.float32)[:, np.newaxis, np.newaxis]
    z, spread = standardised(share * np.concatenate([found.x, had * found.x[..., again]], axis=2), found.log_weight)
    columns = [*names, *(f"{MET}{names[column]}" for column in again)]
    return z, spread[spread > 0], [name for name, there in zip(columns, (spread > 0).tolist(), strict=True) if there]
