"""What another ranking would have got from logged exposures: three estimates with intervals, and what limits them."""

import msgspec
import numpy as np

from training.data.events import Dataset
from training.errors import TrainingError
from training.off_policy.estimators import (
    RESAMPLES,
    Estimate,
    Ratios,
    doubly_robust,
    effective_users,
    estimate,
    estimate_all,
    importance,
    mean,
    position_weights,
    self_normalised,
)
from training.off_policy.expected_rewards import expected_rewards
from training.off_policy.rankings import Drawn, Metric, Rankings, beside_target, drawn_rankings
from training.off_policy.targets import Target

# Below it an interval rests on a handful of users and is not to be trusted.
FEWEST_EFFECTIVE_USERS = 50

IPS, SELF_NORMALISED, DOUBLY_ROBUST = "IPS", "self-normalised IPS", "doubly robust"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One estimate of the reward of a ranking: value, lower and upper; and of its difference to what was shown."""

    name: str
    value: tuple[float, float, float]
    difference: tuple[float, float, float]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """shown: the mean reward of a ranking in the log, with its interval. left_out: rankings that are not used, by the
    reason. largest_weight: before clipping. clipped: the share of rankings with a clipped weight. undescribed: items
    of these rankings that have no text, which the server had."""

    target: str
    groups: list[str]
    metric: Metric
    positions: int
    alpha: float
    rankings: int
    users: int
    shown: tuple[float, float, float]
    rows: list[Row]
    effective_users: float
    largest_weight: float
    clip: float | None
    clipped: float
    left_out: dict[str, int] = {}
    undescribed: int = 0


def replay(
    dataset: Dataset,
    target: Target,
    *,
    positions: int,
    metric: Metric,
    window_us: int,
    clip: float | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> Result:
    """Raises TrainingError for a log that has no exposures, none that exploration drew, or no texts."""
    drawn = explored(dataset)
    exposures = dataset.exposures
    assert exposures is not None
    shown = np.unique(exposures.item)
    undescribed = int((~dataset.catalogue.vectors[shown].any(axis=1)).sum())
    if undescribed == len(shown):
        raise TrainingError(
            f"{dataset.name} has no text of any of the {len(shown):,} items that were shown: give them with --items, "
            "or the server's data folder as --events"
        )
    scores = target.scores(dataset, exposures, drawn.rows)
    logged = beside_target(dataset, drawn, scores, positions=positions, metric=metric, window_us=window_us)
    weights = position_weights(logged.target, logged.logged)
    limited = weights if clip is None else weights.clip(max=clip)
    found = estimates(logged, limited, alpha=alpha, seed=seed)
    groups = np.unique(exposures.group[drawn.rows])
    return Result(
        target=target.name,
        groups=sorted(exposures.groups[group] for group in groups),
        metric=metric,
        positions=positions,
        alpha=alpha,
        rankings=len(drawn.rows),
        users=len(np.unique(logged.users)),
        shown=_triple(estimate(mean(logged.rewards.sum(axis=1)), logged.users, seed=seed, alpha=alpha)),
        rows=found,
        effective_users=effective_users(limited, logged.users),
        largest_weight=float(weights.max()),
        clip=clip,
        clipped=0.0 if clip is None else float((weights > clip).any(axis=1).mean()),
        left_out=drawn.left_out,
        undescribed=undescribed,
    )


def explored(dataset: Dataset) -> Drawn:
    """Raises TrainingError where there is nothing to learn from."""
    exposures = dataset.exposures
    if exposures is None or not len(exposures):
        raise TrainingError(
            f"{dataset.name} has no exposures: rankings are recorded within experiments, and an export has them with "
            "exposures_after=0"
        )
    drawn = drawn_rankings(exposures)
    if not len(drawn.rows):
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in drawn.left_out.items())
        raise TrainingError(
            f"{dataset.name} has {len(exposures):,} exposures and no exploration ({reasons}): each item was shown at "
            'its position with probability 1, which says nothing about another order; set "explore" in the '
            "experiment and collect rankings first"
        )
    return drawn


def estimates(
    logged: Rankings, weights: np.ndarray, *, alpha: float, seed: int, resamples: int = RESAMPLES
) -> list[Row]:
    """weights: float64 [n, k], as `position_weights` gives them or smaller."""
    expected = expected_rewards(logged)
    shown = mean(logged.rewards.sum(axis=1))
    kinds: dict[str, Ratios] = {
        IPS: importance(logged.rewards, weights),
        SELF_NORMALISED: self_normalised(logged.rewards, weights),
        DOUBLY_ROBUST: doubly_robust(logged.rewards, weights, expected.shown, expected.target),
    }
    wanted = [*kinds.values(), *(one.minus(shown) for one in kinds.values())]
    found = estimate_all(wanted, logged.users, seed=seed, alpha=alpha, resamples=resamples)
    return [
        Row(name=name, value=_triple(value), difference=_triple(difference))
        for name, value, difference in zip(kinds, found[: len(kinds)], found[len(kinds) :], strict=True)
    ]


def as_text(found: Result) -> str:
    """A table, and what limits it."""
    what = "saves and shares" if found.metric == "engaged" else "weighted engagement"
    level = f"[{1 - found.alpha:.0%}]"
    lines = [
        f"{found.rankings:,} rankings of {found.users:,} users, drawn in: {'; '.join(found.groups)}",
        *(f"left out: {number:,} rankings {reason}" for reason, number in found.left_out.items()),
        f"{what} a ranking, of its first {found.positions} positions",
        f"{'':32}{'value ' + level:28}difference to what was shown",
        f"{'as shown':32}{_interval(found.shown, '.4f')}",
    ]
    for row in found.rows:
        name = f"{found.target}: {row.name}"
        lines.append(f"{name:32}{_interval(row.value, '.4f'):28}{_interval(row.difference, '+.4f')}")
    effective = f"effective users {found.effective_users:,.0f} of {found.users:,}"
    if found.clip is None:
        clipping = f"largest weight {found.largest_weight:,.1f}, no weight is clipped"
    else:
        clipping = (
            f"weights above {found.clip:g} are clipped in {found.clipped:.1%} of the rankings, which makes IPS and "
            f"doubly robust too small there; the largest was {found.largest_weight:,.1f}"
        )
    lines.append(f"{effective}; {clipping}")
    if found.undescribed:
        lines.append(
            f"note: {found.undescribed:,} items have no text here, so the other ranking is not what the server would "
            "show"
        )
    if found.effective_users < FEWEST_EFFECTIVE_USERS:
        lines.append(
            f"note: below {FEWEST_EFFECTIVE_USERS} effective users no interval is to be trusted: judge fewer "
            "positions, explore more, or collect longer"
        )
    lines.append("The other ranking is judged by the order it gives to what exploration could show, nothing else.")
    return "\n".join(lines)


def _triple(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.interval.lower, found.interval.upper


def _interval(found: tuple[float, float, float], style: str) -> str:
    value, lower, upper = found
    return "nothing of it was shown" if np.isnan(value) else f"{value:{style}} [{lower:{style}}, {upper:{style}}]"
