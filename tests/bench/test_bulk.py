"""The stream of a catalogue, small: what is counted is what the server says."""

import pytest

from bench.runner import default_conditions, run_case
from bench.suites.bulk import CASE, SUITE


@pytest.mark.slow
def test_every_metric_is_measured(bundle_path):
    conditions = default_conditions(bundle_path.parent, seed=1, mixed_requests=300, quick=True)
    result = run_case("bench.suites.bulk", SUITE.case(CASE), conditions)
    if result.not_measured:
        pytest.skip(result.not_measured)
    assert result.failed is None
    assert [metric.name for metric in SUITE.metrics if not metric.values(result.series)] == []
    assert result.series["stored"] == result.series["sent"] == [1500]
    assert result.series["succeeded"] == result.series["requests"]
