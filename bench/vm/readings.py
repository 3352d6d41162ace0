"""What the guest says of its memory: readings as its first process writes them, twice a second of its own time."""

from dataclasses import dataclass

PAGE_MIB = 4096 / (1 << 20)
_END = "end"
_ENDED = "ended"


@dataclass(frozen=True)
class Reading:
    """One reading, in MiB, of the whole guest and, once it runs, of the service in it.

    total: what the guest's kernel leaves of the machine; available: MemAvailable; oom_kills, major_faults and
    refaulted (file pages read again after they were given up) count from the boot. peak_rss is VmHWM, exact between
    readings too; the service's figures are None before it starts and after it ends.
    """

    total_mib: float
    available_mib: float
    oom_kills: int
    major_faults: int
    refaulted_mib: float
    rss_mib: float | None = None
    anonymous_mib: float | None = None
    peak_rss_mib: float | None = None


@dataclass(frozen=True)
class GuestLog:
    """All readings so far, and the service's exit status once it has ended (137 when it was killed)."""

    readings: list[Reading]
    ended: int | None


def parse_log(text: str) -> GuestLog:
    """The log of the guest's second serial line. A reading that is still being written is left out.

    Raises ValueError when a finished reading lacks a figure.
    """
    readings: list[Reading] = []
    ended: int | None = None
    values: dict[str, int] = {}
    lines = text.replace("\r", "").split("\n")
    for line in lines[:-1]:  # the last one has no end yet
        words = line.replace(":", " ").split()
        if words == [_END]:
            readings.append(_reading(values))
            values = {}
        elif len(words) >= 2 and words[0] == _ENDED:
            ended = int(words[1])
        elif len(words) >= 2:
            values[words[0]] = int(words[1])
    return GuestLog(readings, ended)


def _reading(values: dict[str, int]) -> Reading:
    try:
        return Reading(
            total_mib=values["MemTotal"] / 1024,
            available_mib=values["MemAvailable"] / 1024,
            oom_kills=values["oom_kill"],
            major_faults=values["pgmajfault"],
            refaulted_mib=values["workingset_refault_file"] * PAGE_MIB,
            rss_mib=_mib(values, "VmRSS"),
            anonymous_mib=_mib(values, "RssAnon"),
            peak_rss_mib=_mib(values, "VmHWM"),
        )
    except KeyError as missing:
        raise ValueError(f"the guest's reading has no {missing}; it has {sorted(values)}") from None


def _mib(values: dict[str, int], name: str) -> float | None:
    return values[name] / 1024 if name in values else None
