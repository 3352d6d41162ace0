"""The README's figures are generated between its marks, and the page stays short."""

import re

import pytest

from bench import history, readme
from bench.report import shown_runs
from bench.suites import NAMES, OPT_IN, load_suite, module_of
from bench.targets import load_targets
from tests.bench.conftest import TINY

WORDS = 500


def measured(runs):
    suites = [load_suite(module_of(name)) for name in (*NAMES, *OPT_IN)]
    return [(suite, run) for suite in suites for run in shown_runs(runs, suite)[:1]]


def test_only_the_text_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# a\n<!-- figures: written -->\nold\n<!-- /figures -->\nend\n")
    for text in ("| 1 |", "| 2 |"):
        readme.write_figures(text, page)
        assert page.read_text() == f"# a\n<!-- figures: written -->\n\n{text}\n\n<!-- /figures -->\nend\n"


def test_the_figures_are_those_of_the_history():
    figures = readme.figures(measured(history.read(history.HISTORY_FILE)), load_targets())
    assert figures in readme.README.read_text(encoding="utf-8"), "run `python -m bench report`"


@pytest.mark.parametrize("name", readme.TABLES)
def test_a_table_of_the_documentation_is_that_of_the_history(name):
    table = readme.table_of(name, measured(history.read(history.HISTORY_FILE)))
    assert table in readme.DEPLOYMENT.read_text(encoding="utf-8"), "run `python -m bench report`"
    assert len(re.findall(r"^\| [\d,]+ \|", table, re.MULTILINE)) >= 3


def test_every_key_figure_is_a_metric_and_has_a_row():
    names = {metric.name for name in NAMES for metric in load_suite(module_of(name)).metrics}
    assert names >= {name for name, _ in readme.KEY_FIGURES}
    text = readme.README.read_text(encoding="utf-8")
    for _, label in readme.KEY_FIGURES:
        assert f"| {label} | " in text


def test_a_missed_target_is_marked(tiny, tiny_run):
    targets = load_targets(tiny.targets(size_mib=(19, "size")))
    text = readme.figures(
        [(load_suite(TINY), tiny_run)], targets, [("tiny.size_mib", "a size"), ("tiny.time_ms", "a time")]
    )
    assert "| a size | 20.00 MiB | at most 19, **missed** |" in text
    assert "| a time | 30.00 ms | – |" in text
    assert "0 of 1 targets are reached." in text


def test_the_readme_is_short():
    text = readme.README.read_text(encoding="utf-8").partition("<details>")[0]
    assert len(re.findall(r"\S*\w\S*", text)) <= WORDS


def test_no_figure_stands_outside_the_marks():
    """Percentages, milliseconds, throughputs: they go stale where nothing generates them."""
    text = re.sub(readme.block("figures"), "", readme.README.read_text(encoding="utf-8"))
    assert not re.findall(r"\d[\d.,]* ?(?:%|ms\b|requests/s|MB\b)", text)
