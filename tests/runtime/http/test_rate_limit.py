"""Token buckets, against the sentence that defines them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.http.rate_limit import TokenBuckets

pauses = st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60)


@given(pauses, st.floats(0.1, 50), st.integers(1, 10))
def test_never_more_than_the_burst_and_the_rate_allow(pauses, per_s, burst):
    """In any window, at most burst + per_s · seconds; and a client that waits for Retry-After gets in."""
    buckets, now, taken = TokenBuckets(per_s=per_s, burst=burst), 0.0, []
    for pause in pauses:
        now += pause
        wait_s = buckets.take("a", now)
        assert wait_s >= 0
        if wait_s:
            now += wait_s + 1e-6
            assert buckets.take("a", now) == 0.0
        taken.append(now)
        for first, start in enumerate(taken):
            assert len(taken) - first <= burst + per_s * (now - start) + 1e-3


def test_clients_do_not_share():
    buckets = TokenBuckets(per_s=1, burst=1)
    assert [buckets.take(client, 0.0) for client in "aab"] == [0.0, 1.0, 0.0]


def test_a_refusal_costs_nothing():
    buckets = TokenBuckets(per_s=1, burst=1)
    buckets.take("a", 0.0)
    for _ in range(1000):
        assert buckets.take("a", 0.5) == pytest.approx(0.5)
    assert buckets.take("a", 1.0) == 0.0


def test_the_table_is_bounded_and_evicts_the_least_recent_client():
    buckets = TokenBuckets(per_s=1, burst=1, clients=100)
    for n in range(10_000):
        buckets.take(f"address {n}", float(n) / 1e6)
        buckets.take("busy", float(n) / 1e6)
    assert len(buckets) == 100
    assert buckets.take("busy", 0.01) > 0


def test_a_clock_that_goes_back_gives_nothing():
    buckets = TokenBuckets(per_s=1, burst=1)
    buckets.take("a", 10.0)
    assert buckets.take("a", 5.0) == 1.0
