"""Held-out histories that travel with a checkpoint, so that an export is judged on what the model is for."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.events import SKIP, Dataset

HISTORIES, EVENTS, ITEMS = 128, 200, 1_000  # at most, and events a history


def held_out_sample(dataset: Dataset, scored: NDArray[np.bool_]) -> dict[str, Tensor]:
    """Histories before a scored event with an item that was wanted, of different users, spread over them.

    vectors f16 [items, 384] and row int64 [items] (of the id-embedding): the items named below and others;
    starts int64 [h + 1] and, for its events, item (index into vectors), action, device, time_us, duration_ms and
    days_to_wedding; now_us, now_device, target (index into vectors) [h] and stated f16 [h, 384].
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
    stated = np.zeros((len(chosen), dataset.catalogue.vectors.shape[1]), np.float32)
    if dataset.stated is not None:
        stated = dataset.stated[events.user[targets]]
    arrays = {
        "vectors": dataset.catalogue.vectors[row].astype(np.float16),
        "row": row,
        "starts": np.cumsum([0, *(target - start for start, target in chosen)]).astype(np.int64),
        "item": index[events.item[history]],
        "action": events.action[history],
        "device": events.device[history],
        "time_us": events.time_us[history],
        "duration_ms": events.duration_ms[history],
        "days_to_wedding": events.days_to_wedding[history],
        "now_us": events.time_us[targets],
        "now_device": events.device[targets],
        "target": index[events.item[targets]],
        "stated": stated.astype(np.float16),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
