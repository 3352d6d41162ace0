"""The study: what is planned, one run end to end on a small world, intervals and the page."""

import pickle
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.training.datasets import small_world
from training.checkpoint import BEST, Checkpoint
from training.evaluation.baselines import Logistic
from training.experiments.study.baselines import INSTALLED, RANKERS
from training.experiments.study.command import Results, chosen, machine, run_all
from training.experiments.study.data import (
    FRESH,
    KINDS,
    NO_ORDER,
    ORDER,
    OWN_LAWS,
    TOGETHER,
    WEAKEST,
    load_split,
    parameters_of,
    world_key,
)
from training.experiments.study.effort import EFFORTS, SMALL, USUAL
from training.experiments.study.jobs import COMMITTED, ORACLE, Arrays, Job, Place, Row, of_world
from training.experiments.study.page import FOLDER, page
from training.experiments.study.plan import PARTS_OF_STUDY, Size, plan
from training.experiments.study.records import KEPT, PAGE, Comparison, merged, read_arrays, read_kept, read_rows
from training.experiments.study.summary import summarise
from training.experiments.study.variants import FULL, INPUTS, PLAIN, WITHOUT, differs, parts_off, recipe_of
from training.experiments.study.verdicts import ASSUMED, DEFENDED, UNDECIDED, UNDEFENDED, defended, verdicts
from training.ranker.recommender import Hybrid
from training.recipes import NOT_FOR_LOGS, PARTS, RECIPES, of_log, without
from training.simulator.parameters import Parameters

ROOT = Path(__file__).parents[3]
KEY = world_key(ORDER, 1)


def test_every_part_is_left_out_on_every_set_that_uses_it_and_on_every_world() -> None:
    jobs = plan(PARTS_OF_STUDY, Size())
    assert len(jobs) == len(set(jobs))
    for number in range(3):
        world = world_key(ORDER, Size().first_world + number)
        assert {job.model for job in jobs if job.data == world and not job.start} >= {FULL, PLAIN, *WITHOUT, ORACLE}
    assert {job.model for job in jobs if job.data == "deskdrop"} >= {FULL, PLAIN, "without pointer"}
    assert "without factorised ids" not in {job.model for job in jobs if job.data == "deskdrop"}  # it has none
    assert {job.seed for job in jobs if job.data == "deskdrop"} == {0, 1, 2}


def test_every_kind_of_world_is_held_out_and_the_control_without_order_is_pre_trained_without_order() -> None:
    jobs = plan(("worlds",), Size())
    trained = {job.name for job in jobs if job.pretraining}
    assert {job.start for job in jobs} - {"", COMMITTED} <= trained
    assert f"{FULL}, {NO_ORDER}" in {job.start for job in jobs if job.data.endswith(NO_ORDER)}
    seeds = {seed for job in jobs for seed in job.pretraining}
    assert seeds.isdisjoint(range(Size().first_world, Size().first_world + 3))
    for kind in KINDS:
        models = {(job.model, bool(job.start)) for job in jobs if job.data == world_key(kind, 2_001)}
        assert models >= {(FULL, False), (FULL, True), (PLAIN, False), (Logistic.name, False), (ORACLE, False)}
        assert models >= {(name, False) for name in RANKERS}


def test_worlds_of_a_kind_differ_from_those_with_order_in_that_alone() -> None:
    for effort in EFFORTS:
        size = EFFORTS[effort].world
        for kind in KINDS:
            found = parameters_of(kind, 1, effort)
            assert found.users == size.get("users", Parameters().users)
            assert (found.freshness > 0) == (kind == FRESH)
            assert (found.utility_form == "weakest") == (kind == WEAKEST)
            assert (found.order_strength == 0) == (kind == NO_ORDER)


def test_worlds_of_own_laws_differ_from_each_other() -> None:
    assert parameters_of(OWN_LAWS, 5).laws != parameters_of(OWN_LAWS, 6).laws != 0
    assert parameters_of(ORDER, 5).laws == 0


def test_parts_of_a_model() -> None:
    assert parts_off(FULL) == ()
    assert parts_off(PLAIN) == tuple(PARTS)
    assert parts_off("without pointer") == ("pointer",)
    assert parts_off("without pointer + contrastive loss") == ("pointer", "contrastive loss")


@pytest.mark.parametrize("model", INPUTS)
def test_what_items_are_known_by_is_left_out_where_a_recipe_has_it(model: str) -> None:
    used = [name for name in ("deskdrop", "ml-100k", "world") if differs(model, RECIPES[name]())]
    assert used
    assert ("deskdrop" in used) == (model != "without ids")  # it has none
    assert recipe_of(model, RECIPES["world"]()).name == "world"


def test_the_small_study_leaves_parts_out_with_and_without_order() -> None:
    jobs = plan(("ablations",), Size(seeds=0, worlds=1, first_world=7))
    assert {job.data for job in jobs} == {world_key(ORDER, 7), world_key(NO_ORDER, 7), TOGETHER}
    assert {job.model for job in jobs} == {FULL, PLAIN, *WITHOUT, *INPUTS}
    assert "3" in str(EFFORTS[SMALL])
    assert EFFORTS[USUAL].refit


def test_of_a_kind_of_worlds_only_its_own_pre_training_is_made() -> None:
    jobs = chosen(plan(PARTS_OF_STUDY, Size(worlds=1)), [FULL, Logistic.name], [NO_ORDER])
    assert [job.name for job in jobs if job.pretraining] == [f"{FULL}, {NO_ORDER}"]
    assert {job.data for job in jobs if not job.pretraining} == {world_key(NO_ORDER, Size().first_world)}
    assert {job.model for job in jobs} == {FULL, Logistic.name}
    assert {job.start for job in chosen(jobs, [f"{FULL}, {NO_ORDER}"], None)} == {"", f"{FULL}, {NO_ORDER}"}
    assert chosen(plan(PARTS_OF_STUDY, Size()), None, None) == plan(PARTS_OF_STUDY, Size())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    folder = tmp_path_factory.mktemp("study")
    for kind, seed in ((ORDER, 1), (ORDER, 2), (OWN_LAWS, 0)):
        world = small_world(seed, users=40)
        file = folder / f"{kind.replace(' ', '-')}-{seed}-{USUAL}" / "world.pickle"
        file.parent.mkdir()
        file.write_bytes(pickle.dumps(world))
    jobs = [
        Job(OWN_LAWS, PLAIN, pretraining=(0,)),
        Job(KEY, FULL),
        Job(KEY, "without pointer"),
        Job(KEY, PLAIN, start=f"{PLAIN}, {OWN_LAWS}"),
        Job(TOGETHER, PLAIN, pretraining=(1, 2)),
        Job(KEY, PLAIN, start=f"{PLAIN}, {TOGETHER}"),
        Job(KEY, "SASRec"),
        Job(KEY, "without texts"),
        Job(KEY, "without factorised ids", start=COMMITTED),
        Job(KEY, INSTALLED),
        Job(KEY, Hybrid.name),
        Job(KEY, ORACLE),
        Job("no such set", FULL),
        Job(KEY, PLAIN, start="never trained"),
    ]
    results = Results(folder / "results")
    place = Place(folder, None, "cpu", machine("cpu"), epochs=1)
    for row, arrays in run_all(jobs, place, 1, float("inf"), first=0):
        results.add(row, arrays)
    results.save()
    return folder, results


def test_a_failure_is_a_row_and_what_waits_for_a_training_that_is_not_planned_does_not_run(
    ran: tuple[Path, Results],
) -> None:
    _, results = ran
    failed = [row for row in results.rows if row.failed]
    assert [row.data for row in failed] == ["no such set"]
    assert "no such set" in failed[0].failed
    assert "never trained" not in {row.start for row in results.rows}
    assert len(results.rows) == 13


def test_rows_of_one_world_are_about_the_same_events(ran: tuple[Path, Results]) -> None:
    folder, results = ran
    measured = [row for row in results.rows if row.queries]
    assert len({row.queries for row in measured}) == 1
    assert (folder / "pretrained" / f"{PLAIN}, {OWN_LAWS}" / BEST).exists()
    oracle = next(row for row in measured if row.model == ORACLE)
    assert oracle.accuracy == max(row.accuracy or 0 for row in measured)
    arrays = read_arrays(results.folder)
    for row in measured:
        if row.accuracy is not None:
            assert arrays[f"{row.number}/right"].mean() == pytest.approx(row.accuracy)
        if row.ndcg10 is not None:
            assert arrays[f"{row.number}/ndcg"].astype(float).mean() == pytest.approx(row.ndcg10, abs=1e-3)


def test_a_model_of_several_worlds_has_seen_their_past_alone_and_is_tested_with_the_items_of_one(
    ran: tuple[Path, Results],
) -> None:
    folder, results = ran
    checkpoint = Checkpoint.load(folder / "pretrained" / f"{PLAIN}, {TOGETHER}" / BEST)
    pasts = [load_split(world_key(ORDER, seed), folder, None).train for seed in (1, 2)]
    assert checkpoint.data["training_events"] == sum(len(past.events) for past in pasts)
    known = set(of_world(checkpoint, KEY).ids)
    assert known > set(pasts[0].catalogue.ids)
    assert known.isdisjoint(checkpoint.ids[: len(pasts[0].catalogue)])
    row = next(row for row in results.rows if row.start == f"{PLAIN}, {TOGETHER}")
    assert row.epochs is None  # nothing was trained further
    assert row.ndcg10


def test_items_that_were_met_in_training_are_a_slice(ran: tuple[Path, Results]) -> None:
    arrays = read_arrays(ran[1].folder)
    row = next(row for row in ran[1].rows if row.model == FULL and row.queries)
    known = arrays[f"{row.queries}/ranking_met"]
    assert 0 < known.sum() < len(known)
    expected = arrays[f"{row.number}/ndcg"][known].astype(float).mean()
    one = next(r for r in summarise([ran[1].folder]) if (r.model, r.metric) == (FULL, "ndcg10_met"))
    assert (one.value, one.events) == (pytest.approx(expected, abs=1e-5), known.sum())


def test_results_are_continued(ran: tuple[Path, Results]) -> None:
    assert not Results(ran[1].folder, SMALL).done  # another effort is another study
    again = Results(ran[1].folder)
    assert Job(KEY, FULL) in again.done
    assert Job("no such set", FULL) not in again.done


def test_differences_to_the_full_model_are_paired(ran: tuple[Path, Results]) -> None:
    found = summarise([ran[1].folder])
    one = next(r for r in found if r.model == "without pointer" and r.metric == "accuracy")
    full = next(r for r in found if r.model == FULL and r.metric == "accuracy")
    assert one.against == FULL
    assert one.difference == pytest.approx(one.value - full.value, abs=2e-5)
    assert one.difference_low is not None
    assert one.difference_high is not None
    assert one.difference_low <= one.difference <= one.difference_high
    assert "without pointer" in page(found)


def test_what_was_pre_trained_is_compared_with_the_best_baseline(tmp_path: Path) -> None:
    users = np.repeat(np.arange(50), 4)
    arrays: Arrays = {"q/ranking_user": users, "q/action_user": users}
    start = f"{FULL}, {NO_ORDER}"
    models = [(FULL, start, 0.5, 0.25), ("EASE, recency", "", 0.5, 0.0), ("popularity, tuned", "", 0.25, 0.0)]
    models += [(Logistic.name, "", 0.0, 0.75), (Hybrid.name, "", 1.0, 0.0)]  # the latter is no baseline
    rows = []
    for number, (model, start_of, ndcg, right) in enumerate(models):
        arrays[f"{number}/right"] = np.full(len(users), right)
        if model != Logistic.name:
            arrays[f"{number}/ndcg"] = np.full(len(users), ndcg)
        rows.append(
            Row(
                number=number, data=world_key(NO_ORDER, 1), model=model, seed=0, start=start_of, queries="q", seconds=1,
                machine="m",
            )
        )  # fmt: skip
    (tmp_path / "rows.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    np.savez(tmp_path / "arrays.npz", **arrays)  # type: ignore[arg-type]
    found = {one.metric: one for one in summarise([tmp_path]) if one.start == start}
    assert (found["ndcg10"].against, found["ndcg10"].difference) == ("EASE, recency", 0.0)
    assert (found["accuracy"].against, found["accuracy"].difference) == (Logistic.name, -0.5)


def test_seeds_widen_an_interval(tmp_path: Path) -> None:
    """Two seeds that differ by more than users do: the interval covers both."""
    users = np.repeat(np.arange(50), 4)
    arrays: Arrays = {"q/ranking_user": users, "q/action_user": users}
    rows = []
    for number, (model, seed, value) in enumerate([(FULL, 0, 0), (FULL, 1, 0), (PLAIN, 0, 1), (PLAIN, 1, 0)]):
        arrays[f"{number}/right"] = np.full(len(users), value)
        rows.append(
            Row(number=number, data="set", model=model, seed=seed, start="", queries="q", seconds=1, machine="m")
        )
    (tmp_path / "rows.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    np.savez(tmp_path / "arrays.npz", **arrays)  # type: ignore[arg-type]
    plain = next(one for one in summarise([tmp_path]) if one.model == PLAIN)
    assert (plain.difference, plain.difference_low, plain.difference_high) == (0.5, 0.0, 1.0)
    assert plain.seeds == 2
    assert read_rows(tmp_path)[0] == rows[0]


def test_the_page_is_generated_from_what_is_kept() -> None:
    kept = read_kept(ROOT / FOLDER)
    assert (ROOT / FOLDER / PAGE).read_text() == page(kept)
    assert (ROOT / FOLDER / KEPT).exists()
    assert kept


def test_a_page_marks_a_difference_whose_interval_excludes_zero() -> None:
    base = Comparison(
        section="sets", data="deskdrop", model=FULL, metric="ndcg10", value=0.3, low=0.2, high=0.4, seeds=1, events=9,
        machine="m",
    )  # fmt: skip
    worse = msgspec.structs.replace(
        base, model=PLAIN, against=FULL, difference=-0.1, difference_low=-0.2, difference_high=-0.01
    )
    assert "**-0.100 [-0.200, -0.010]**" in page([base, worse])
    same = msgspec.structs.replace(worse, difference_high=0.01)
    assert "**" not in page([base, same]).split("## ")[1].split("\n\n", 2)[2]


def test_the_recipe_of_a_log_follows_from_what_is_kept() -> None:
    """A part is left out of it exactly where no real set defends the part."""
    kept = read_kept(ROOT / FOLDER)
    assert set(NOT_FOR_LOGS) == {part for part in PARTS if not defended(kept, part, "sets")}
    for recipe in (of_log(1_000, 0.0), of_log(50_000, 1.0), of_log(2_000_000, 1.0)):
        assert without(recipe, NOT_FOR_LOGS) == recipe
        assert recipe.pointer


def test_what_was_kept_of_other_models_stays() -> None:
    old = Comparison(
        section="sets", data="deskdrop", model=FULL, metric="ndcg10", value=0.3, low=0.2, high=0.4, seeds=1, events=9,
        machine="m",
    )  # fmt: skip
    other = msgspec.structs.replace(old, effort=SMALL)
    new = msgspec.structs.replace(old, value=0.5)
    assert merged([old, other], [new]) == [other, new]
    compared = msgspec.structs.replace(old, against=PLAIN, difference=0.1)
    assert merged([compared], [old]) == [compared]  # measured again, and compared with nothing
    assert merged([compared], [new]) == [new]


@pytest.mark.parametrize(
    ("section", "metric", "low", "high", "verdict"),
    [
        ("sets", "ndcg10", -0.2, -0.1, DEFENDED),
        ("sets", "log_loss", 0.1, 0.2, DEFENDED),
        ("sets", "log_loss", -0.2, -0.1, UNDECIDED),  # worlds were not run
        ("sets", "accuracy", -0.2, -0.1, UNDECIDED),  # not a metric of the rule
        ("sets", "ndcg10", -0.2, 0.1, UNDECIDED),
        ("worlds", "ndcg10", -0.2, -0.1, ASSUMED),
        ("worlds", "ndcg10", -0.2, 0.1, UNDEFENDED),
    ],
)
def test_verdict_of_a_part(section: str, metric: str, low: float, high: float, verdict: str) -> None:
    one = Comparison(
        section=section, data="data", model="without pointer", metric=metric, value=0.3, low=0.2, high=0.4,
        against=FULL, difference=(low + high) / 2, difference_low=low, difference_high=high, seeds=2, events=9,
        machine="m",
    )  # fmt: skip
    assert f"{verdict} |" in verdicts([one])
    assert verdicts([msgspec.structs.replace(one, model="SASRec")]) == ""
