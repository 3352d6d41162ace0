"""What the ranker's weights are more for users with few events: fitted to lists whose histories are cut, beside the
weights of whole histories, which stay as they are.

Weights of whole histories let counts only correct what neighbours and the user's own events say. Where those are silent
the corrections would rank alone.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.hybrid import FEW, FEW_EVENTS, MET, Ranker, share_of_few
from runtime.personalization.ranking_features import NAMES_WITH_SEQUENCE, OWN_NAMES, met
from training.data.events import Histories
from training.evaluation.queries import Queries
from training.ranker.fit import standardised
from training.ranker.lists import Lists
from training.ranker.ndcg_fit import beside

MOST_LISTS = 1_500


class Cut(NamedTuple):
    """Queries in the order of time, with the newest events of their users alone; `gone`: the events before these."""

    queries: Queries
    gone: Histories

    def take(self, index: NDArray[np.bool_]) -> "Cut":
        """Some of the queries."""
        return Cut(self.queries.take(index), self.gone.take(index))


def cut(queries: Queries, seed: int = 0) -> Cut:
    """At most MOST_LISTS of the queries, evenly spaced. Each keeps as many events as are drawn, from none to fewer than
    FEW_EVENTS, the logarithm of one more evenly; shorter histories stay as they are."""
    chosen = np.unique(np.linspace(0, len(queries) - 1, min(len(queries), MOST_LISTS)).round().astype(np.int64))
    some = queries.take(chosen[np.argsort(queries.now_us[chosen], kind="stable")])
    drawn = np.random.default_rng(seed).uniform(0, np.log(FEW_EVENTS), len(some))
    whole = some.histories
    starts = np.maximum(whole.starts, whole.ends + 1 - np.floor(np.exp(drawn)).astype(np.int64))
    left = Histories(whole.events, starts, whole.ends, whole.users, whole.log)
    gone = Histories(whole.events, whole.starts, starts, whole.users, whole.log)
    return Cut(replace(some, histories=left), gone)


def fit_few(found: Lists, events: NDArray[np.int64], weights: dict[str, float]) -> dict[str, float]:
    """What to add to `weights`, of whole histories, under names with FEW before them; nothing where that ranks no
    better. found: of cut histories, in the order of time; events: how many are in each, [queries]."""
    names = NAMES_WITH_SEQUENCE[: found.x.shape[2]]
    base = Ranker.of("of whole histories", weights, names)
    again = [column for column, name in enumerate(names) if name not in OWN_NAMES]
    had = met(found.x.reshape(-1, len(names))).reshape(*found.log_weight.shape, 1)
    share = np.array([share_of_few(one) for one in events.tolist()], np.float32)[:, np.newaxis, np.newaxis]
    x = share * np.concatenate([found.x, had * found.x[..., again]], axis=2)
    z, spread = standardised(x, found.log_weight)
    before = base.scores(found.x.reshape(-1, len(names))).reshape(found.log_weight.shape)
    more = beside(z, found.log_weight, before)
    columns = [*names, *(f"{MET}{names[column]}" for column in again)]
    kept = [name for name, there in zip(columns, (spread > 0).tolist(), strict=True) if there]
    added = zip(kept, more / spread[spread > 0], strict=True)
    return {f"{FEW}{name}": float(weight) for name, weight in added if weight}
