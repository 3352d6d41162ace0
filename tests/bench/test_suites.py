"""The real suites against the real server, a few rounds each: that they measure, not what."""

import pytest

from bench.runner import default_conditions, run_suites
from bench.suites import load_suite, module_of
from bench.table import rows_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embed", "start"])
def test_every_metric_of_a_suite_is_measured(name, bundle_path):
    conditions = default_conditions(bundle_path.parent, quick=True)
    run = run_suites([module_of(name)], conditions, progress=print)
    rows = rows_of(load_suite(module_of(name)), run.suites[name], ())
    assert rows
    assert [row.verdict for row in rows if row.measured is None and not row.verdict.startswith("not measured")] == []
