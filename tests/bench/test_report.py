import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from bench import charts, history, report
from bench.case_result import CaseResult
from bench.indexes.engines import INDEXES
from bench.peer_charts import OTHER_COLOURS, latency_of_peers
from bench.peers.compare import LENGTHS, SPEED, comparison, fastest, instead_case, passes_gate, ratio_to_fastest
from bench.peers.engines import SAME_MODEL
from bench.suites import embed, memory
from bench.targets import load_targets
from tests.bench.conftest import TINY
from tests.bench.independent_suite import SUITE as INDEPENDENT
from tests.bench.quick_suite import SUITE as QUICK


@pytest.fixture
def drawn(tiny, tiny_run, tmp_path):
    targets = load_targets(tiny.targets(size_mib=(19, "size")))
    path = tmp_path / "REPORT.md"
    assert report.draw(history.read(tiny.history), targets, path, [TINY]) == [path]
    return path.read_text()


def test_the_report_begins_with_its_limits(drawn):
    headings = [line for line in drawn.splitlines() if line.startswith("#")]
    assert headings[1] == "## Limits of these figures"
    assert "author's bias" in drawn
    assert headings.index("## Limits of these figures") < headings.index("## tiny: what a suite may meet")


def test_every_metric_is_a_row_with_its_verdict(drawn, tiny_run):
    assert "| tiny.time_ms | ms | - | 30.00 (10.00-50.00) | 5 | - |" in drawn
    assert "| tiny.size_mib | MiB | <= 19 | 20.00 | 1 | **missed** |" in drawn
    assert "failed: its process ended with status 3" in drawn
    assert "not measured: needs root" in drawn
    assert f"`{tiny_run.revision}`" in drawn
    assert tiny_run.machine["cpu"] in drawn


def test_the_summary_counts_targets_and_names_the_missed(drawn):
    assert "0 of 1 targets are reached. Missed: `tiny.size_mib`." in drawn


def test_a_suite_without_runs_is_said_to_be_missing(tiny_run, tmp_path):
    path = tmp_path / "REPORT.md"
    report.draw([tiny_run], (), path)
    assert path.read_text().count("Not measured yet.") == len(report.MODULES)


def test_full_runs_are_reported_before_quick_ones(tiny_run):
    full, quick = replace(tiny_run, quick=False), replace(tiny_run, quick=True)
    assert report.latest([full, quick], "tiny") is full
    assert report.latest([quick], "tiny") is quick
    assert report.latest([quick], "embed") is None


def on(run, cpu, suite, **series):
    cases = {case: CaseResult({"one": [value]}) for case, value in series.items()}
    return replace(run, machine=run.machine | {"cpu": cpu}, suites={suite.name: cases})


def test_the_last_of_each_case_of_an_independent_suite_is_shown(tiny_run):
    first, second = on(tiny_run, "X", INDEPENDENT, a=1.0, b=1.0), on(tiny_run, "X", INDEPENDENT, b=2.0)
    pinned = replace(
        second, at="2099", load_average=first.load_average - 0.1, machine=second.machine | {"cores": 0, "cpu": "Y"}
    )
    (shown,) = report.shown_runs([first, pinned], INDEPENDENT)
    assert shown.at == f"{first.at} to 2099"
    assert (shown.load_average, shown.machine) == (first.load_average, first.machine | {"cpu": "X and Y"})
    cases = shown.suites["independent"]
    assert {name: case.series["one"] for name, case in cases.items()} == {"a": [1.0], "b": [2.0]}


def test_a_suite_is_shown_for_every_kind_of_cpu_where_it_says_so(tiny_run, tmp_path):
    runs = [on(tiny_run, cpu, QUICK, a=value) for cpu, value in (("X", 1.0), ("Y", 2.0), ("X", 3.0))]
    assert [run.machine["cpu"] for run in report.shown_runs(runs, QUICK)] == ["X"]
    shown = report.shown_runs(runs, replace(QUICK, per_cpu=True))
    assert [(run.machine["cpu"], run.suites["quick"]["a"].series["one"]) for run in shown] == [
        ("X", [3.0]),
        ("Y", [2.0]),
    ]


def test_other_models_are_a_table_of_their_own_with_their_quality():
    series = {"stsb.wordllama": [0.8], **{f"round_ms.wordllama.{tokens}": [1.0, 2.0, 3.0] for tokens in LENGTHS}}
    results = {instead_case("wordllama"): CaseResult(series)}
    question, others = comparison(results).split("\n\n")
    assert question == "**What would another model give instead?**"
    (row,) = [line for line in others.splitlines() if line.startswith("| WordLlama")]
    assert row.startswith("| WordLlama | table | 0.8000 | 2.00 (1.00–3.00) |")


def speed_result(**engines):
    """Cosines (mean, min) and one time for every length of each engine."""
    series = {f"roofline_ms.{tokens}": [1.0] for tokens in LENGTHS}
    for name, (mean, least, ms) in engines.items():
        series[f"cosine.{name}"] = [least, 2 * mean - least]
        series |= {f"round_ms.{name}.{tokens}": [ms, ms] for tokens in LENGTHS}
    return CaseResult(series)


def test_our_time_is_held_against_the_fastest_engine_that_passes_our_quality_gate(tmp_path):
    engines = {"ours_engine": (0.9988, 0.996, 6.0), "openvino_int8": (0.9974, 0.978, 3.0)}
    result = speed_result(**engines, openvino_int8_weights=(0.9994, 0.997, 8.0), onnxruntime_int8=(0.9995, 0.998, 9.0))
    assert [passes_gate(result.series, name) for name in engines] == [True, False]
    assert fastest(result.series, 128) == "openvino_int8_weights"
    assert ratio_to_fastest(128)(result.series) == [0.75, 0.75]
    rows = comparison({SPEED: result}).splitlines()
    assert "| *OpenVINO, static activations* | *int8* | *0.9974 / 0.9780* | *misses* | *3.00" in "\n".join(rows)
    latency_of_peers({SPEED: result}, tmp_path / "latency.svg")
    assert words(tmp_path / "latency.svg").count("misses the quality gate") == 1


def test_without_an_engine_that_passes_there_is_no_ratio():
    result = speed_result(ours_engine=(0.9988, 0.996, 6.0), ctranslate2_int8=(0.9967, 0.9875, 8.0))
    assert ratio_to_fastest(16)(result.series) == []


def test_every_engine_has_a_colour_in_the_charts():
    indexes = [engine for engine in INDEXES if not engine.ours]
    engines = [engine for engine in SAME_MODEL if engine.model != "bundle"]
    assert len(OTHER_COLOURS) >= max(len(indexes), len(engines))


def test_an_empty_history_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        report.draw([], (), tmp_path / "REPORT.md")


def test_a_damaged_line_is_refused_with_its_number(tiny_run, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(tiny_run.to_json() + '\n{"at":"2026"}\n')
    with pytest.raises(ValueError, match=r"history\.jsonl:2"):
        history.read(path)


def embed_result(scale):
    return CaseResult(
        {
            f"{name}.{n}": [scale * n, 2 * scale * n]
            for name in ("text_ms", "http_ms", "roofline_ms")
            for n in embed.LENGTHS
        }
    )


def memory_result(peak):
    series = {f"{name}.{step}": [50.0] for name in memory.READINGS for step in memory.STEPS}
    return CaseResult(series | {"peak_rss_mib.load": [peak], "flat_anonymous_mib": [50.0, 51.0, 51.0]})


def words(path):
    return " ".join(text for element in ElementTree.parse(path).iter() if (text := (element.text or "").strip()))


def test_the_latency_chart_shows_ours_against_the_roofline(tmp_path):
    path = tmp_path / "latency.svg"
    charts.latency_by_length(embed_result(0.1), path)
    shown = words(path)
    assert "fp32 roofline" in shown
    assert "over HTTP, p50 to p95" in shown
    assert all(str(n) in shown for n in embed.LENGTHS)


def test_the_memory_chart_has_the_line_of_the_machine(tmp_path):
    charts.memory_staircase(memory_result(90.0), tmp_path / "memory.svg")
    assert "256 MiB machine" in words(tmp_path / "memory.svg")


def test_charts_are_reproducible_from_the_samples(tmp_path):
    for name, peak in (("a", 90.0), ("b", 90.0), ("c", 120.0)):
        charts.memory_staircase(memory_result(peak), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_the_trend_names_its_revisions(tmp_path):
    figures = [dict.fromkeys(charts.TREND_METRICS, 1.0), {}]
    charts.trend(["0123456789ab", "fedcba987654"], figures, tmp_path / "trend.svg")
    assert "0123456" in words(tmp_path / "trend.svg")
    assert "fedcba9" in words(tmp_path / "trend.svg")
