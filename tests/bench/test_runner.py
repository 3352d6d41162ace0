import os

from bench.__main__ import main
from bench.history import from_json, read
from bench.machine import read_revision
from bench.runner import default_conditions, run_suites


def test_every_case_runs_in_a_process_of_its_own_pinned_to_the_client_core(tiny_run):
    works = tiny_run.suites["tiny"]["works"]
    assert works.notes["affinity_matches"] is True
    assert works.notes["process"] != os.getpid()
    assert works.notes["core"] == min(os.sched_getaffinity(0))


def test_raw_samples_are_kept_in_the_order_they_were_taken(tiny_run):
    assert tiny_run.suites["tiny"]["works"].series["time_ms"] == [10, 20, 30, 40, 50]


def test_a_case_that_raises_keeps_what_it_measured_and_says_why_it_broke(tiny_run):
    broken = tiny_run.suites["tiny"]["breaks"]
    assert broken.series == {"broken_mib": [1.0]}
    assert broken.failed == "RuntimeError: the third call failed"


def test_a_case_whose_process_dies_or_hangs_is_a_result_and_the_others_run(tiny_run):
    cases = tiny_run.suites["tiny"]
    assert cases["dies"].failed == "its process ended with status 3"
    assert cases["hangs"].failed == "did not end within 1 s"
    assert cases["works"].failed is None
    assert cases["cannot"].not_measured == "needs root"
    assert cases["cannot"].failed is None


def test_a_run_records_machine_revision_and_order(tiny_run):
    assert tiny_run.machine["cores"] == len(os.sched_getaffinity(0))
    assert tiny_run.machine["cpu"]
    assert tiny_run.versions["numpy"]
    assert tiny_run.load_average >= 0
    assert tiny_run.revision == read_revision()[0]
    assert sorted(tiny_run.order) == [f"tiny/{case}" for case in ("breaks", "cannot", "dies", "hangs", "works")]
    assert from_json(tiny_run.to_json()) == tiny_run


def test_the_seed_decides_the_order(tmp_path):
    def order(seed):
        conditions = default_conditions(tmp_path, seed, quick=True)
        return run_suites(["tests.bench.quick_suite"], conditions, progress=lambda line: None).order

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(3)}) > 1


def test_each_case_of_an_independent_suite_is_kept_as_it_ends(tmp_path):
    kept = []
    conditions = default_conditions(tmp_path, quick=True)
    modules = ["tests.bench.independent_suite", "tests.bench.quick_suite"]
    run_suites(modules, conditions, progress=lambda line: None, keep=kept.append)
    assert [run.order for run in kept] == [[f"independent/{next(iter(run.suites['independent']))}"] for run in kept]
    assert sorted(case for run in kept for case in run.suites["independent"]) == ["a", "b", "c"]


def test_one_case_of_an_independent_suite_is_kept_when_it_runs_alone(tmp_path):
    history = tmp_path / "history.jsonl"
    main(["tests.bench.independent_suite", "tests.bench.quick_suite", "--case", "b", "--history", str(history)])
    assert [list(run.suites["independent"]) for run in read(history)] == [["b"]]
