"""A quick run of the cases about logged rankings fills every metric that they declare."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replay", "impressions"])
def test_every_metric_of_a_case_is_measured(quick_case, name):
    result = quick_case("bench.suites.experiments", name)
    if name == "replay":
        for estimate in ("ips", "self-normalised_ips", "doubly_robust"):
            assert result.series[f"{estimate}.coverage.0.3"][0] > 0.7  # of 20 logs
            assert abs(result.series[f"{estimate}.bias.0.3"][0]) < 0.2
