import json

import pytest

from bench.__main__ import main
from bench.table import missed_gates, rows_of
from bench.targets import load_targets
from tests.bench.tiny_suite import SUITE


def missed(tiny, tiny_run, **limits):
    rows = rows_of(SUITE, tiny_run.suites["tiny"], load_targets(tiny.targets(**limits)))
    return [row.metric.name for row in missed_gates(rows)]


def test_check_exits_with_1_when_a_target_is_missed_and_names_it(tiny, capfd):
    assert tiny.run("--check", "--no-history", targets=tiny.targets(size_mib=(19.9, "size"))) == 1
    assert "missed: tiny.size_mib" in capfd.readouterr().err


def test_check_exits_with_0_when_only_a_time_is_missed(tiny, capfd):
    before = tiny.history.read_bytes() if tiny.history.exists() else b""
    met = tiny.targets(size_mib=(20, "size"), ratio=(2, "ratio"), time_ms=(0.001, "time"))
    assert tiny.run("--check", "--json", "--no-history", targets=met) == 0
    rows = {row["metric"]: row for row in json.loads(capfd.readouterr().out)["rows"]}
    assert rows["tiny.size_mib"]["verdict"] == "ok"
    assert rows["tiny.time_ms"] | {"measured": 30, "min": 10, "max": 50, "n": 5} == rows["tiny.time_ms"]
    assert rows["tiny.time_ms"]["verdict"] == "missed"
    assert rows["tiny.dead_mib"]["verdict"].startswith("failed: ")
    assert (tiny.history.read_bytes() if tiny.history.exists() else b"") == before


@pytest.mark.parametrize(
    ("metric", "limit", "kind", "fails"),
    [
        ("size_mib", 20, "size", False),
        ("size_mib", 19.99, "size", True),
        ("ratio", 2, "ratio", False),
        ("ratio", 1.99, "ratio", True),
        ("time_ms", 1, "time", False),
        ("broken_mib", 1000, "size", True),  # measured well below, then broke
        ("dead_mib", 1000, "size", True),
        ("late_mib", 1000, "size", True),
        ("rootless_mib", 1, "size", False),
    ],
)
def test_which_targets_fail_a_check(tiny, tiny_run, metric, limit, kind, fails):
    assert missed(tiny, tiny_run, **{metric: (limit, kind)}) == ([f"tiny.{metric}"] if fails else [])


def test_an_unknown_suite_is_refused_by_name(capsys):
    with pytest.raises(SystemExit) as refusal:
        main(["embedd"])
    assert refusal.value.code == 2
    assert "embedd" in capsys.readouterr().err
