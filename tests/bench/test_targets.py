import pytest

from bench.suite import Metric, raw
from bench.suites import MODULES, load_suite
from bench.targets import load_targets, parse_target

GOOD = {"metric": "a.b", "limit": 1, "kind": "size", "source": "own: because"}
METRICS = {metric.name: metric for module in MODULES for metric in load_suite(module).metrics}


@pytest.mark.parametrize("target", load_targets(), ids=lambda target: f"{target.metric}-{target.limit:g}")
def test_every_target_names_a_metric_of_a_suite(target):
    assert target.metric in METRICS
    assert target.source.startswith(("requirement: ", "own: "))


@pytest.mark.parametrize("target", load_targets(), ids=lambda target: f"{target.metric}-{target.limit:g}")
def test_targets_in_seconds_never_fail_the_check(target):
    assert target.gates == (METRICS[target.metric].unit not in ("ms", "s", "1/s", "GFLOP/s"))


def test_metric_names_are_unique_and_name_their_suite():
    names = [metric.name for module in MODULES for metric in load_suite(module).metrics]
    assert len(names) == len(set(names))
    for module in MODULES:
        suite = load_suite(module)
        assert all(metric.name.startswith(f"{suite.name}.") for metric in suite.metrics)
        cases, read = {case.name for case in suite.cases}, {metric.case for metric in suite.metrics}
        assert read == cases or (suite.table is not None and read < cases)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "speed"}, "kind"),
        ({"limit": "100"}, "limit"),
        ({"limit": True}, "limit"),
        ({"metric": " "}, "metric"),
        ({"source": ""}, "source"),
        ({"note": "x"}, "fields"),
    ],
)
def test_a_bad_target_is_refused_with_the_field_named(change, complaint):
    assert parse_target(GOOD).limit == 1.0
    with pytest.raises(ValueError, match=complaint):
        parse_target(GOOD | change)


def test_a_missing_source_is_refused():
    with pytest.raises(ValueError, match="source"):
        parse_target({name: value for name, value in GOOD.items() if name != "source"})


def test_the_same_limit_twice_is_refused(tmp_path):
    entry = "\n".join(f"{name} = {value!r}" for name, value in GOOD.items())
    file = tmp_path / "targets.toml"
    file.write_text(f"[[target]]\n{entry}\n[[target]]\n{entry}\n")
    with pytest.raises(ValueError, match="twice"):
        load_targets(file)


@pytest.mark.parametrize(("worse", "kept", "missed"), [("higher", (0, 1), 1.001), ("lower", (2, 1), 0.999)])
def test_a_limit_includes_itself(worse, kept, missed):
    metric = Metric("a.b", "a case", "MiB", worse, raw("b"))
    assert all(metric.keeps(1.0, value) for value in kept)
    assert not metric.keeps(1.0, missed)
