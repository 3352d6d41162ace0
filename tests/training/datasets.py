"""Small simulated worlds and random data sets for tests, with text vectors that are sums of word vectors."""

import hashlib

import numpy as np

from training.data.events import Catalogue, Dataset, Events
from training.simulator.parameters import Parameters
from training.simulator.world import World, simulate

DAY_US = 86_400_000_000


def word_vectors(texts: list[str]) -> np.ndarray:
    """Unit rows float32 [texts, 384]: each word its own direction. A blank text has a row of zeros."""
    vectors = np.zeros((len(texts), 384), np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().replace(",", "").split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
            vectors[row] += np.random.default_rng(seed).standard_normal(384)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def small_world(seed: int = 1, **changes: object) -> World:
    parameters = Parameters(**{"users": 120, "items": 96, "profiles": 8, **changes})  # type: ignore[arg-type]
    return simulate(parameters, seed, embed=word_vectors)


def random_dataset(seed: int, *, users: int = 12, items: int = 15, events: int = 200, instants: int = 60) -> Dataset:
    """Events at random, many of them simultaneous."""
    rng = np.random.default_rng(seed)
    texts = [f"item {number}" for number in range(items)]
    return Dataset(
        "random",
        [f"u{number}" for number in range(users)],
        Catalogue(texts, texts, word_vectors(texts), np.zeros(items, np.int64), np.arange(items, dtype=np.int16) % 3),
        Events.of(
            user=rng.integers(users, size=events),
            item=rng.integers(items, size=events),
            action=rng.integers(4, size=events),
            time_us=rng.integers(instants, size=events) * DAY_US // 8,
            duration_ms=np.arange(events),  # tells the rows apart
        ),
    )
