"""Which arm of an experiment a user is in: computed from the name and the user id alone, so that every machine and
every start gives the same.

FNV-1a over UTF-8, twice, as in version 2 of GrowthBook's hashing (https://docs.growthbook.io/lib/build-your-own). The
namespace, the coverage and the arm each have a salt of their own: with one for all, the users that a higher coverage
adds would all be in the same arm.
"""

from collections.abc import Sequence

BUCKETS = 10_000  # the hash has four decimal digits

_OFFSET, _PRIME = 0x811C9DC5, 0x01000193


def fnv1a(text: str) -> int:
    """The 32-bit FNV-1a hash of the text's UTF-8 bytes (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    value = _OFFSET
    for byte in text.encode():
        value = (value ^ byte) * _PRIME & 0xFFFFFFFF
    return value


def hash_unit(seed: str, id: str) -> float:
    """A number in [0, 1) with four decimal digits, uniform over ids: `hash(seed, id, 2)` of GrowthBook."""
    return fnv1a(str(fnv1a(seed + id))) % BUCKETS / BUCKETS


def in_namespace(namespace: str, start: float, end: float, user_id: str) -> bool:
    """Experiments with disjoint ranges [start, end) of one namespace share no user."""
    return start <= hash_unit(f"namespace:{namespace}", user_id) < end


def covered(experiment: str, coverage: float, user_id: str) -> bool:
    """Whether a user takes part; those of a lower coverage also take part in a higher one."""
    return hash_unit(f"coverage:{experiment}", user_id) < coverage


def arm_of(experiment: str, weights: Sequence[float], user_id: str) -> int:
    """The position of the user's arm. weights: positive, in any unit."""
    point = hash_unit(f"arm:{experiment}", user_id) * sum(weights)
    for arm, weight in enumerate(weights[:-1]):
        if point < weight:
            return arm
        point -= weight
    return len(weights) - 1
