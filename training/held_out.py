"""Held-out histories stored with a checkpoint: an export is compared with the weights on them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.events import SKIP, Dataset

HISTORIES, EVENTS, ITEMS = 128, 200, 1_000  # at most: histories, events of each, items


def held_out_sample(dataset: Dataset, scored: NDArray[np.bool_]) -> dict[str, Tensor]:
    """The histories of up to 128 users, evenly spaced, each before the user's last scored engaged event.

    vectors float16 [items, 384] and row int64 [items] (of the id embedding): the items below and others;
    starts int64 [h + 1], and for the events of all histories: item (index into vectors), action, device, time_us,
    duration_ms, days_to_event; now_us, now_device and target (index into vectors) [h];
    preference_embedding float16 [h, 384]. Empty where no event qualifies.
    """
    events, starts = dataset.events, dataset.starts
    users = []
    for user in range(len(dataset.users)):
        rows = np.arange(starts[user], starts[user + 1])
        wanted = rows[scored[rows] & (events.action[rows] != SKIP)]
        if len(wanted) and wanted[-1] > starts[user]:
            users.append((max(int(starts[user]), int(wanted[-1]) - EVENTS), int(wanted[-1])))
    if not users:
        return {}
    chosen = [users[n] for n in np.unique(np.linspace(0, len(users) - 1, HISTORIES).astype(np.int64))]
    used = np.unique(np.concatenate([events.item[start : target + 1] for start, target in chosen]))
    others = np.setdiff1d(np.arange(len(dataset.catalogue)), used)
    row = np.concatenate([used, others[: max(ITEMS - len(used), 0)]]).astype(np.int64)
    index = np.zeros(len(dataset.catalogue), np.int32)
    index[row] = np.arange(len(row))
    history = np.concatenate([np.arange(start, target) for start, target in chosen])
    targets = np.array([target for _, target in chosen])
    preference_embedding = np.zeros((len(chosen), dataset.catalogue.vectors.shape[1]), np.float32)
    if dataset.preference_embedding is not None:
        preference_embedding = dataset.preference_embedding[events.user[targets]]
    arrays = {
        "vectors": dataset.catalogue.vectors[row].astype(np.float16),
        "row": row,
        "starts": np.cumsum([0, *(target - start for start, target in chosen)]).astype(np.int64),
        "item": index[events.item[history]],
        "action": events.action[history],
        "device": events.device[history],
        "time_us": events.time_us[history],
        "duration_ms": events.duration_ms[history],
        "days_to_event": events.days_to_event[history],
        "now_us": events.time_us[targets],
        "now_device": events.device[targets],
        "target": index[events.item[targets]],
        "preference_embedding": preference_embedding.astype(np.float16),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
