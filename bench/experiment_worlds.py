"""Simulated experiments with a known truth, and what each method says about them at every look. Arrays: worlds [w] by
looks [l]."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.experiments.sequences import TUNED_FOR_USERS, concentration, normal_mixture_rho

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

GROWTHBOOK_TUNED_FOR = 5_000  # users
_WORLDS_AT_ONCE = 50
Z_TWO_SIDED, _Z_POWER = 1.959964, 0.841621  # 5 %, and 80 % power


@dataclass(frozen=True)
class Looks:
    """users [l]: of both arms. The rest [w, l]: users of the treatment, and those who engaged in each arm."""

    users: Counts
    treated: Counts
    control_yes: Counts
    treatment_yes: Counts


def worlds(n: int, users: Counts, rate: float, lift: float, random: np.random.Generator) -> Iterator[Looks]:
    """n experiments with equal arms, some at a time, looked at after each number of `users` (rising)."""
    steps = np.diff(users, prepend=0)
    for start in range(0, n, _WORLDS_AT_ONCE):
        shape = (min(_WORLDS_AT_ONCE, n - start), len(users))
        treated = random.binomial(steps, 0.5, size=shape)
        yes = random.binomial(treated, rate * (1 + lift))
        others = random.binomial(steps - treated, rate)
        yield Looks(users, *(np.cumsum(counts, axis=1) for counts in (treated, others, yes)))


def log_spaced(most: int) -> Counts:
    """At most 400 different whole numbers from 100 to `most`."""
    return np.unique(np.geomspace(100, most, 400).round().astype(np.int64))


def mixture_evidence(seen: Looks, lift: float, alpha: float) -> Floats:
    """log of the beta mixture's evidence against a lift at equal arms, as `sequences.log_evidence`, [w, l]."""
    share = (1 + lift) / (2 + lift)
    a = b = concentration(alpha) / 2
    ours, theirs = seen.treatment_yes, seen.control_yes
    most = int((ours + theirs).max()) + 1
    rising_a, rising_b, rising = (_log_rising(start, most) for start in (a, b, a + b))
    mixture = rising_a[ours] + rising_b[theirs] - rising[ours + theirs]
    evidence: Floats = mixture - ours * math.log(share) - theirs * math.log1p(-share)
    return evidence


def ratio_evidence(treated: Counts, users: Counts) -> Floats:
    """log of the sample ratio's Bayes factor at equal weights, [w, l]."""
    most = int(users.max()) + 1
    half, whole = _log_rising(5_000.0, most), _log_rising(10_000.0, most)
    evidence: Floats = half[treated] + half[users - treated] - whole[users] + users * math.log(2)
    return evidence


def relative_z(seen: Looks, lift: float, *, smoothed: bool) -> Floats:
    """(treatment's rate − (1 + lift) · the control's) over its standard error, [w, l]; 0 where it has none. smoothed:
    with a yes and a no more in each arm, as `sequences.Mean.variance`; else as the plain formula has it."""
    parts = []
    for yes, users in ((seen.treatment_yes, seen.treated), (seen.control_yes, seen.users - seen.treated)):
        found = np.maximum(users, 1)
        rate = yes / found
        share = (yes + 1) / (users + 2) if smoothed else rate
        parts.append((rate, share * (1 - share) / found))
    (ours, our_error), (theirs, their_error) = parts
    error = np.sqrt(our_error + (1 + lift) ** 2 * their_error)
    found_z = np.zeros_like(error)
    np.divide(ours - (1 + lift) * theirs, error, out=found_z, where=error > 0)
    return found_z


def normal_limit(users: Counts, alpha: float) -> Floats:
    """Half the width of the normal mixture in standard errors, [l]: as `sequences.standard_errors`."""
    rho = normal_mixture_rho(TUNED_FOR_USERS, alpha)
    limit: Floats = np.sqrt((users + rho) / users * np.log((users + rho) / (rho * alpha * alpha)))
    return limit


def growthbook_limit(users: Counts, alpha: float) -> Floats:
    """Half the width of GrowthBook's sequential interval in standard errors, [l] (Waudby-Smith et al., arXiv
    2103.06476, with the tuning that its documentation states)."""
    squared = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / GROWTHBOOK_TUNED_FOR
    scaled = users * squared
    spread = 2 * (scaled + 1) / (users * squared) * np.log(np.sqrt(scaled + 1) / alpha)
    limit: Floats = np.sqrt(spread)
    return limit


def fixed_horizon(rate: float, lift: float) -> int:
    """Users of both arms for a z-test of 5 % with 80 % power."""
    other = rate * (1 + lift)
    variance = rate * (1 - rate) + other * (1 - other)
    return 2 * math.ceil((Z_TWO_SIDED + _Z_POWER) ** 2 * variance / (other - rate) ** 2)


def first_look(crossed: NDArray[np.bool_]) -> Counts:
    """The position of the first look that crossed, [w]; −1 where none did."""
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1), -1)


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % interval of a share of `whole` independent worlds."""
    z = 1.959964
    share, spread = part / whole, z * z / whole
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / whole + spread / (4 * whole)) / (1 + spread)
    return middle - half, middle + half


def _log_rising(start: float, most: int) -> Floats:
    """log of start · (start + 1) · … , n factors, for n from 0 to `most`."""
    return np.concatenate([[0.0], np.cumsum(np.log(start + np.arange(most)))])
