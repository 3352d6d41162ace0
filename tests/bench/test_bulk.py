"""The stream of a catalogue, small: what is counted is what the server says."""

import pytest

from bench.suites.bulk import LOADS


@pytest.mark.slow
@pytest.mark.parametrize("case", [load.case for load in LOADS])
def test_every_metric_is_measured(quick_case, case):
    result = quick_case("bench.suites.bulk", case)
    assert result.series["stored"] == result.series["sent"] == [1500]
    assert result.series["succeeded"] == result.series["requests"]
