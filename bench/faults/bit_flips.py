"""Flipped bits in a database file: each is refused, reported, or changes nothing that anybody reads."""

import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.blocking_store import BlockingStore
from runtime.store import ContentItem, Embedding, Interaction, Preferences, StoreError
from runtime.store.sqlite.connection import DATABASE
from runtime.store.sqlite.store import SqliteStore

ITEMS, USERS, EVENTS = 40, 9, 200
REFUSED = "refused"
_BUNDLE = "bundle-1"


@dataclass
class Flips:
    """What became of the flips. `silent`: wrong answers that nothing reported, each with its place."""

    refused_starts: int = 0
    reported: int = 0
    harmless: int = 0
    silent: list[str] = field(default_factory=list)


def flip_bits(folder: Path, flips: int, seed: int) -> Flips:
    """Flip one bit at a time of a filled database, open it and read everything, `flips` times."""
    data = folder / "data"
    store = BlockingStore(SqliteStore(data, dimensions=4))
    fill(store)
    before = everything(store)
    store.close()
    draw, found = random.Random(seed), Flips()
    size = (data / DATABASE).stat().st_size
    for number in range(flips):
        copy = folder / "flipped"
        shutil.copytree(data, copy)
        place = draw.randrange(size)
        flip(copy / DATABASE, place, draw.randrange(8))
        _look(copy, before, found, f"flip {number} at byte {place}")
        shutil.rmtree(copy)
    return found


def flip(file: Path, place: int, bit: int) -> None:
    """Change one bit of a file in place."""
    with file.open("r+b") as opened:
        byte = os.pread(opened.fileno(), 1, place)[0]
        os.pwrite(opened.fileno(), bytes([byte ^ (1 << bit)]), place)


def _look(copy: Path, before: dict[str, Any], found: Flips, where: str) -> None:
    with log_of_store() as lines:
        try:
            store = BlockingStore(SqliteStore(copy, dimensions=4))
        except StoreError:
            found.refused_starts += 1
            return
        after = everything(store)
        store.close()
    if wrong := silently_wrong(before, after, "\n".join(lines)):
        found.silent.append(f"{where}: {', '.join(wrong)}")
    elif after == before:
        found.harmless += 1
    else:
        found.reported += 1


def fill(store: BlockingStore) -> None:
    """Items, events of several users, preferences: something in every table that is read."""
    store.put_content([item(f"item-{n}", n, b'{"text":"%d"}' % n * 20) for n in range(ITEMS)])
    for n in range(EVENTS):
        event = Interaction(
            event_id=f"e-{n}", user_id=f"user-{n % USERS}", content_id=f"item-{n % ITEMS}", type="save",
            time_us=1_000 + n, duration_ms=n, device="web", context=b'{"guests":%d}' % n,
        )  # fmt: skip
        store.add_interactions([event])
    for n in range(USERS):
        store.put_preferences(f"user-{n}", preferences(n))


def item(id: str, direction: int, fields: bytes) -> ContentItem:
    """An item whose vector points in one of four directions."""
    return ContentItem(
        id=id, fields=fields, embedding=_vector(direction), model_version="v1", bundle_digest=_BUNDLE, tokens=3,
        truncated=False,
    )  # fmt: skip


def preferences(direction: int) -> Preferences:
    """Preferences whose vector points in one of four directions."""
    return Preferences(
        preferences=[f"preference {direction}"], embedding=_vector(direction), model_version="v1", bundle_digest=_BUNDLE
    )


def _vector(direction: int) -> Embedding:
    vector: Embedding = np.eye(4, dtype=np.float32)[direction % 4]
    return vector


def everything(store: BlockingStore) -> dict[str, Any]:
    """What every reader says, as plain values; REFUSED in the place of what it refuses."""

    def read(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return plain(call(*arguments, **options))
        except StoreError:
            return REFUSED

    items, users = [f"item-{n}" for n in range(ITEMS)], [f"user-{n}" for n in range(USERS)]
    found = {id: read(store.get_content, id) for id in items}
    for user in users:
        found[user] = read(store.get_user, user)
        for name in ("get_preferences", "seen", "history"):
            found[f"{name} {user}"] = read(getattr(store, name), user)
        for name in ("newest", "recent"):
            found[f"{name} {user}"] = read(getattr(store, name), user, 256)
    found["item counts"] = read(store.item_counts, items)
    found["log"] = read(lambda: store.log(limit=EVENTS + 1)[0])
    found["vectors"] = read(lambda: [(page.ids, page.embeddings) for page in store.vectors(_BUNDLE, rows=100)])
    found["counts"] = read(store.counts)
    return found


def plain(value: Any) -> Any:
    """A record as lists, dictionaries, numbers and bytes, which compare by value."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if hasattr(value, "__struct_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "encode") and not isinstance(value, str):  # sums
        return value.encode()
    return value


def silently_wrong(before: dict[str, Any], after: dict[str, Any], log: str) -> list[str]:
    """Names of what is read otherwise than before, and neither refused nor reported."""
    reported = "left out" in log or "damaged" in log
    wrong = [name for name in before if after[name] not in (before[name], REFUSED)]
    return [] if reported else wrong


@contextmanager
def log_of_store() -> Iterator[list[str]]:
    """The lines that the store writes meanwhile, kept off the terminal."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("vows")
    propagates, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.propagate = propagates
