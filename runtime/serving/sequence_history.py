"""A stored history as the sequence model reads it."""

import numpy as np

from runtime.catalog.catalog import Catalog
from runtime.models.sequence_model import History
from runtime.personalization.sequence_features import days_to_event, device_code
from runtime.serving.candidates import find
from runtime.serving.sequence_items import Served, completed
from runtime.serving.sequence_thread import SequenceThread
from runtime.store import UserHistory


async def model_history(thread: SequenceThread, catalog: Catalog, served: Served, stored: UserHistory) -> History:
    """The events whose content is in the catalogue, with their vectors. Raises QueueFull."""
    found = find(catalog, stored.content_ids)
    known, kept = found.known, served.items.read(found.rows, found.versions)
    metadata = await found.metadata(catalog)
    key = served.model.days_to_event_key
    return History(
        content=served.model.learned(found.ids, metadata),
        item=await completed(thread, served, found, kept, metadata[kept.missing]),
        action=stored.action[known],
        device=np.array([device_code(device) for device in stored.device], np.int8)[known],
        time_us=stored.time_us[known],
        duration_ms=stored.duration_ms[known],
        days_to_event=np.array([days_to_event(one, key) for one in stored.context], np.float32)[known],
    )
