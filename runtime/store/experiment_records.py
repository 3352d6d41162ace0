"""What the store keeps of live experiments. Times are integer microseconds since 1970, UTC."""

from typing import Literal

import msgspec

ChangeKind = Literal["defined", "reweighted", "stopped", "promoted", "rolled_back"]
# deleted: with its user, and this is a late copy
MovedOutcome = Literal["stored", "duplicate", "deleted"]

MOST_BUCKETS = 512  # of an arm; at more, two become one
MOST_PERIOD_BUCKETS = 8 * MOST_BUCKETS  # of all arms of a period
EXPOSURE_ROW_BYTES = 160  # of an exposure beside its items, with its share of the indexes


class ExperimentChange(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to an experiment; its state is what all of its changes lead to. details: JSON bytes that
    the store never looks inside. sequence: set by the store."""

    experiment: str
    kind: ChangeKind
    period: int
    details: bytes
    time_us: int
    sequence: int = 0


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """A ranking that was shown to a user within an experiment.

    items: JSON bytes, [[content id, propensity], …] in the order shown, then [content id] for each that exploration
    could have shown in their place. closes_us: when the user's outcome is measured, if this is their first exposure of
    the period. bucket_us: the grain of the counts. slow: it took longer than the guardrail allows. arm_propensity: the
    probability with which the user was assigned to the arm.
    """

    ranking_id: str
    user_id: str
    experiment: str
    period: int
    arm: str
    model_version: str
    time_us: int
    items: bytes
    closes_us: int
    bucket_us: int
    slow: bool = False
    arm_propensity: float | None = None


class LoggedExposure(msgspec.Struct, frozen=True, kw_only=True):
    """An exposure as the log has it; its sequence is another than that of interactions."""

    sequence: int
    ranking_id: str
    user_id: str
    experiment: str
    period: int
    arm: str
    model_version: str
    time_us: int
    items: bytes
    arm_propensity: float | None = None  # None: recorded before it was kept


class FailedRankings(msgspec.Struct, frozen=True, kw_only=True):
    """Rankings of an arm that ended in an error."""

    experiment: str
    period: int
    arm: str
    time_us: int
    bucket_us: int
    failed: int


class ArmBucket(msgspec.Struct, frozen=True):
    """What happened in an arm within one bucket of time. users: exposed for the first time; closed and what follows:
    whose windows ended then. total, squares: Σ and Σ² of weighted engagement. cold_*: of the closed, who had few events
    at their first exposure."""

    arm: str
    start_us: int
    users: int
    closed: int
    engaged: int
    total: float
    squares: float
    cold_closed: int
    cold_engaged: int
    rankings: int
    slow: int
    failed: int


COUNTED = ArmBucket.__struct_fields__[2:]  # what is counted of an arm: the columns of its buckets in either database
