"""Column conversions that every loader needs: ids to rows, times to sessions, names to integer codes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SESSION_GAP_US = 30 * 60 * 1_000_000


def rows_of(ids: Sequence[str], known: Sequence[str] = ()) -> tuple[list[str], NDArray[np.int32]]:
    """Distinct ids, `known` first and the others in order of appearance, and each id's row among them, int32 [n]."""
    row: dict[str, int] = {id: number for number, id in enumerate(known)}
    rows = np.fromiter((row.setdefault(id, len(row)) for id in ids), np.int32, len(ids))
    return list(row), rows


def sessions(user: NDArray[np.integer], time_us: NDArray[np.int64]) -> NDArray[np.int32]:
    """Session numbers int32 [n] in the rows' own order: a new one for each user and after each SESSION_GAP_US."""
    order = np.lexsort((time_us, user))
    u, t = user[order], time_us[order]
    starts = np.r_[True, (u[1:] != u[:-1]) | (t[1:] - t[:-1] > SESSION_GAP_US)] if len(u) else np.zeros(0, np.bool_)
    numbers = np.empty(len(u), np.int32)
    numbers[order] = np.cumsum(starts) - 1
    return numbers


def codes(names: Sequence[str | None]) -> NDArray[np.int16]:
    """Integer codes of names in order of appearance, −1 for None or an empty name: int16 [n]."""
    code: dict[str, int] = {}
    return np.fromiter((code.setdefault(name, len(code)) if name else -1 for name in names), np.int16, len(names))
