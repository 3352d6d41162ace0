"""What this machine gives the process: cores, CPU features, the memory limit, and what the process holds of it."""

import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path

# CPU features that decide how fast, and in which encoding, integers are multiplied.
INTEGER_FLAGS = frozenset({"avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm", "sve"})

_ROOT = Path("/")  # below it: proc, and sys/fs/cgroup
_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a huge page-aligned number


@dataclass(frozen=True)
class Memory:
    """Bytes the process holds. `peak` is the highest resident size so far; None where the kernel does not report it."""

    rss: int
    anonymous: int
    file: int
    peak: int


def usable_cores(root: Path = _ROOT) -> int:
    """Cores this process may use: CPU affinity, cut by the cgroup's quota (rounded up), at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return max(1, min(cores, math.ceil(quota) if quota else cores))


def cpu_flags(root: Path = _ROOT) -> frozenset[str]:
    """CPU feature flags as Linux names them; empty where /proc/cpuinfo does not list any."""
    for line in _lines(root / "proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cpu_name(root: Path = _ROOT) -> str:
    """The processor's name as the system reports it."""
    for line in _lines(root / "proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cpu_model() -> str:
    """The CPU's name with its family and model: virtual machines often hide the name, and these still identify it."""
    fields: dict[str, str] = {}
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    family = f" (family {fields['cpu family']}, model {fields.get('model', '?')})" if "cpu family" in fields else ""
    return cpu_name() + family


def integer_encoding() -> str:
    """The encoding of int8 weights whose kernel is exact and fastest here: "s8" or "u8".

    Without VNNI, x86 multiplies u8 by s8 with a 16-bit saturating sum, which is wrong for full-range s8 weights; u8
    weights take a kernel that widens first and is exact. With VNNI (and on ARM) s8 is exact and the faster one.
    """
    if platform.machine() in ("aarch64", "arm64"):
        return "s8"
    return "s8" if cpu_flags() & {"avx512_vnni", "avx_vnni"} else "u8"


def memory_limit(root: Path = _ROOT) -> int | None:
    """Bytes this process may use: the smaller of the machine's memory and its cgroup's limit; None if unknown."""
    limits = [_number(path) for path in _cgroup_files(root, "memory.max", "memory", "memory.limit_in_bytes")]
    limits += [int(line.split()[1]) * 1024 for line in _lines(root / "proc/meminfo") if line.startswith("MemTotal:")]
    known = [limit for limit in limits if limit is not None and limit < _UNLIMITED]
    return min(known, default=None)


def available_memory(root: Path = _ROOT) -> int | None:
    """Bytes this process may still take before something must give way; None if unknown.

    The smaller of what the kernel calls available and what its cgroup leaves, page cache counted as free.
    """
    available = [
        int(line.split()[1]) * 1024 for line in _lines(root / "proc/meminfo") if line.startswith("MemAvailable:")
    ]
    for limit_path in _cgroup_files(root, "memory.max", "memory", "memory.limit_in_bytes"):
        limit = _number(limit_path)
        if limit is None or limit >= _UNLIMITED:
            continue
        stat = dict(line.split() for line in _lines(limit_path.with_name("memory.stat")))
        # Version 2 counts children too; version 1 does so under names with "total_".
        anonymous = stat.get("anon", stat.get("total_rss", stat.get("rss", 0)))
        in_use = int(anonymous) + int(stat.get("total_shmem", stat.get("shmem", 0)))
        available.append(limit - in_use)
    return min(available, default=None)


def lies_in_memory(folder: Path, root: Path = _ROOT) -> bool:
    """Whether what is written to a folder, which need not be there yet, takes memory: a tmpfs. False if unknown."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    device = folder.stat().st_dev
    for line in _lines(root / "proc/self/mountinfo"):
        fields, _, kind = line.partition(" - ")
        if fields.split()[2:3] == [f"{os.major(device)}:{os.minor(device)}"]:
            return kind.split()[0] in ("tmpfs", "ramfs")
    return False


def process_memory(root: Path = _ROOT) -> Memory:
    """Resident memory of this process from /proc; zeros where there is no /proc."""
    found = {"VmRSS": 0, "RssAnon": 0, "RssFile": 0, "VmHWM": 0}
    for line in _lines(root / "proc/self/status"):
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0]) * 1024
    return Memory(rss=found["VmRSS"], anonymous=found["RssAnon"], file=found["RssFile"], peak=found["VmHWM"])


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores that the cgroup and its ancestors allow, the smallest; None without a quota."""
    quotas: list[float] = []
    for path in _cgroup_files(root, "cpu.max", "cpu", "cpu.cfs_quota_us"):
        words = " ".join(_lines(path)).split()
        if path.name == "cpu.cfs_quota_us":
            words.append(str(_number(path.with_name("cpu.cfs_period_us")) or 0))
        quota, period = (int(word) if word.isdigit() else 0 for word in (*words, "", "")[:2])
        if quota and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _cgroup_files(root: Path, v2: str, controller: str, v1: str) -> list[Path]:
    """Files that hold a limit of this process's cgroup and its ancestors, innermost first (v2 and v1 layouts)."""
    found: list[Path] = []
    groups = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        base, name = (groups, v2) if not controllers else (groups / controller, v1)
        if controllers and controller not in controllers.split(","):
            continue
        folder = base / group.lstrip("/")
        while True:
            found.append(folder / name)
            if folder == base:
                break
            folder = folder.parent
    return [path for path in found if path.exists()]


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
