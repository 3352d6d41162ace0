"""Every index under comparison on 2,000 vectors: that it finds the nearest, also of one group, and what is reported."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bench.case_result import CaseResult
from bench.indexes.engines import INDEXES, IndexEngine
from bench.indexes.index import DIMENSIONS, Index, StoredVectors
from bench.indexes.measure import NotBuilt, measure, write_data
from bench.indexes.results import case_name, chosen, comparison
from bench.machine import ROOT
from bench.suite import NotMeasured, Samples


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    vectors = np.random.default_rng(1).standard_normal((2_030, DIMENSIONS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    write_data(folder, vectors[:2_000], vectors[2_000:])
    return folder


@pytest.mark.parametrize("engine", INDEXES, ids=lambda engine: engine.name)
def test_an_index_is_built_and_searched_with_and_without_a_filter(engine, data, tmp_path):
    core = str(min(os.sched_getaffinity(0)))
    command = [sys.executable, "-m", "bench.indexes.measure", engine.name, str(data), str(tmp_path), core, "20"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True, timeout=300, check=False)
    if "CAP_SYS_NICE" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    series = json.loads(done.stdout)["series"]
    setting = chosen(series, "plain")
    assert series[f"recall.plain.{setting}"][0] >= (0.8 if engine.name == "usearch" else 0.99)  # bfloat16 loses some
    assert len(series[f"ms.plain.{setting}"]) == 20
    if engine.name.startswith("usearch"):
        assert chosen(series, "filtered") is None
    else:
        assert series[f"recall.filtered.{chosen(series, 'filtered')}"][0] >= 0.99
    assert all(series[name][0] >= 0 for name in ("build_s", "build_cpu_s", "added_peak_mib", "disk_mib"))
    assert series["added_resident_mib"][0] > (0 if engine.name.startswith("sqlite") else 3)


def test_the_first_setting_with_enough_recall_is_chosen_or_else_the_best():
    tried = {"recall.plain.a": [0.9], "recall.plain.b": [0.995], "recall.plain.c": [1.0]}
    assert chosen(tried, "plain") == "b"
    assert chosen({"recall.plain.a": [0.9], "recall.plain.b": [0.95], "recall.plain.c": [0.94]}, "plain") == "b"
    assert chosen(tried, "filtered") is None


def test_an_index_that_failed_is_a_row_that_says_why():
    results = {case_name(INDEXES[0], 100_000): CaseResult(failed="MemoryError: no room")}
    for table in comparison(results, 100_000).split("\n\n")[1::2]:
        lines = table.splitlines()
        assert len(lines) == 2 + len(INDEXES)
        assert "MemoryError: no room" in lines[2]
        assert "not measured" in lines[3]
        assert len({line.count("|") for line in lines}) == 1


def test_a_build_that_takes_too_long_ends_with_what_it_has_done(data, tmp_path):
    class Slow(Index):
        def build(self, vectors):
            for _, chunk in vectors.chunks():
                while True:
                    np.sort(chunk)

        def search(self, query, group=None):
            raise AssertionError("it was not built")

    with pytest.raises(NotBuilt, match=r"not built within 0.001 minutes, .* of them CPU time: 2,000 of 2,000 vectors"):
        measure(Slow(tmp_path), data, min(os.sched_getaffinity(0)), 20, Samples(), limit_min=0.001)


def test_a_missing_package_says_what_to_install():
    with pytest.raises(NotMeasured, match=r"no_such_package is not installed: pip install 'vows-edge\[bench\]'"):
        IndexEngine("none", "None", "ours.Float32", "no_such_package").wrapper()


def test_a_sample_of_stored_vectors_is_evenly_spaced(tmp_path):
    rows = np.repeat(np.arange(25_000, dtype=np.float32)[:, np.newaxis], DIMENSIONS, axis=1)
    rows.tofile(tmp_path / "rows.f32")
    sample = StoredVectors(tmp_path / "rows.f32", len(rows)).sample(3_600)
    assert sample[:, 0].tolist() == list(range(0, 25_000, 7))
