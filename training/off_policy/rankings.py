"""Logged rankings beside what another ranking would have shown instead: arrays for the estimators.

Exploration draws the order of the best few candidates by the model that ranked. The other ranking is judged by the
order that it would give to the same few; candidates that exploration could not show say nothing.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.actions import ENGAGED_STRENGTH, MOST_WEIGHTED_ENGAGEMENT, STRENGTHS, TYPES
from runtime.personalization.ranking import ranked
from training.data.events import Dataset, Events
from training.data.exposures import Exposures

Metric = Literal["engaged", "weighted"]

_STRENGTH = np.array([STRENGTHS[name] for name in TYPES])


class Drawn(NamedTuple):
    """Exposures that exploration drew. rows: int64 [n], of the exposures. pool: int64 [n], how many of the entries the
    draw could put anywhere: those of the shown ones that were drawn, and all that were not shown. left_out: how many
    exposures are not among them, by the reason."""

    rows: NDArray[np.int64]
    pool: NDArray[np.int64]
    left_out: dict[str, int]


class Rankings(NamedTuple):
    """The first k positions of n rankings.

    users: int32 [n]. there: bool [n, k], False beyond the end of a ranking. rewards: float64 [n, k]. logged, target:
    float64 [n, k], propensities of what was shown, given what was before it, in the log and by the other ranking.
    shown_item, target_item: int32 [n, k], what was shown and what the other ranking would show. shown_score,
    target_score: float64 [n, k], the other ranking's scores of these, standardised within a ranking.
    """

    users: NDArray[np.int32]
    there: NDArray[np.bool_]
    rewards: NDArray[np.float64]
    logged: NDArray[np.float64]
    target: NDArray[np.float64]
    shown_item: NDArray[np.int32]
    target_item: NDArray[np.int32]
    shown_score: NDArray[np.float64]
    target_score: NDArray[np.float64]


def drawn_rankings(exposures: Exposures) -> Drawn:
    """Those of arms with exploration of which everything is known."""
    uncertain = np.nan_to_num(exposures.propensity, nan=1.0) < 1
    entries = np.diff(exposures.starts)
    of_entry = np.repeat(np.arange(len(exposures)), entries)
    explored = np.isin(exposures.group, np.unique(exposures.group[of_entry[uncertain]]))
    rows, pool = [], []
    left_out = {"of arms without exploration": int((~explored).sum()), "logged without what was not shown": 0}
    left_out["with an item twice"] = 0
    for row in np.flatnonzero(explored).tolist():
        own = exposures.entries(row)
        shown, size = int(exposures.shown[row]), int(entries[row])
        places = np.flatnonzero(uncertain[own])
        if size > shown:
            movable = size
        elif not len(places):
            movable = 0
        elif places[-1] + 1 < shown:
            movable = int(places[-1]) + 2  # the last of the pool has no alternative
        else:
            left_out["logged without what was not shown"] += 1
            continue
        if len(np.unique(exposures.item[own])) < size:
            left_out["with an item twice"] += 1
            continue
        rows.append(row)
        pool.append(movable)
    found = {reason: number for reason, number in left_out.items() if number}
    return Drawn(np.array(rows, np.int64), np.array(pool, np.int64), found)


def beside_target(
    dataset: Dataset,
    drawn: Drawn,
    scores: Sequence[NDArray[np.float32]],
    *,
    positions: int,
    metric: Metric,
    window_us: int,
) -> Rankings:
    """scores: the other ranking's, of each ranking's entries. Interactions count until window_us after a ranking."""
    exposures = dataset.exposures
    assert exposures is not None
    rewards = entry_rewards(dataset.events, exposures, metric, window_us)
    n = len(drawn.rows)
    made = Rankings(
        exposures.user[drawn.rows],
        np.zeros((n, positions), np.bool_),
        rewards=np.zeros((n, positions)),
        logged=np.ones((n, positions)),
        target=np.ones((n, positions)),
        shown_item=np.full((n, positions), -1, np.int32),
        target_item=np.full((n, positions), -1, np.int32),
        shown_score=np.zeros((n, positions)),
        target_score=np.zeros((n, positions)),
    )
    for place, (row, pool) in enumerate(zip(drawn.rows.tolist(), drawn.pool.tolist(), strict=True)):
        own = exposures.entries(row)
        shown = min(int(exposures.shown[row]), positions)
        items, scored = exposures.item[own], scores[place].astype(np.float64)
        order = np.arange(len(items))
        # By their rows first: the order of equals must not depend on what was drawn
        movable = np.argsort(items[:pool])
        order[:pool] = movable[ranked(scores[place][movable])]
        spread = scored.std()
        standard = (scored - scored.mean()) / spread if spread > 0 else np.zeros(len(scored))
        made.there[place, :shown] = True
        made.rewards[place, :shown] = rewards[own][:shown]
        made.logged[place, :shown] = exposures.propensity[own][:shown]
        made.target[place, :shown] = order[:shown] == np.arange(shown)
        made.shown_item[place, :shown] = items[:shown]
        made.target_item[place, :shown] = items[order[:shown]]
        made.shown_score[place, :shown] = standard[:shown]
        made.target_score[place, :shown] = standard[order[:shown]]
    return made


def entry_rewards(events: Events, exposures: Exposures, metric: Metric, window_us: int) -> NDArray[np.float64]:
    """What followed each entry, float64 [entries]. engaged: 1 where the item was saved or shared. weighted: Σ strength
    of what was done with it, at most 20."""
    answers = np.flatnonzero(events.exposure >= 0)
    of = events.exposure[answers]
    late = events.time_us[answers] >= exposures.time_us[of] + window_us
    answers, of = answers[~late], of[~late]
    catalogue = int(max(exposures.item.max(initial=-1), events.item.max(initial=-1))) + 1
    of_entry = np.repeat(np.arange(len(exposures)), np.diff(exposures.starts)).astype(np.int64)
    keys = of_entry * catalogue + exposures.item
    order = np.argsort(keys, kind="stable")
    wanted = of.astype(np.int64) * catalogue + events.item[answers]
    at = np.searchsorted(keys[order], wanted).clip(max=max(len(keys) - 1, 0))
    there = keys[order[at]] == wanted if len(keys) else np.zeros(0, np.bool_)
    entry, strength = order[at[there]], _STRENGTH[events.action[answers[there]]]
    if metric == "engaged":
        found = np.zeros(len(keys))
        found[entry[strength >= ENGAGED_STRENGTH]] = 1.0
        return found
    summed = np.bincount(entry, strength, minlength=len(keys)).astype(np.float64)
    return summed.clip(max=MOST_WEIGHTED_ENGAGEMENT)
