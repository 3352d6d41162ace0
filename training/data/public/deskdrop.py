"""CI&T Deskdrop: articles read, kept and shared inside one company. The closest real thing to this project."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from training.data.columns import rows_of
from training.data.events import SAVE, SHARE, VIEW, Catalogue, Dataset, Events
from training.data.files import codes32, read_columns
from training.data.vectors import text_vectors

_ACTIONS = {"view": VIEW, "like": SAVE, "bookmark": SAVE, "comment": SHARE, "follow": SHARE}


def load(folder: Path) -> Dataset:
    """From `events.parquet` and `items.parquet`; exact repeats of (user, item, action, second) are dropped."""
    table = pq.read_table(folder / "events.parquet").sort_by([("timestamp", "ascending"), ("source_row", "ascending")])
    columns = {name: table.column(name).to_pylist() for name in ("user_id", "content_id", "action", "session_id")}
    time_us = table.column("timestamp").cast("int64").to_numpy()
    items = read_columns(folder / "items.parquet")
    ids, item = rows_of(columns["content_id"], items["content_id"])
    users, user = rows_of(columns["user_id"])
    action = np.array([_ACTIONS[name] for name in columns["action"]])
    names = codes32(columns["action"])
    _, first = np.unique(np.stack([user, item, names, time_us]), axis=1, return_index=True)
    kept = np.sort(first)
    session = codes32(columns["session_id"])
    texts = [title or "" for title in items["title"]] + [""] * (len(ids) - len(items["title"]))
    return Dataset(
        name="deskdrop",
        users=users,
        catalogue=Catalogue(
            ids, texts, text_vectors(texts), np.zeros(len(ids), np.int64), np.full(len(ids), -1, np.int16)
        ),
        events=Events.of(
            user=user[kept], item=item[kept], action=action[kept], time_us=time_us[kept], session=session[kept]
        ),
        licence="published openly for research; the licence label was not seen, so nothing trained on it is shipped",
        mapping="view → view; like, bookmark → save; comment, follow → share; exact repeats dropped",
        limits=(
            "no impressions and no skips: what was not opened may not have been seen",
            "most events are views: accuracy says little, macro-F1 and log-loss more",
            "seconds tie; the source's row order stands, and events of one second do not predict each other",
            "when an article appeared is unknown, so every article is a candidate at all times",
            "traffic falls towards the end: the late cut is thin",
        ),
    )
