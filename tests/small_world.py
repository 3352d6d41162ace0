"""A small world with an order to learn: seconds to train on, with generic items."""

import numpy as np

from training.data.events import Catalogue, Dataset, Events

ITEMS, USERS, EACH = 40, 60, 30
CONTENT = 384
DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000


def small_world(seed: int = 0, users: int = USERS, each: int = EACH) -> Dataset:
    """Users walk through the items in steps of one or two, skip odd ones and save where a device says so."""
    draw = np.random.default_rng(seed)
    vectors = np.random.default_rng(99).normal(size=(ITEMS, CONTENT)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    user = np.repeat(np.arange(users), each)
    steps = draw.integers(1, 3, (users, each)).cumsum(axis=1) + draw.integers(0, ITEMS, (users, 1))
    item = (steps % ITEMS).ravel()
    device = draw.integers(1, 4, len(user))
    action = np.where(item % 2 == 1, 0, np.where(device == 3, 2, 1))
    gaps = draw.integers(1, 5 * 3600, len(user)) * 1_000_000
    time_us = START_US + gaps.reshape(users, each).cumsum(axis=1).ravel()
    days = np.where(draw.random(len(user)) < 0.5, 300 - (time_us - START_US) / DAY_US, np.nan)
    duration = np.where(draw.random(len(user)) < 0.5, draw.integers(100, 60_000, len(user)), np.nan)
    return Dataset(
        name="small world",
        users=[f"user-{n}" for n in range(users)],
        catalogue=Catalogue(
            ids=[f"item-{n}" for n in range(ITEMS)],
            texts=[f"item number {n}" for n in range(ITEMS)],
            vectors=vectors,
            created_us=np.zeros(ITEMS, np.int64),
            category=np.full(ITEMS, -1, np.int16),
        ),
        events=Events.of(
            user=user, item=item, action=action, time_us=time_us, device=device, days_to_event=days,
            duration_ms=duration,
        ),
    )  # fmt: skip


def split(dataset: Dataset, keep: int = EACH - 6) -> tuple[Dataset, Dataset]:
    """The first `keep` events of each user, and the others."""
    number = np.arange(len(dataset.events)) - dataset.starts[dataset.events.user]
    training, validation = np.flatnonzero(number < keep), np.flatnonzero(number >= keep)
    return dataset.with_events(dataset.events.take(training)), dataset.with_events(dataset.events.take(validation))
