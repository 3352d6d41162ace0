"""Limits as cgroups of version 1 and 2 and /proc say them, from files that are made here."""

import os
from pathlib import Path

import pytest

from runtime.system import host

MiB = 1 << 20
KIB = 1024
MEMINFO = "MemTotal:  262144 kB\nMemFree:  1000 kB\nMemAvailable:  196608 kB\n"  # 256 and 192 MiB


class Tree:
    """A root folder with /proc and /sys/fs/cgroup. `own`: the process's line or lines of /proc/self/cgroup."""

    def __init__(self, root: Path, own: str, meminfo: str = MEMINFO) -> None:
        self.root = root
        self.write("proc/self/cgroup", own)
        self.write("proc/meminfo", meminfo)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def version_2(tmp_path):
    return Tree(tmp_path, "0::/system/vows\n")


@pytest.fixture
def version_1(tmp_path):
    return Tree(tmp_path, "4:memory:/docker/a\n3:cpuset:/\n2:cpu,cpuacct:/docker/a\n0::/\n")


def test_without_a_group_the_machine_is_the_limit(version_2):
    assert host.memory_limit(version_2.root) == 256 * MiB
    assert host.available_memory(version_2.root) == 192 * MiB


def test_version_2_takes_the_smallest_of_the_group_and_its_ancestors(version_2):
    version_2.write("sys/fs/cgroup/system/vows/memory.max", "max\n")
    version_2.write("sys/fs/cgroup/system/memory.max", f"{128 * MiB}\n")
    version_2.write("sys/fs/cgroup/system/memory.stat", f"anon {30 * MiB}\nfile {50 * MiB}\nshmem {2 * MiB}\n")
    assert host.memory_limit(version_2.root) == 128 * MiB
    # What files hold is given back, what is shared memory is not.
    assert host.available_memory(version_2.root) == (128 - 32) * MiB
    version_2.write("sys/fs/cgroup/system/vows/memory.max", f"{64 * MiB}\n")
    version_2.write("sys/fs/cgroup/system/vows/memory.stat", f"anon {10 * MiB}\n")
    assert host.memory_limit(version_2.root) == 64 * MiB
    assert host.available_memory(version_2.root) == 54 * MiB


def test_version_1_takes_the_memory_controllers_group_and_counts_its_children(version_1):
    version_1.write("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", f"{180 * MiB}\n")
    version_1.write("sys/fs/cgroup/memory/docker/a/memory.stat", f"rss {5 * MiB}\ntotal_rss {60 * MiB}\ncache 1\n")
    version_1.write("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "9223372036854771712\n")  # no limit
    version_1.write("sys/fs/cgroup/cpuset/memory.limit_in_bytes", f"{MiB}\n")  # of no controller that counts memory
    assert host.memory_limit(version_1.root) == 180 * MiB
    assert host.available_memory(version_1.root) == 120 * MiB


def test_a_machine_that_has_less_than_its_group_is_the_limit(version_2):
    version_2.write("sys/fs/cgroup/system/vows/memory.max", f"{1024 * MiB}\n")
    version_2.write("sys/fs/cgroup/system/vows/memory.stat", "anon 0\n")
    assert host.memory_limit(version_2.root) == 256 * MiB
    assert host.available_memory(version_2.root) == 192 * MiB


def test_a_container_sees_its_group_as_the_root(tmp_path):
    tree = Tree(tmp_path, "0::/\n")
    tree.write("sys/fs/cgroup/memory.max", f"{100 * MiB}\n")
    tree.write("sys/fs/cgroup/memory.stat", f"anon {MiB}\n")
    assert host.memory_limit(tree.root) == 100 * MiB
    assert host.available_memory(tree.root) == 99 * MiB


def test_a_group_that_is_mounted_elsewhere_is_found_at_the_root(tmp_path):
    """Version 1 in a container without a namespace: the path is the host's, and the mount shows the own group."""
    tree = Tree(tmp_path, "4:memory:/docker/not-mounted-here\n")
    tree.write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{100 * MiB}\n")
    assert host.memory_limit(tree.root) == 100 * MiB


def test_nothing_is_known_without_proc(tmp_path):
    assert host.memory_limit(tmp_path) is None
    assert host.available_memory(tmp_path) is None
    assert host.cpu_quota(tmp_path) is None
    assert host.cpu_flags(tmp_path) == frozenset()


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("50000 100000", 0.5), ("250000 100000", 2.5), ("", None)]
)
def test_quota_of_version_2(version_2, text, cores):
    version_2.write("sys/fs/cgroup/system/vows/cpu.max", text)
    assert host.cpu_quota(version_2.root) == cores


def test_quota_of_an_ancestor_counts(version_2):
    version_2.write("sys/fs/cgroup/system/vows/cpu.max", "max 100000")
    version_2.write("sys/fs/cgroup/system/cpu.max", "150000 100000")
    assert host.cpu_quota(version_2.root) == 1.5
    version_2.write("sys/fs/cgroup/system/vows/cpu.max", "400000 100000")
    assert host.cpu_quota(version_2.root) == 1.5  # the smallest, not the innermost


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("20000", 0.2), ("300000", 3.0)])
def test_quota_of_version_1(version_1, quota, cores):
    folder = "sys/fs/cgroup/cpu/docker/a"
    version_1.write(f"{folder}/cpu.cfs_quota_us", quota)
    version_1.write(f"{folder}/cpu.cfs_period_us", "100000")
    assert host.cpu_quota(version_1.root) == cores


def test_half_a_core_is_one_thread(version_2):
    version_2.write("sys/fs/cgroup/system/vows/cpu.max", "50000 100000")
    assert host.usable_cores(version_2.root) == 1


@pytest.mark.parametrize("name", ["flags", "Features"])
def test_flags_as_x86_and_arm_name_them(tmp_path, name):
    tree = Tree(tmp_path, "0::/\n")
    tree.write("proc/cpuinfo", f"processor\t: 0\nmodel name\t: Some CPU\n{name}\t\t: fpu avx2 asimddp\n")
    assert host.cpu_flags(tree.root) == {"fpu", "avx2", "asimddp"}
    assert host.cpu_name(tree.root) == "Some CPU"


def test_memory_of_the_process_is_read_in_bytes(tmp_path):
    tree = Tree(tmp_path, "0::/\n")
    tree.write("proc/self/status", "Name:\tx\nVmHWM:\t 120 kB\nVmRSS:\t 100 kB\nRssAnon:\t 60 kB\nRssFile:\t 40 kB\n")
    found = host.process_memory(tree.root)
    assert (found.rss, found.anonymous, found.file, found.peak) == tuple(n * KIB for n in (100, 60, 40, 120))
    assert host.process_memory(tmp_path / "none") == host.Memory(0, 0, 0, 0)


def test_this_machine_agrees_with_itself():
    memory = host.process_memory()
    assert 0 < memory.anonymous < memory.rss <= memory.peak
    assert 0 < host.available_memory() <= host.memory_limit()
    assert host.usable_cores() >= 1


@pytest.mark.parametrize(("kind", "expected"), [("tmpfs", True), ("ramfs", True), ("ext4", False), ("overlay", False)])
def test_a_folder_lies_in_memory_where_its_file_system_does(version_2, tmp_path, kind, expected):
    device = tmp_path.stat().st_dev
    own = f"30 23 {os.major(device)}:{os.minor(device)} / /data rw,nosuid shared:7 - {kind} none rw,size=65536k"
    version_2.write("proc/self/mountinfo", f"29 23 0:999 / /other rw - ext4 /dev/vdz rw\n{own}\n")
    for folder in (tmp_path, tmp_path / "not" / "there yet"):
        assert host.lies_in_memory(folder, version_2.root) is expected


def test_a_folder_is_on_a_disk_where_nothing_says_otherwise(tmp_path):
    assert not host.lies_in_memory(tmp_path, tmp_path / "no proc")
