"""The real suites against the real server, a few rounds each: that they measure, not what."""

import pytest

from bench.runner import default_conditions, run_suites
from bench.suites import load_suite, module_of
from bench.suites.bulk import LOADS
from bench.table import rows_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embed", "start"])
def test_every_metric_of_a_suite_is_measured(name, bundle_path):
    conditions = default_conditions(bundle_path.parent, quick=True)
    run = run_suites([module_of(name)], conditions, progress=print)
    rows = rows_of(load_suite(module_of(name)), run.suites[name], ())
    assert rows
    assert [row.verdict for row in rows if row.measured is None and not row.verdict.startswith("not measured")] == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [load.case for load in LOADS])
def test_the_server_stores_what_a_stream_sends(quick_case, case):
    result = quick_case("bench.suites.bulk", case)
    assert result.series["stored"] == result.series["sent"] == [1500]
    assert result.series["succeeded"] == result.series["requests"]


@pytest.mark.slow
def test_logged_rankings_are_replayed(quick_case):
    result = quick_case("bench.suites.experiments", "replay")
    for estimate in ("ips", "self-normalised_ips", "doubly_robust"):
        assert result.series[f"{estimate}.coverage.0.3"][0] > 0.7  # of 20 logs
        assert abs(result.series[f"{estimate}.bias.0.3"][0]) < 0.2


@pytest.mark.slow
def test_rankings_that_were_shown_are_learned_from(quick_case):
    quick_case("bench.suites.experiments", "impressions")
