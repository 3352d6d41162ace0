"""The page that a person reads: its verdicts follow from the figures, it is short, and it is what results say."""

from pathlib import Path

import msgspec
import pytest

from runtime.personalization.hybrid import MET
from training.evaluation.baselines import EVERYTHING, Majority
from training.evaluation.results import Figure, Results
from training.experiments.study.records import Comparison as StudyRecord
from training.ranker import action_comparison
from training.ranker.action_comparison import Predicted
from training.ranker.comparison_results import Compared, Comparison, Comparisons
from training.ranker.recommender import Hybrid
from training.report.files import write_report
from training.report.page import page
from training.report.prediction_questions import order
from training.report.world_questions import other_worlds

ROOT = Path(__file__).parents[3]


def figure(value: float, spread: float = 0.01) -> Figure:
    return Figure(value, value - spread, value + spread)


def compared(name: str, value: float, ahead: float | None, kept: float = 0.95) -> Compared:
    """kept: R(5), and twice R(0)."""
    between = None if ahead is None else figure(ahead)
    few = {} if between is None else {"0": between, "5": between}
    return Compared(
        name=name, choice={}, fit_seconds=1.0, ndcg_10=figure(value), never_seen=figure(value / 2),
        not_the_last=figure(value), few={"0": value * kept / 2, "5": value * kept}, kept={"0": kept / 2, "5": kept},
        ahead=between, ahead_never_seen=between, ahead_not_the_last=between, ahead_few=few,
    )  # fmt: skip


def entry(name: str, ahead: float, kept: float = 0.95) -> Comparison:
    return Comparison(
        key=f"{name}, time", name=name, protocol="time", events=1, items=1, users=1, targets=10, repeats=True,
        last_share=0.25, new_share=0.5,
        rows=[
            compared("hybrid", 0.5, None, kept), compared("hybrid (prior)", 0.4, 0.1),
            compared("simple, as served", 0.3, 0.2), compared("counted", 0.5 - ahead, ahead),
            compared("popularity", 0.1, 0.4),
        ],
    )  # fmt: skip


def written(comparisons: Comparisons, actions: action_comparison.Results, folder: Path) -> str:
    return page(comparisons, actions, Results(), [], ["[details](DETAILS.md)"], folder)


NONE = action_comparison.Results()


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0.05, "is better than the best other on articles (time)."),
        (0.0, "shows no difference to the best other on articles (time)."),
        (-0.05, "is **significantly worse** than the best other on articles (time)."),
    ],
)
def test_the_verdict_follows_from_the_interval(ahead: float, words: str, tmp_path: Path) -> None:
    text = written(Comparisons(sets=[entry("articles", ahead)]), NONE, tmp_path)
    assert words in text.splitlines()[next(n for n, line in enumerate(text.splitlines()) if line.startswith("1. "))]
    assert f"{0.5 - ahead:.3f} counted" in text  # the best of the others, not one of what is served
    assert (tmp_path / "ranker.svg").read_text().startswith("<?xml")


def test_many_places_are_counted_and_the_worse_are_named(tmp_path: Path) -> None:
    sets = [entry(name, 0.05) for name in "abc"] + [entry(name, -0.05) for name in "def"]
    text = written(Comparisons(sets=sets), NONE, tmp_path)
    assert (
        "is better than the best other on 3 of 6, and is **significantly worse** on d (time), e (time) and f (time)."
        in text
    )


def test_worse_is_said_of_the_ranker_that_is_worse(tmp_path: Path) -> None:
    one = entry("a", -0.05)
    one.rows.append(compared("hybrid + sequence", 0.6, -0.1))
    better = figure(0.05)
    one.rows[3:4] = [
        msgspec.structs.replace(
            one.rows[3], second_ahead=better, second_ahead_never_seen=better, second_ahead_not_the_last=better
        )
    ]
    text = written(Comparisons(sets=[one]), NONE, tmp_path)
    assert (
        "Where it is not the user's last one, the ranker is **significantly worse** than the best other on a "
        "(time). With a sequence model it is better than the best other on a (time)." in text
    )
    assert "| a (time) | ▼ ▲ | ▼ ▲ | ▼ ▲ |" in text


def test_all_three_verdicts_in_one_sentence(tmp_path: Path) -> None:
    sets = [entry("a", 0.05), entry("b", 0.0), entry("c", -0.05)]
    text = written(Comparisons(sets=sets), NONE, tmp_path)
    assert (
        "is better than the best other on a (time), shows no difference on b (time), and is **significantly worse** on "
        "c (time)." in text
    )


def test_what_the_sequence_model_adds_is_a_column_where_it_was_measured(tmp_path: Path) -> None:
    without, beside = entry("a", 0.05), entry("b", 0.05)
    beside.rows.append(compared("hybrid + sequence", 0.55, -0.05))
    text = written(Comparisons(sets=[without, beside]), NONE, tmp_path)
    assert "The ranker with this score is better than the one without on b (time)." in text
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in _tables(text)[1]]
    last = {row[0]: row[-1] for row in rows}
    assert last["b (time)"].startswith("**better** +0.050")
    assert last["a (time)"] == ""
    assert "0.450 counted" in text  # the best other is none of what is served
    without_any = written(Comparisons(sets=[without]), NONE, tmp_path)
    assert "with sequence model" not in without_any


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    text = written(Comparisons(sets=[entry("deskdrop", 0.05)]), NONE, tmp_path)
    assert "Not measured: Deskdrop (last), KuaiRand (last)" in text
    assert "Deskdrop (time) was not compared with popularity, tuned" in text


def test_too_little_from_few_events_is_said(tmp_path: Path) -> None:
    text = written(Comparisons(sets=[entry("a", 0.0, kept=0.8), entry("b", 0.05)]), NONE, tmp_path)
    assert "but not on a (time): **not reached**." in text
    assert "No compared model" not in text  # another one has 0.95 of as much


def test_what_no_model_reaches_from_few_events_is_said(tmp_path: Path) -> None:
    beyond = entry("a", 0.05, kept=0.8)
    beyond.rows[3:4] = [compared("counted", 0.45, 0.05, kept=0.6)]
    text = written(Comparisons(sets=[beyond]), NONE, tmp_path)
    assert "No compared model reaches that there; the most is 80% on a (time) (hybrid)." in text
    assert (
        "| 0.400 | 0.380 | 0.270 counted | **better** +0.0500 [+0.0400, +0.0600] | 0.40 | 0.80 | 0.60 counted |" in text
    )


def test_a_ranker_below_another_from_few_events_is_said(tmp_path: Path) -> None:
    one = entry("a", 0.05)
    worse = {"0": figure(-0.05), "5": figure(0.0)}
    one.rows[1:2] = [msgspec.structs.replace(one.rows[1], ahead_few=worse)]
    one.rows[3:4] = [msgspec.structs.replace(one.rows[3], ahead_few=worse)]
    text = written(Comparisons(sets=[one]), NONE, tmp_path)
    assert (
        "Without any event of the user the hybrid ranker is **significantly worse** than the best other on a (time). "
        "It is **significantly worse** than before it was fitted on a (time). With five events it shows no difference "
        "to the best other on a (time)." in text
    )


def test_a_ranker_of_an_earlier_fit_is_named(tmp_path: Path) -> None:
    weighed = {"old (time)": {"own": 1.0}, "new (time)": {"own": 1.0, f"{MET}simple": 0.5}}
    entries = [entry(label.split()[0], 0.05) for label in weighed]
    for one, choice in zip(entries, weighed.values(), strict=True):
        one.rows[0:1] = [msgspec.structs.replace(one.rows[0], choice=choice)]
    text = written(Comparisons(sets=entries), NONE, tmp_path)
    assert "On old (time) the hybrid was compared before items that the user has met had weights" in text


def test_an_untrained_ranker_below_what_is_served_is_said(tmp_path: Path) -> None:
    below = entry("a", 0.05)
    below.rows[1:2] = [compared("hybrid (prior)", 0.2, 0.3)]
    text = written(Comparisons(sets=[below]), NONE, tmp_path)
    assert "Before it is fitted to anything, it ranks worse than the `simple` model on a (time)." in text


def test_the_next_action_is_compared_with_the_better_part(tmp_path: Path) -> None:
    names = (action_comparison.STACKED, *action_comparison.PARTS, "logistic regression", Majority.name)
    rows = [
        Predicted(
            name=name, accuracy=figure(0.7), log_loss=figure(0.5 + 0.1 * n), calibration_error=0.01,
            ahead=None if n == 0 else figure(-0.05),
        )
        for n, name in enumerate(names)
    ]  # fmt: skip
    found = action_comparison.Compared(key="a, time", name="a", protocol="time", users=5, events=50, rows=rows)
    text = written(Comparisons(), action_comparison.Results(sets=[found]), tmp_path)
    assert "By log-loss the stack is **significantly worse** than the better of the two on a (time)" in text
    assert "Complete Journey has a single action, so there is nothing to predict." in text
    assert "At ω = 0 order says nothing" not in text
    unordered = msgspec.structs.replace(found, key="simulated, order strength 0", order_strength=0.0)
    assert "At ω = 0 order says nothing" in written(
        Comparisons(), action_comparison.Results(sets=[found, unordered]), tmp_path
    )
    assert "Not measured: Deskdrop (last)" in text


def test_worlds_that_differ_are_a_question_where_they_were_run(tmp_path: Path) -> None:
    base = StudyRecord(
        section="worlds", data="own laws", model=Hybrid.name, metric="ndcg10", value=0.1, low=0.09, high=0.11, seeds=1,
        worlds=2, events=9, machine="m",
    )  # fmt: skip
    blend = msgspec.structs.replace(
        base, model=EVERYTHING, value=0.12, against=Hybrid.name, difference=0.02, difference_low=0.01,
        difference_high=0.03,
    )  # fmt: skip
    trained = msgspec.structs.replace(base, start="full, order", model="full")
    question = other_worlds([base, blend, trained], tmp_path)
    assert question is not None
    assert "is **significantly worse** than the blend of everything on own laws." in question.answer
    row = next(line for line in question.table.splitlines() if line.startswith("| own laws"))
    assert row.startswith("| own laws | 2 | 0.100 [0.090, 0.110] | 0.120")  # no column of what was not run
    assert row.endswith("**significantly worse** -0.0200 [-0.0300, -0.0100] |")
    assert (tmp_path / "worlds.svg").exists()
    assert other_worlds([trained], tmp_path) is None


def test_the_control_without_order_is_a_row_and_a_verdict(tmp_path: Path) -> None:
    base = StudyRecord(
        section="worlds", data="no order", model="full", start="full, no order", metric="accuracy", value=0.45,
        low=0.44, high=0.46, against="logistic regression", difference=-0.01, difference_low=-0.02,
        difference_high=0.005, seeds=1, worlds=3, events=9, machine="m",
    )  # fmt: skip
    logistic = msgspec.structs.replace(base, start="", model="logistic regression", value=0.46)
    oracle = msgspec.structs.replace(base, start="", model="oracle", value=0.66)
    ndcg = msgspec.structs.replace(base, metric="ndcg10", value=0.07, against="EASE, recency")
    question = order([], [base, logistic, oracle, ndcg], tmp_path)
    row = next(line for line in question.table.splitlines() if line.startswith("| 0, control"))
    assert row.endswith("| 0.460 logistic regression | -0.0100 [-0.0200, +0.0050] | 0.660 | -5% |")
    assert "The control, which never met order, gains nothing over the best baseline, as it should" in question.answer
    assert "EASE, recency" in question.table
    gains = msgspec.structs.replace(ndcg, difference=0.01, difference_low=0.001)
    assert "**gains** in NDCG@10" in order([], [base, logistic, gains], tmp_path).answer
    assert "there is none yet" in order([], [logistic, oracle], tmp_path).table


def test_what_is_committed_is_short_and_has_no_figure_that_the_results_lack(tmp_path: Path) -> None:
    write_report(ROOT / "training" / "results.json", tmp_path / "REPORT.md", ROOT / "checkpoints" / "reference")
    for name in ("REPORT.md", "MODEL_CARD.md"):
        text = (ROOT / "training" / name).read_text()
        assert len(text.splitlines()) <= 160
        tables = _tables(text)
        assert max(map(len, tables)) <= 20
        made = (tmp_path / name).read_text().splitlines()
        assert {row for rows in tables for row in rows} <= set(made), "run `vows-edge evaluate --report-only`"


def _tables(text: str) -> list[list[str]]:
    tables: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    return tables
