"""The sizing table, small: every column is measured, and a size that was not is left out."""

import pytest

from bench.case_result import CaseResult
from bench.runner import default_conditions, run_case
from bench.suites.sizing import SIZES, SUITE, table


@pytest.mark.slow
def test_every_metric_and_column_is_measured(bundle_path):
    size = SIZES[0]
    conditions = default_conditions(bundle_path.parent, seed=1, mixed_requests=300, quick=True)
    result = run_case("bench.suites.sizing", SUITE.case(size.case), conditions)
    if result.not_measured:
        pytest.skip(result.not_measured)
    assert result.failed is None
    own = [metric for metric in SUITE.metrics if metric.case == size.case]
    assert [metric.name for metric in own if not metric.values(result.series)] == []
    assert result.series["succeeded"] == result.series["requests"]
    assert result.notes["held_as"] == "float32"
    assert result.series["anonymous_mib"][0] > 20
    assert result.series["disk_mb"][0] > 0.5
    head, _, row = table({size.case: result, SIZES[1].case: CaseResult(failed="it broke")}).splitlines()
    assert row.count("|") == head.count("|")
    assert row.startswith(f"| {size.items:,} | {size.users:,} | 200 | float32 | ")
