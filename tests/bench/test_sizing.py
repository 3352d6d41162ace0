"""The sizing table, small: every column is measured, and a size that was not is left out."""

import pytest

from bench.case_result import CaseResult
from bench.suites.sizing import SIZES, table


@pytest.mark.slow
def test_every_metric_and_column_is_measured(quick_case):
    size = SIZES[0]
    result = quick_case("bench.suites.sizing", size.case)
    assert result.series["succeeded"] == result.series["requests"]
    assert result.notes["held_as"] == "float32"
    assert result.series["anonymous_mib"][0] > 20
    assert result.series["disk_mb"][0] > 0.5
    head, _, row = table({size.case: result, SIZES[1].case: CaseResult(failed="it broke")}).splitlines()
    assert row.count("|") == head.count("|")
    assert row.startswith(f"| {size.items:,} | {size.users:,} | 200 | float32 | ")
