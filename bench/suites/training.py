"""Time to train the hybrid ranker of a large log, on the cores that there are."""

import tempfile
import time
from pathlib import Path

import numpy as np

from bench.suite import Case, Conditions, Metric, Samples, Suite, raw

EVENTS, USERS, ITEMS = 1_000_000, 20_000, 20_000
QUICK = 50  # of so many parts, one
DAYS = 365
_DIMENSIONS = 384


def measure(conditions: Conditions, samples: Samples) -> None:
    """Make a log whose items have their day, and train a ranker of it as `vows-edge train ranker` does."""
    from training.ranker.command import train_ranker  # needs the train extra

    part = 1 if not conditions.quick else QUICK
    data = made_log(conditions.seed, EVENTS // part, USERS // part, ITEMS // part)
    with tempfile.TemporaryDirectory() as folder:
        started, used = time.perf_counter(), time.process_time()
        found = train_ranker(data, Path(folder) / "bundle", "bench")
        samples.add("ranker_s", time.perf_counter() - started)
        samples.add("ranker_cpu_s", time.process_time() - used)
        size = sum(file.stat().st_size for file in (Path(folder) / "bundle").iterdir())
    samples.add("bundle_mb", size / 1e6)
    samples.note("events", len(data.events))
    samples.note("found", found)


def made_log(seed: int, events: int, users: int, items: int):  # type: ignore[no-untyped-def]
    """A training.data.events.Dataset: activity of users and appeal of items are heavy-tailed, an item appears at some
    time and its appeal fades within days, and users prefer items like one they had before."""
    from training.data.events import Catalogue, Dataset, Events

    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(items, _DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    user = np.minimum(users * draw.random(events) ** 1.5, users - 1).astype(np.int64)
    time_us = np.sort(draw.integers(0, DAYS * 86_400_000_000, events))
    # Items in the order of their appearance: most events are with what appeared in the last days
    newest = (time_us / time_us.max() * (items - 1)).astype(np.int64)
    age = draw.exponential(items / DAYS * 5, events)
    item = np.where(draw.random(events) < 0.7, newest - age, items * draw.random(events) ** 2).astype(np.int64)
    return Dataset(
        name="made for a benchmark",
        users=[f"user-{n}" for n in range(users)],
        catalogue=Catalogue(
            [f"item-{n}" for n in range(items)], [""] * items, vectors, np.zeros(items, np.int64),
            np.full(items, -1, np.int16),
        ),
        events=Events.of(
            user=user, item=item.clip(0, items - 1), action=draw.choice(4, events, p=(0.1, 0.7, 0.15, 0.05)),
            time_us=time_us + 1_700_000_000_000_000,
        ),
    )  # fmt: skip


SUITE = Suite(
    name="training",
    purpose=f"Training the hybrid ranker of {EVENTS:,} events, {USERS:,} users and {ITEMS:,} items",
    reading="`vows-edge train ranker` on a made log: neighbours counted, weights fitted and checked on the newest "
    "tenth, the bundle written and loaded. One run, on the cores that the process may use; `cpu_s` is the time of "
    "all its threads, which other load on the machine hardly lengthens.",
    cases=(Case("ranker", measure, limit_s=1_800),),
    metrics=(
        Metric("training.ranker_s", "ranker", "s", "higher", raw("ranker_s")),
        Metric("training.ranker_cpu_s", "ranker", "s", "higher", raw("ranker_cpu_s")),
        Metric("training.ranker_bundle_mb", "ranker", "MB", "higher", raw("bundle_mb")),
    ),
)
