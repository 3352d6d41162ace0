"""What is decided from counts."""

import math
from dataclasses import replace

import pytest

from runtime.experiments.decision import ArmCounts, Guardrails, Pair, Rules, compare, decide, users_needed

RULES = Rules(alpha=0.05, min_lift=0.1)


def arm(users, engaged, **more):
    return ArmCounts(**{"users": users, "closed": users, "engaged": engaged, "rankings": users, **more})


def test_an_arm_whose_lift_is_surely_above_the_least_is_promoted():
    decision = decide([arm(20_000, 2_000), arm(20_000, 2_800)], [1, 1], RULES, ratio_p=1)
    assert (decision.action, decision.arm) == ("promote", 1)
    assert decision.comparisons[0].lift == pytest.approx(0.4)
    assert decision.comparisons[0].lift_interval.lower > 0.1
    assert decision.comparisons[0].users_needed == 0


def test_a_lift_above_0_and_not_above_the_least_is_not_enough():
    arms = [arm(20_000, 2_000), arm(20_000, 2_300)]
    assert decide(arms, [1, 1], RULES, ratio_p=1).action == "continue"
    assert decide(arms, [1, 1], replace(RULES, min_lift=0.0), ratio_p=1).action == "promote"


def test_harm_stops():
    decision = decide([arm(20_000, 2_000), arm(20_000, 1_500)], [1, 1], RULES, ratio_p=1)
    assert decision.action == "stop"
    assert "harm" in decision.reason


def test_a_sample_ratio_mismatch_blocks_promotion():
    arms = [arm(20_000, 2_000), arm(20_000, 2_800)]
    decision = decide(arms, [1, 1], RULES, ratio_p=1e-6)
    assert decision.action == "continue"
    assert "p 1e-06" in decision.reason


@pytest.mark.parametrize(
    ("limits", "bad", "name"),
    [
        (Guardrails(p95_ms=500), {"slow": 2_000}, "slow_rankings"),
        (Guardrails(error_rate=0.01), {"failed": 600}, "failed_rankings"),
        (Guardrails(cold_start_ratio=0.9), {"cold_closed": 5_000, "cold_engaged": 100}, "cold_start_ratio"),
    ],
)
def test_a_violated_guardrail_blocks_promotion(limits, bad, name):
    control = arm(20_000, 2_000, cold_closed=5_000, cold_engaged=500)
    good = arm(20_000, 2_800, cold_closed=5_000, cold_engaged=500, slow=900, failed=100)
    rules = replace(RULES, guardrails=limits)
    assert decide([control, good], [1, 1], rules, ratio_p=1).action == "promote"
    decision = decide([control, replace(good, **bad)], [1, 1], rules, ratio_p=1)
    assert (decision.action, decision.reason) == ("continue", f"guardrails object: {name}")
    (rail,) = decision.comparisons[0].guardrails
    assert rail.violated
    assert rail.observed is not None


def test_nothing_is_decided_before_anybody_engaged():
    decision = decide([ArmCounts(), ArmCounts()], [1, 1], RULES, ratio_p=1)
    assert decision.action == "continue"
    (one,) = decision.comparisons
    assert (one.lift, one.users_needed) == (None, None)
    assert one.lift_interval == (-1.0, math.inf)


def test_of_several_arms_the_best_is_promoted_each_at_its_share_of_alpha():
    arms = [arm(20_000, 2_000), arm(20_000, 2_800), arm(20_000, 3_000)]
    decision = decide(arms, [1, 1, 1], RULES, ratio_p=1)
    assert (decision.action, decision.arm) == ("promote", 2)
    alone = compare(Pair(arms[0], arms[1], 0.5), RULES, 0.05)
    assert decision.comparisons[0].lift_interval.lower < alone.lift_interval.lower


def test_one_harmful_arm_of_two_does_not_stop_the_other():
    arms = [arm(20_000, 2_000), arm(20_000, 1_400), arm(20_000, 2_050)]
    assert decide(arms, [1, 1, 1], RULES, ratio_p=1).action == "continue"


def test_weighted_engagement_needs_a_hundred_users_an_arm():
    rules = Rules(metric="weighted")

    def weighted(users, mean):
        return ArmCounts(users=users, closed=users, engaged=users, total=users * mean, squares=users * mean**2 * 1.5)

    assert decide([weighted(99, 1), weighted(99, 4)], [1, 1], rules, ratio_p=1).action == "continue"
    assert decide([weighted(500, 1), weighted(500, 4)], [1, 1], rules, ratio_p=1).action == "promote"
    assert decide([weighted(500, 4), weighted(500, 1)], [1, 1], rules, ratio_p=1).action == "stop"


def test_the_users_still_needed_are_those_at_which_it_is_decided():
    control, treatment = arm(2_000, 200), arm(2_000, 260)
    rules = replace(RULES, min_lift=0.0)
    needed = users_needed(Pair(control, treatment, 0.5), rules, 0.05)
    assert needed is not None
    enough, short = 1 + 1.02 * needed / 4_000, 1 + 0.9 * needed / 4_000

    def action(factor):
        arms = [arm(round(2_000 * factor), round(engaged * factor)) for engaged in (200, 260)]
        return decide(arms, [1, 1], rules, ratio_p=1).action

    assert (action(short), action(enough)) == ("continue", "promote")


def test_equal_arms_would_never_be_decided():
    assert users_needed(Pair(arm(5_000, 500), arm(5_000, 500), 0.5), RULES, 0.05) is None
