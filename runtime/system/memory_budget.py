"""What the parts of a process may still take, summed and compared with what this machine has left."""

from collections.abc import Mapping
from dataclasses import dataclass

MiB = 1 << 20


class MemoryBudgetError(Exception):
    """The parts together exceed the memory there is. The message lists them and says what to change."""


@dataclass(frozen=True)
class MemoryBudget:
    """All in bytes. `parts`: what each may take that it does not hold yet, all of them at the same time. `available`:
    what this process may still take, None if unknown. `reserve`: what of that is left alone."""

    parts: Mapping[str, int]
    available: int | None
    reserve: int = 0

    @property
    def total(self) -> int:
        """What the parts may take together."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether all parts can have theirs and the reserve is left. True where it is unknown what is available."""
        return self.available is None or self.total + self.reserve <= self.available

    def lines(self) -> str:
        """The budget as a table, largest part first."""
        rows = sorted(self.parts.items(), key=lambda row: -row[1])
        table = [f"  {_mib(size):>9}  {part}" for part, size in rows if size]
        available = "unknown" if self.available is None else _mib(self.available)
        table.append(f"  {_mib(self.total):>9}  in all; available: {available}, of it left alone: {_mib(self.reserve)}")
        return "\n".join(table)

    def check(self, advice: str) -> None:
        """Raises MemoryBudgetError when the parts do not fit; `advice` says what to do then."""
        if not self.fits:
            assert self.available is not None
            raise MemoryBudgetError(
                f"the server may come to take {_mib(self.total)} more than it holds now, but only "
                f"{_mib(max(0, self.available - self.reserve))} are available:\n{self.lines()}\n{advice}"
            )


def _mib(size: int) -> str:
    return f"{size / MiB:.1f} MiB"
