import mmap
import os
import subprocess
import sys

import pytest

from bench.cgroup import memory_limit
from bench.process_memory import parse_kilobytes, read_process_memory
from bench.suite import NotMeasured, Samples
from bench.suites.memory import READ_EVERY, growth_per_10000, note_model_file


def test_sizes_are_read_from_the_lines_that_are_sizes():
    text = "00400000-7ffd [rollup]\nRss:     120 kB\nThreads: 4\nVmHWM:\t    130 kB\n"
    assert parse_kilobytes(text) == {"Rss": 120, "VmHWM": 130}


def test_anonymous_and_file_backed_memory_are_separated(tmp_path):
    file = tmp_path / "file"
    with file.open("wb") as made:
        for _ in range(20):
            made.write(b"\1" * (1 << 20))
    before = read_process_memory(os.getpid())
    held = mmap.mmap(
        -1, 30 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    )  # pages of its own, where the heap might use freed ones again
    for start in range(0, len(held), 4096):
        held[start] = 1
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[n] for n in range(0, len(mapped), 4096)) > 0
        after = read_process_memory(os.getpid())
    assert after.anonymous_mib - before.anonymous_mib == pytest.approx(30, abs=5)
    assert after.file_backed_mib - before.file_backed_mib == pytest.approx(20, abs=5)
    assert after.rss_mib == pytest.approx(after.anonymous_mib + after.file_backed_mib)
    assert after.peak_rss_mib >= after.rss_mib >= after.pss_mib > 0
    assert len(held) == 30 << 20


@pytest.fixture
def group():
    try:
        with memory_limit(48) as group:
            yield group
    except NotMeasured as reason:
        pytest.skip(str(reason))


def allocate(group, megabytes):
    code = f"x = bytearray(b'1' * ({megabytes} << 20))"
    return subprocess.run([sys.executable, "-c", code], preexec_fn=group.join, capture_output=True).returncode


def test_a_memory_limit_kills_only_a_process_that_exceeds_it(group):
    assert allocate(group, 8) == 0
    assert group.oom_kills() == 0
    assert allocate(group, 200) != 0
    assert group.oom_kills() >= 1
    assert group.peak_mib() is None or 8 < group.peak_mib() <= 48


def test_the_group_is_removed_afterwards():
    try:
        with memory_limit(48) as group:
            assert group.path.is_dir()
    except NotMeasured as reason:
        pytest.skip(str(reason))
    assert not group.path.exists()


def readings(slope, count=50, jump_at=None):
    values = [50 + slope * n * READ_EVERY / 10_000 for n in range(count)]
    return {"flat_anonymous_mib": [value + (9 if n == jump_at else 0) for n, value in enumerate(values)]}


@pytest.mark.parametrize("slope", [0.0, 1.0, 25.0])
def test_growth_is_the_slope_per_10000_requests(slope):
    assert growth_per_10000(readings(slope)) == [pytest.approx(slope)]


def test_one_outlier_does_not_count_as_growth():
    assert growth_per_10000(readings(0.0, jump_at=30)) == [0.0]


def test_growth_while_caches_fill_is_not_counted():
    assert growth_per_10000({"settling_anonymous_mib": [40.0, 50.0], "flat_anonymous_mib": [60.0, 60.0]}) == [0.0]


def test_growth_needs_readings():
    assert growth_per_10000({}) == []


def test_the_size_of_every_encoding_is_known_before_it_was_made(bundle_path):
    samples = Samples()
    note_model_file(bundle_path, samples)
    assert len(samples.series["model_file_mib"]) == 2
    assert all(20 < size < 25 for size in samples.series["model_file_mib"])
