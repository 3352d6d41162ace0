"""What a figure was measured on: CPU, cores, memory, versions and the revision of the code."""

import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from runtime.system.host import cpu_model

VECTOR_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp")
PACKAGES = ("numpy", "onnxruntime", "tokenizers", "starlette", "uvicorn", "uvloop", "httptools", "msgspec")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Machine:
    """CPU model, the vector instruction sets it has of those that matter here, usable cores, memory, kernel."""

    cpu: str
    flags: tuple[str, ...]
    cores: int
    memory_mib: int
    system: str

    def as_dict(self) -> dict[str, object]:
        """Plain values for the history."""
        return {**asdict(self), "flags": list(self.flags)}


def _cpu_fields() -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def read_machine() -> Machine:
    """This machine, from /proc (Linux only)."""
    cpu = _cpu_fields()
    present = set(cpu.get("flags", cpu.get("Features", "")).split())
    return Machine(
        cpu=cpu_model(),
        flags=tuple(flag for flag in VECTOR_FLAGS if flag in present),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        system=f"{platform.system()} {platform.release()}",
    )


def read_versions() -> dict[str, str]:
    """Versions of Python and of what the server runs on; a package that is absent is left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def read_revision() -> tuple[str, bool]:
    """Git revision (12 hex digits, or "unknown") and whether tracked files differ from it."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    revision = git("rev-parse", "--short=12", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/history.jsonl")
    return revision or "unknown", bool(changes)
