"""Comparisons with intervals, from rows of results and the values of each event."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Interval, interval_over_seeds, interval_over_worlds
from training.experiments.study.baselines import BASELINES, INSTALLED, RANKERS
from training.experiments.study.data import is_world
from training.experiments.study.jobs import Arrays, Row
from training.experiments.study.records import Comparison, read_arrays, read_rows
from training.experiments.study.variants import FULL
from training.ranker.recommender import Hybrid, Prior

# Metric → the array of the values of each event, of their users, and of which events count (all where there is none)
_ARRAYS = {
    "ndcg10": ("ndcg", "ranking_user", None),
    "ndcg10_met": ("ndcg", "ranking_user", "ranking_met"),
    "hr10": ("hit", "ranking_user", None),
    "accuracy": ("right", "action_user", None),
    "log_loss": ("loss", "action_user", None),
}
SETS, WORLDS = "sets", "worlds"
_NO_BASELINES = {Hybrid.name, Prior.name, INSTALLED}  # of what is compared on worlds: this project's own models


class Unit(NamedTuple):
    """One world, or one seed of a training on a public set: values float [n] and users int [n] of its events."""

    values: NDArray[np.float64]
    users: NDArray[np.integer]


Key = tuple[str, str, str, str]  # data or kind of worlds, model, start, effort


def summarise(folders: Sequence[Path]) -> list[Comparison]:
    """All comparisons of these folders of results. A row that was made again counts once, the later one."""
    found: list[Comparison] = []
    rows: dict[tuple[str, str, int, str, str], tuple[Row, Arrays]] = {}
    for folder in folders:
        arrays = read_arrays(folder)
        for row in read_rows(folder):
            if row.queries and not row.failed and f"{row.queries}/action_user" in arrays:
                rows[row.data, row.model, row.seed, row.start, row.effort] = row, arrays
    made = list(rows.values())
    found += _compared(SETS, [one for one in made if not is_world(one[0].data)])
    found += _compared(WORLDS, [one for one in made if is_world(one[0].data)])
    return found


def _compared(section: str, rows: list[tuple[Row, Arrays]]) -> Iterator[Comparison]:
    by_key: dict[Key, list[tuple[Row, Arrays]]] = defaultdict(list)
    for row, arrays in rows:
        data = row.data.split(", ", 1)[1] if section == WORLDS else row.data
        by_key[data, row.model, row.start, row.effort].append((row, arrays))
    for key, own in by_key.items():
        data, model, start, effort = key
        for metric in _ARRAYS:
            units = _units(own, metric, section)
            if not units:
                continue
            base = _base(by_key, key, metric)
            value = _interval([one for one, _ in units], section)
            worlds = len({row.data for row, _ in own}) if section == WORLDS else 0
            found = Comparison(
                section=section, data=data, model=model, start=start, effort=effort, metric=metric,
                value=_rounded(value.value), low=_rounded(value.low), high=_rounded(value.high),
                seeds=len({row.seed for row, _ in own}), worlds=worlds,
                events=sum(len(one.values) for one, _ in units), machine=own[0][0].machine,
            )  # fmt: skip
            paired = _paired(units, _units(by_key[base], metric, section)) if base != key and base in by_key else []
            yield found if not paired else _with_difference(found, base[1], paired)


def _base(by_key: Mapping[Key, list[tuple[Row, Arrays]]], key: Key, metric: str) -> Key:
    """What a model is compared with: rankers with the one that is served, a part left out with the full model, and a
    full model that was pre-trained on other worlds with the best of the baselines on the same events."""
    data, model, start, effort = key
    if model != FULL or not start:
        return data, Hybrid.name if model in RANKERS else FULL, start.replace(model, FULL, 1), effort
    sign = -1.0 if metric == "log_loss" else 1.0
    values: dict[Key, float] = {}
    for name in BASELINES.keys() - _NO_BASELINES:
        other = (data, name, "", effort)
        paired = _units(by_key[other], metric, WORLDS) if other in by_key else []
        if paired:
            values[other] = sign * float(np.mean([unit.values.mean() for unit, _ in paired]))
    return max(values, key=lambda other: values[other], default=key)


def _units(rows: list[tuple[Row, Arrays]], metric: str, section: str) -> list[tuple[Unit, str]]:
    """The values of each unit with its name: a seed of a public set, or a world, whose seeds are averaged."""
    found: dict[str, list[Unit]] = defaultdict(list)
    value_name, user_name, counted_name = _ARRAYS[metric]
    for row, arrays in rows:
        values = arrays.get(f"{row.number}/{value_name}")
        if values is None:
            continue
        counted = arrays.get(f"{row.queries}/{counted_name}") if counted_name else np.ones(len(values), bool)
        if counted is not None and counted.any():
            name = f"{row.queries}" if section == WORLDS else f"{row.queries} {row.seed}"
            users = arrays[f"{row.queries}/{user_name}"]
            found[name].append(Unit(values[counted].astype(np.float64), users[counted]))
    return [(Unit(np.mean([one.values for one in own], axis=0), own[0].users), name) for name, own in found.items()]


def _paired(ours: list[tuple[Unit, str]], theirs: list[tuple[Unit, str]]) -> list[Unit]:
    """Differences on the units that both have."""
    base = {name: unit for unit, name in theirs}
    return [Unit(unit.values - base[name].values, unit.users) for unit, name in ours if name in base]


def _interval(units: list[Unit], section: str) -> Interval:
    """Over worlds and their users, or over the seeds of a public set and its users."""
    if section == WORLDS:
        return interval_over_worlds(units)
    return interval_over_seeds(np.stack([one.values for one in units]), units[0].users)


def _with_difference(found: Comparison, against: str, paired: list[Unit]) -> Comparison:
    difference = _interval(paired, found.section)
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    return Comparison(
        **values
        | {
            "against": against, "difference": _rounded(difference.value), "difference_low": _rounded(difference.low),
            "difference_high": _rounded(difference.high),
        }
    )  # fmt: skip


def _rounded(value: float) -> float:
    return round(value, 5)
