"""A database with a catalogue of any size in it, written without running the model for every item."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.suite import Conditions
from bench.texts import text_source

if TYPE_CHECKING:
    from runtime.models.bundle import Bundle
    from runtime.models.text_encoder import TextEncoder

TEXT_TOKENS = 24
_EMBEDDED = 300  # texts that the model reads; the other items lie between and around them
_MIXED = 3
_NOISE = 0.02  # a component's standard deviation: an item is some 20 degrees away from its mixture
_ITEMS_A_WRITE = 250
VENDORS = 500
_TAGS, _CATEGORIES = 40, 8


def item_id(n: int) -> str:
    """Of the n-th item, as long as a UUID."""
    return f"item-{n:031d}"


def fill(data: Path, conditions: Conditions, items: int) -> NDArray[np.float32]:
    """Store `items` items with tags, vendor and category as the runtime would; their unit vectors, [items, 384]."""
    from bench.blocking_store import BlockingStore
    from runtime.store import ContentItem
    from runtime.store.sqlite.store import SqliteStore

    bundle, encoder = _encoder(conditions)
    vectors = realistic_vectors(conditions, items)
    store = BlockingStore(SqliteStore(data))
    for start in range(0, items, _ITEMS_A_WRITE):
        store.put_content(
            [
                ContentItem(
                    id=item_id(n), fields=fields, embedding=vectors[n], model_version=encoder.model_version,
                    bundle_digest=bundle.digest, tokens=TEXT_TOKENS, truncated=False,
                )
                for n, fields in _fields(start, min(start + _ITEMS_A_WRITE, items))
            ]
        )  # fmt: skip
    store.close()
    return vectors


def realistic_vectors(conditions: Conditions, count: int) -> NDArray[np.float32]:
    """Unit vectors [count, 384]: mixtures of three of 300 embedded texts, with noise."""
    _, encoder = _encoder(conditions)
    source = text_source(conditions)
    embedded = np.stack([encoder.embed(encoder.tokenize(text).ids) for text in source.texts(TEXT_TOKENS, _EMBEDDED)])
    draw = np.random.default_rng(conditions.seed)
    shares = draw.dirichlet(np.full(_MIXED, 0.6), count).astype(np.float32)  # [count, mixed]
    picked = draw.integers(0, len(embedded), (count, _MIXED))
    vectors = draw.standard_normal((count, embedded.shape[1]), dtype=np.float32) * np.float32(_NOISE)
    for n in range(_MIXED):
        vectors += shares[:, n, np.newaxis] * embedded[picked[:, n]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _encoder(conditions: Conditions) -> tuple["Bundle", "TextEncoder"]:
    from runtime.models.bundle import Bundle
    from runtime.models.text_encoder import load_encoder

    bundle = Bundle.load(conditions.models / "minilm", kind="text-encoder")
    return bundle, load_encoder(bundle)[0]


def _fields(start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    for n in range(start, stop):
        tags = f'"tag-{n % _TAGS}","tag-{n // 7 % _TAGS}"'
        about = f'"vendor_name":"vendor {n % VENDORS}","category":"category-{n % _CATEGORIES}","tags":[{tags}]'
        yield n, f'{{"text":"venue number {n}",{about}}}'.encode()
