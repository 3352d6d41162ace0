"""The runtime's event log: its SQLite file, opened read-only, also while the server writes to it."""

import math
from pathlib import Path

import msgspec
import numpy as np

from runtime.catalog.item_fields import Content, embedding_text
from runtime.personalization.actions import TYPES
from runtime.personalization.sequence_features import DAYS_TO_EVENT_KEY, days_to_event, device_code
from runtime.serving.experiment_state import arm_and_batch
from runtime.store.sqlite.connection import DATABASE, open_reader
from training.data.columns import rows_of, sessions
from training.data.events import ACTIONS, Catalogue, Dataset, Events
from training.data.exposures import Exposure, Exposures, rows_by_key

_decode_items = msgspec.json.Decoder(list[list[str | float]]).decode

_EVENTS = """SELECT u.id, c.id, l.type, l.time_us, l.duration_ms, l.device, l.context, l.exposure
    FROM interactions l JOIN users u ON u.key = l.user JOIN content_ids c ON c.key = l.content ORDER BY l.sequence"""
_CONTENT = "SELECT i.id, c.fields, c.embedding, c.created_us FROM content c JOIN content_ids i USING (key) ORDER BY key"
_EXPOSURES = """SELECT e.sequence, u.id, e.time_us, a.experiment, a.period, a.arm, e.items
    FROM exposures e JOIN users u ON u.key = e.user JOIN experiment_arms a ON a.key = e.arm ORDER BY e.sequence"""
_PREFERENCES = "SELECT u.id, p.embedding FROM preferences p JOIN users u USING (key)"


def read_event_log(path: Path, *, days_to_event_key: str = DAYS_TO_EVENT_KEY) -> Dataset:
    """Everything in the database at `path`, the file or the data folder that contains it.

    days_to_event_key: name in an interaction's context of the days until the date the user plans for.

    Simultaneous events keep the order in which the server received them. Deleted content has no text and a zero vector.
    Raises FileNotFoundError where there is no database, StoreError where it is not one of this program.
    """
    file = path / DATABASE if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"no event log at {file}: give the server's data folder or its {DATABASE}")
    assert TYPES == ACTIONS  # the log's codes are the schema's
    connection = open_reader(file)
    try:
        connection.execute("BEGIN")  # one snapshot for all queries
        logged = connection.execute(_EVENTS).fetchall()
        stored = connection.execute(_CONTENT).fetchall()
        preferences = connection.execute(_PREFERENCES).fetchall()
        exposures = [_exposure(*row) for row in connection.execute(_EXPOSURES)]
    finally:
        connection.close()
    ids, item = rows_of([row[1] for row in logged], [row[0] for row in stored])
    ids, _ = rows_of([id for one in exposures for id in one.ids], ids)
    users, user = rows_of([row[0] for row in logged])
    users, _ = rows_of([one.user_id for one in exposures], users)
    dimensions = len(stored[0][2]) // 4 if stored else 384
    vectors = np.zeros((len(ids), dimensions), np.float32)
    created_us = np.zeros(len(ids), np.int64)
    texts = [""] * len(ids)
    for row, (_, fields, embedding, created) in enumerate(stored):
        vectors[row] = np.frombuffer(embedding, "<f4")
        created_us[row] = created
        texts[row] = embedding_text(msgspec.json.decode(fields, type=Content))[0]
    time_us = np.array([row[3] for row in logged], np.int64)
    # Events may be older than the server's record of their item: then the item is as old as its first event
    np.minimum.at(created_us, item, time_us)
    preference_embedding = np.zeros((len(users), dimensions), np.float32)
    place = {id: number for number, id in enumerate(users)}
    for id, embedding in preferences:
        if id in place:
            preference_embedding[place[id]] = np.frombuffer(embedding, "<f4")
    return Dataset(
        name=f"event log {file}",
        users=users,
        catalogue=Catalogue(ids, texts, vectors, created_us, np.full(len(ids), -1, np.int16)),
        events=Events.of(
            user=user,
            item=item,
            action=[row[2] for row in logged],
            time_us=time_us,
            duration_ms=[math.nan if row[4] is None else row[4] for row in logged],
            device=[device_code(row[5]) for row in logged],
            session=sessions(user, time_us),
            days_to_event=[days_to_event(row[6], days_to_event_key) for row in logged],
            exposure=rows_by_key(exposures, [row[7] for row in logged]),
        ),
        licence="yours",
        mapping=f"actions as logged; sessions by 30 minutes of inactivity; {days_to_event_key} from the context",
        limits=("items shown and ignored are known within experiments, and elsewhere where the client reports skips",),
        preference_embedding=preference_embedding,
        days_to_event_key=days_to_event_key,
        exposures=Exposures.of(exposures, place, {id: row for row, id in enumerate(ids)}) if exposures else None,
    )


def _exposure(key: int, user_id: str, time_us: int, experiment: str, period: int, arm: str, items: bytes) -> Exposure:
    placed = _decode_items(items)
    return Exposure(
        key,
        user_id,
        time_us,
        f"{experiment}, period {period}, {arm_and_batch(arm)[0]}",  # users of all batches see what the arm shows
        [(str(one[0]), float(one[1])) for one in placed if len(one) > 1],
        [str(one[0]) for one in placed if len(one) == 1],
    )
