"""Memory of a process, read from /proc: resident, proportional, anonymous, file-backed, and its peak."""

from dataclasses import dataclass
from pathlib import Path

MiB = 1 << 20


@dataclass(frozen=True)
class ProcessMemory:
    """One reading, in MiB.

    rss: resident; pss: the same with shared pages divided among those who map them; anonymous: heap and stacks,
    which cannot be given back; file_backed: mapped files, which can; peak_rss: the highest rss since the start,
    kept by the kernel (VmHWM), so that no sampling can miss it.
    """

    rss_mib: float
    pss_mib: float
    anonymous_mib: float
    file_backed_mib: float
    peak_rss_mib: float


def parse_kilobytes(text: str) -> dict[str, int]:
    """The `Name: 123 kB` lines of a /proc file, in kB."""
    values: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            values[words[0].rstrip(":")] = int(words[1])
    return values


def read_process_memory(pid: int) -> ProcessMemory:
    """A reading of one process (Linux 4.14 or newer). Raises OSError when it has ended."""
    rollup = parse_kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace"))
    status = parse_kilobytes(Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    rss, anonymous = rollup["Rss"] / 1024, rollup["Anonymous"] / 1024
    return ProcessMemory(
        rss_mib=rss,
        pss_mib=rollup["Pss"] / 1024,
        anonymous_mib=anonymous,
        file_backed_mib=rss - anonymous,
        # VmHWM is brought up to date lazily and can lag behind a reading that was just taken
        peak_rss_mib=max(rss, status["VmHWM"] / 1024),
    )
