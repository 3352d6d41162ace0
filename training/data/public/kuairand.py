"""KuaiRand, the users who both liked and hated: short videos with explicit dislikes."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from training.data.columns import rows_of, sessions
from training.data.events import SAVE, SHARE, SKIP, VIEW, Catalogue, Dataset, Events

_REACHED = {"like": SAVE, "share": SHARE, "comment": SHARE, "follow": SHARE}


def load(folder: Path) -> Dataset:
    """One event an impression: a skip where it was hated, else the furthest action it reached."""
    table = pq.read_table(folder / "events.parquet")
    impression = table.column("impression").to_numpy()
    names = np.array(table.column("action").to_pylist())
    _, first, of = np.unique(impression, return_index=True, return_inverse=True)
    action = np.full(len(first), VIEW)
    for name, code in _REACHED.items():
        np.maximum.at(action, of[names == name], code)
    action[of[names == "hate"]] = SKIP
    columns = {name: table.column(name).take(first) for name in ("user_id", "content_id", "timestamp", "play_time_ms")}
    ids, item = rows_of(columns["content_id"].to_pylist())
    users, user = rows_of(columns["user_id"].to_pylist())
    time_us = columns["timestamp"].cast("int64").to_numpy()
    n = len(ids)
    return Dataset(
        name="kuairand_explicit",
        users=users,
        catalogue=Catalogue(
            ids, [""] * n, np.zeros((n, 384), np.float32), np.zeros(n, np.int64), np.full(n, -1, np.int16)
        ),
        events=Events.of(
            user=user, item=item, action=action, time_us=time_us, duration_ms=columns["play_time_ms"].to_numpy(),
            session=sessions(user, time_us),
        ),
        licence="CC BY-SA 4.0, Gao et al., CIKM 2022, doi 10.1145/3511808.3557624",
        mapping="per impression: hate → skip; else share, comment, follow → share; like → save; other → view",
        limits=(
            "only impressions with a like or a hate, only users with both: shares of actions are not the platform's",
            "no texts: content vectors are zero, and models of text rank by nothing",
            "impressions of one millisecond have no order; the source's stands",
        ),
    )  # fmt: skip
