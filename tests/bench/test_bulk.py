"""The stream of a catalogue, small: what is counted is what the server says."""

import pytest

from bench.runner import default_conditions, run_case
from bench.suites.bulk import LOADS, SUITE


@pytest.mark.slow
@pytest.mark.parametrize("case", [load.case for load in LOADS])
def test_every_metric_is_measured(bundle_path, case):
    conditions = default_conditions(bundle_path.parent, seed=1, mixed_requests=300, quick=True)
    result = run_case("bench.suites.bulk", SUITE.case(case), conditions)
    if result.not_measured:
        pytest.skip(result.not_measured)
    assert result.failed is None
    assert [metric.name for metric in SUITE.metrics if metric.case == case and not metric.values(result.series)] == []
    assert result.series["stored"] == result.series["sent"] == [1500]
    assert result.series["succeeded"] == result.series["requests"]
