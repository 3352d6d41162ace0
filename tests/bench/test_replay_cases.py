"""A quick run of the cases about logged rankings fills every metric that they declare."""

import pytest

from bench.replay_cases import METRICS
from bench.runner import default_conditions, run_case
from bench.suites.experiments import SUITE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replay", "impressions"])
def test_every_metric_of_a_case_is_measured(bundle_path, name):
    conditions = default_conditions(bundle_path.parent, seed=1, mixed_requests=300, quick=True)
    result = run_case("bench.suites.experiments", SUITE.case(name), conditions)
    assert (result.failed, result.not_measured) == (None, None)
    for metric in METRICS:
        if metric.case == name:
            assert metric.values(result.series), metric.name
    if name == "replay":
        for estimate in ("ips", "self-normalised_ips", "doubly_robust"):
            assert result.series[f"{estimate}.coverage.0.3"][0] > 0.7  # of 20 logs
            assert abs(result.series[f"{estimate}.bias.0.3"][0]) < 0.2
