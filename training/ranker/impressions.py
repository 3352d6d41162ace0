"""Rankings that experiments showed, as lists to learn from: what was shown and touched against what was shown and not.

A user can choose only among what was shown, and looks at the first positions more. So an answered ranking is a list of
its own, with its positions, in place of a list of the whole catalogue in which whatever was never shown would count as
rejected.
"""

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.neighbours import Neighbours
from training.data.events import SKIP, Dataset, Events, Histories
from training.data.exposures import Exposures
from training.evaluation.sequence import SequenceRecommender
from training.ranker.lists import Lists, padded
from training.ranker.replay import Replay
from training.ranker.sequence_scores import SequenceCosines, has_enough

MOST = 3_000  # lists of a fit


def histories_before(log: Events, exposures: Exposures, rows: NDArray[np.int64]) -> Histories:
    """What the users of these exposures had done before them."""
    users = exposures.user[rows]
    starts, ends = np.searchsorted(log.user, users), np.searchsorted(log.user, users, side="right")
    before = [
        start + int(np.searchsorted(log.time_us[start:end], time_us))
        for start, end, time_us in zip(starts.tolist(), ends.tolist(), exposures.time_us[rows].tolist(), strict=True)
    ]
    return Histories(log, starts.astype(np.int64), np.array(before, np.int64), users, log)


def answers(events: Events, exposures: Exposures | None) -> NDArray[np.bool_]:
    """Which events engage with something that a ranking showed, bool [events]."""
    found = (events.exposure >= 0) & (events.action != SKIP)
    if exposures is None:
        return np.zeros(len(events), np.bool_)
    for row in np.flatnonzero(found).tolist():
        of = int(events.exposure[row])
        shown = exposures.item[exposures.entries(of)][: exposures.shown[of]]
        found[row] = events.item[row] in shown
    return found


def impression_lists(
    dataset: Dataset,
    log: Events,
    answered: Events,
    table: Neighbours | None,
    *,
    sequence: SequenceRecommender | None = None,
    most: int = MOST,
) -> Lists:
    """A list for each of the events `answered` (see `answers`), at most `most`, evenly spaced: its item first, then
    what was shown beside it and touched by none of them. log: everything that happened. sequence: its cosine is then a
    feature, and users with too few events for it are left out."""
    exposures = dataset.exposures
    assert exposures is not None
    touched: dict[int, set[int]] = {}
    for of, item in zip(answered.exposure.tolist(), answered.item.tolist(), strict=True):
        touched.setdefault(of, set()).add(item)
    chosen = np.unique(np.linspace(0, len(answered) - 1, min(most, len(answered))).round().astype(np.int64))
    of = answered.exposure[chosen].astype(np.int64)
    histories, cosines = histories_before(log, exposures, of), None
    if sequence is not None:
        enough = has_enough(sequence, histories)
        histories, of, chosen = histories.take(enough), of[enough], chosen[enough]
        cosines = SequenceCosines(sequence, histories, exposures.time_us[of], answered.device[chosen])
    replay = Replay(dataset, log)
    made: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for query in replay.queries(histories, exposures.time_us[of]):
        exposure, target = int(of[query.position]), int(answered.item[chosen[query.position]])
        shown = exposures.item[exposures.entries(exposure)][: exposures.shown[exposure]]
        others = [place for place, item in enumerate(shown.tolist()) if item not in touched[exposure]]
        places = np.array([int(np.flatnonzero(shown == target)[0]), *others])
        by_sequence = None if cosines is None else cosines.of(query.position)[shown[places]]
        features = query.features(shown[places], dataset.catalogue.vectors, table, sequence=by_sequence)
        made.append((features, np.log1p(places).astype(np.float32)))
    return padded(
        [features for features, _ in made],
        [np.zeros(len(features), np.float32) for features, _ in made],
        [places for _, places in made],
    )
