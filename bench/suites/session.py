"""What the options of a session cost and give: the arena, and weights packed for the CPU's kernel."""

import os
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.process_memory import read_process_memory
from bench.suite import Case, Conditions, Metric, Samples, Suite, ratio, raw

OPTIONS = {
    "as served": {"arena": True, "prepacking": True},
    "no arena": {"arena": False, "prepacking": True},
    "no prepacking": {"arena": True, "prepacking": False},
}
LENGTHS = (32, 128, 256)
_MIXED_TEXTS = 300


def create(models: Path, options: dict[str, bool]) -> Callable[[int, random.Random], float]:
    """A session with these options, as a function from a length in tokens to the seconds that a random text took."""
    from runtime.models.bundle import Bundle
    from runtime.models.session import create_session
    from runtime.models.text_encoder import candidate_encodings

    bundle = Bundle.load(models / "minilm", kind="text-encoder")
    session: Any = create_session(bundle.encoding_path(candidate_encodings(bundle)[0]), **options)

    def run(length: int, draw: random.Random) -> float:
        ids = np.array([[draw.randrange(1_000, 30_000) for _ in range(length)]], np.int32)
        started = time.perf_counter()
        session.run(None, {"input_ids": ids})
        return time.perf_counter() - started

    return run


def measure_times(conditions: Conditions, samples: Samples) -> None:
    """All options in one process, run in turn, in a new order each round."""
    os.sched_setaffinity(0, {conditions.server_core})
    draw = random.Random(conditions.seed)
    sessions = {name: create(conditions.models, options) for name, options in OPTIONS.items()}
    for length in LENGTHS:
        for number in range(2 + conditions.rounds(full=60, quick=3)):
            for name in draw.sample(list(sessions), len(sessions)):
                seconds = sessions[name](length, draw)
                if number >= 2:
                    samples.add(f"{name}.{length}", seconds * 1e3)


def measure_memory(name: str, conditions: Conditions, samples: Samples) -> None:
    """One option in a process of its own: what the session adds, then what texts of 4 to 256 tokens leave behind."""
    draw = random.Random(conditions.seed)
    import runtime.models.text_encoder  # noqa: F401  (what it loads is not the session's)

    before = read_process_memory(os.getpid()).anonymous_mib
    run = create(conditions.models, OPTIONS[name])
    samples.add("session_mib", read_process_memory(os.getpid()).anonymous_mib - before)
    texts = conditions.rounds(full=_MIXED_TEXTS, quick=20)
    worker = threading.Thread(target=lambda: [run(draw.randint(4, 256), draw) for _ in range(texts)])
    worker.start()  # as in the server: a thread that is not the main one has a heap of its own
    worker.join()
    samples.add("after_texts_mib", read_process_memory(os.getpid()).anonymous_mib - before)


def slug(name: str) -> str:
    """The name of an option as metrics have it."""
    return name.replace(" ", "_")


SUITE = Suite(
    name="session",
    purpose="session options: arena on and off, weights packed for the kernel or not",
    reading="Times interleaved in one process, as multiples of the session as it is served; anonymous memory that a "
    "session adds, and that it holds after texts of 4 to 256 tokens, each in a process of its own.",
    cases=(
        Case("times", measure_times),
        *(Case(f"memory, {name}", partial(measure_memory, name)) for name in OPTIONS),
    ),
    metrics=(
        *(
            Metric(f"session.time_ratio.{slug(name)}.{length}", "times", "x as served", "higher",
                   ratio(f"{name}.{length}", f"as served.{length}"))
            for name in list(OPTIONS)[1:] for length in LENGTHS
        ),
        *(
            Metric(f"session.{series}.{slug(name)}", f"memory, {name}", "MiB", "higher", raw(series))
            for name in OPTIONS for series in ("session_mib", "after_texts_mib")
        ),
    ),
)  # fmt: skip
