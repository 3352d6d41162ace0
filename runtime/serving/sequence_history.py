"""A stored history as the sequence model reads it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.models.sequence_model import History
from runtime.personalization.sequence_features import days_to_event, device_code
from runtime.serving.candidates import find
from runtime.serving.sequence_items import Served, completed
from runtime.serving.sequence_thread import SequenceThread
from runtime.store import UserHistory


class ReadHistory(NamedTuple):
    """`events` are those whose content is in the catalogue; `rows` and `versions` [events]: of it there."""

    events: History
    rows: NDArray[np.intp]
    versions: NDArray[np.uint32]


async def model_history(thread: SequenceThread, catalog: Catalog, served: Served, stored: UserHistory) -> ReadHistory:
    """The events whose content is in the catalogue, with their vectors. Raises QueueFull or DeadlineExceeded."""
    found = find(catalog, stored.content_ids)
    known, kept = found.known, served.items.read(found.rows, found.versions)
    metadata = await found.metadata(catalog)
    key = served.model.days_to_event_key
    devices = {device: device_code(device) for device in set(stored.device)}
    events = History(
        content=served.model.learned(found.ids, metadata),
        item=await completed(thread, served, found, kept, metadata[kept.missing]),
        action=stored.action[known],
        device=np.array([devices[device] for device in stored.device], np.int8)[known],
        time_us=stored.time_us[known],
        duration_ms=stored.duration_ms[known],
        days_to_event=np.array([days_to_event(one, key) for one in stored.context], np.float32)[known],
    )
    return ReadHistory(events, found.rows, found.versions)
