"""MovieLens 100K, as RecBole packages it: a smoke test, and figures that others have published."""

import csv
from pathlib import Path

import numpy as np

from training.data.columns import codes, rows_of
from training.data.events import SAVE, SHARE, VIEW, Catalogue, Dataset, Events
from training.data.vectors import text_vectors

_FOLDER = Path("dataset_example") / "ml-100k"


def load(package: Path) -> Dataset:
    """From the folder of the installed package."""
    rated = _rows(package / _FOLDER / "ml-100k.inter")
    films = _rows(package / _FOLDER / "ml-100k.item")
    ids, item = rows_of([row[1] for row in rated], [row[0] for row in films])
    users, user = rows_of([row[0] for row in rated])
    rating = np.array([float(row[2]) for row in rated])
    genres = [row[3] if len(row) > 3 else "" for row in films]
    texts = [f"{row[1]} ({row[2]}) {genre}" for row, genre in zip(films, genres, strict=True)]
    texts += [""] * (len(ids) - len(films))
    first_genre = [genre.split()[0] if genre else None for genre in genres]
    return Dataset(
        name="ml-100k",
        users=users,
        catalogue=Catalogue(
            ids,
            texts,
            text_vectors(texts),
            np.zeros(len(ids), np.int64),
            codes([*first_genre, *[None] * (len(ids) - len(films))]),
        ),
        events=Events.of(
            user=user,
            item=item,
            action=np.select([rating >= 5, rating >= 4], [SHARE, SAVE], VIEW),
            time_us=np.array([int(float(row[3])) for row in rated], np.int64) * 1_000_000,
        ),
        licence="GroupLens: research use, no redistribution (Harper & Konstan 2015, doi 10.1145/2827872)",
        mapping="rating 5 → share, 4 → save, lower → view; no skips",
        limits=(
            "ratings typed in at one sitting: the median user spans 49 minutes",
            "half of the adjacent timestamps tie, so much of the order is the file's: a smoke test, not evidence",
            "a film is rated once: what was seen is no candidate",
        ),
    )


def _rows(file: Path) -> list[list[str]]:
    """Tab-separated, without the header."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
