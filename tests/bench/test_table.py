"""Rows of target against measured: their figures, their verdicts and their text."""

import pytest

from bench.case_result import CaseResult
from bench.suite import Metric, difference, ratio, raw, share
from bench.table import HEADER, aligned, cells, figure, rows_of
from bench.targets import load_targets
from tests.bench.tiny_suite import SUITE


@pytest.fixture
def rows(tiny, tiny_run):
    targets = load_targets(tiny.targets(size_mib=(19, "size"), dead_mib=(1, "size"), rootless_mib=(1, "size")))
    return {row.metric.name: row for row in rows_of(SUITE, tiny_run.suites["tiny"], targets)}


def test_a_row_has_median_range_and_count_of_the_same_samples(rows):
    assert cells(rows["tiny.time_ms"]) == ("tiny.time_ms", "ms", "-", "30.00 (10.00-50.00)", "5", "-")
    assert cells(rows["tiny.size_mib"])[2:] == ("<= 19", "20.00", "1", "missed")


def test_a_failed_engine_is_a_row_that_says_so(rows):
    assert cells(rows["tiny.dead_mib"])[3:] == ("-", "-", "failed: its process ended with status 3")
    assert rows["tiny.dead_mib"].missed


def test_a_case_that_is_not_measured_says_why_and_misses_no_target(rows):
    assert rows["tiny.rootless_mib"].verdict == "not measured: needs root"
    assert not rows["tiny.rootless_mib"].missed


def test_a_case_that_did_not_run_is_a_row_too():
    assert {row.verdict for row in rows_of(SUITE, {}, ())} == {"not measured: did not run"}


def test_columns_line_up(rows):
    lines = aligned(rows.values()).splitlines()
    assert len(lines) == len(rows) + 1
    for column in ("unit", "measured"):
        at = lines[0].index(column)
        assert all(line[at - 1] == " " != line[at] for line in lines)
    assert lines[0].split()[0] == HEADER[0]


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (128.64, "128.6"), (3.456, "3.46"), (0.5678, "0.5678")]
)
def test_figures_have_about_four_significant_digits(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(("statistic", "value"), [("median", 3), ("min", 1), ("max", 100), ("p95", 81), ("p99", 96.2)])
def test_statistics(statistic, value):
    metric = Metric("a", "b", "ms", "higher", raw("x"), statistic)
    assert metric.measured([1, 2, 100, 3, 5]) == pytest.approx(value)


def test_two_series_are_compared_round_by_round_and_an_incomplete_round_is_dropped():
    series = {"a": [2.0, 9.0, 1.0], "b": [1.0, 3.0]}
    assert ratio("a", "b")(series) == [2.0, 3.0]
    assert difference("a", "b")(series) == [1.0, 6.0]
    assert ratio("a", "absent")(series) == []


def test_a_share_of_zero_has_no_value():
    assert share("in", "all")({"in": [3], "all": [4]}) == [0.75]
    assert share("in", "all")({"all": [4]}) == [0.0]
    assert share("in", "all")({}) == []


def test_values_of_a_failed_case_meet_no_target(tiny):
    result = {"breaks": CaseResult(series={"broken_mib": [1.0]}, failed="RuntimeError: no")}
    targets = load_targets(tiny.targets(broken_mib=(5, "size")))
    row = next(row for row in rows_of(SUITE, result, targets) if row.metric.name == "tiny.broken_mib")
    assert row.missed
    assert row.verdict == "failed: RuntimeError: no"
