"""How much each part may hold: what the settings leave open follows from the memory found at start.

`size` is arithmetic alone: the same numbers give the same sizes. Its callers read the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runtime.catalog.formats import FORMATS, kept_item_vectors, row_bytes
from runtime.catalog.item_vectors import ITEM_BYTES
from runtime.http.protocol import WRITE_BUFFER_BYTES
from runtime.http.rate_limit import CLIENT_BYTES, CLIENTS
from runtime.models import sequence_model, text_encoder, tokenizer
from runtime.models.scheduler import TOKEN_BYTES
from runtime.serving import catalog_search as search
from runtime.serving.ranker import ITEM_BYTES as RANKER_ITEM_BYTES
from runtime.setting_fields import AUTO, MiB, variable
from runtime.settings import Settings
from runtime.system.allocator import KEPT_FREE_BYTES
from runtime.system.memory_budget import MemoryBudget

DIMENSIONS = 384

# Left alone: mapped models and code are read from here, and the system and its page cache live here.
RESERVE_BYTES = 20 * MiB

# What has no setting and no module of its own. Measured by `python -m bench.memory_parts` with the name in brackets.
CONNECTION_BYTES = 76 * 1024 + WRITE_BUFFER_BYTES  # 14.3 MiB for 190, each with 64 KiB read ahead [connections]
DECODE_BYTES = 16 * MiB  # one body is decoded at a time: at most 15.2 MiB, for 400,000 numbers [decoding]
DATABASE_CONNECTION_BYTES = 2 * MiB  # 6.3 MiB for 4 after pages of items, vectors and histories
_HISTORY_BYTES = 8 * MiB  # 7.5 MiB beside its answer, to explain a ranking of 2,000 [history]
_STORE_BYTES = 12 * MiB  # what may be queued (8 MiB) and be in a commit (2 MiB), and two page caches of 1 MiB [store]


# With room for fewer as float32, int8 is the default: it holds twice as many in the same memory, beside their ids and
# labels, gives the same answers, and scans them in a quarter of the time.
FLOAT32_ITEMS = 20_000


@dataclass(frozen=True)
class Range:
    """A size that is chosen: at least `low`, `usual` before anything takes more, and never over `high`."""

    low: int
    usual: int
    high: int

    def at(self, step: int) -> int:
        """Grows with the step: `low` at 0, `usual` at STEPS, `high` at 2 · STEPS."""
        low, high = (self.low, self.usual) if step <= STEPS else (self.usual, self.high)
        return low + (high - low) * (step if step <= STEPS else step - STEPS) // STEPS


STEPS = 1024
MAX_REQUESTS = 128
MAX_CONNECTIONS = 192
RANGES = {
    "catalog_bytes": Range(MiB, 4 * MiB, 128 * MiB),
    "body_budget_bytes": Range(4 * MiB, 6 * MiB, 6 * MiB),
    "max_requests": Range(32, MAX_REQUESTS, MAX_REQUESTS),
    "max_connections": Range(64, 152, MAX_CONNECTIONS),
    "cache_bytes": Range(MiB // 2, 2 * MiB, 2 * MiB),
    "kept_users_bytes": Range(MiB // 4, MiB // 2, 2 * MiB),
}
_UNKNOWN_MEMORY_STEP = STEPS + STEPS // 4  # a catalogue of 35 MiB


@dataclass(frozen=True)
class Held:
    """What is there beside the settings. scratches: workers that have not run the longest text yet. items: stored, so
    they have to fit. mapped_bytes: weights that every text reads from the page cache, which leaves room for them."""

    scratches: int
    items: int = 0
    mapped_bytes: int = 0


@dataclass(frozen=True)
class Sizes:
    """`settings`: those in force, with nothing left open. `chosen`: the names of those that were."""

    settings: Settings
    chosen: tuple[str, ...]
    budget: MemoryBudget

    def check(self) -> None:
        """Raises MemoryBudgetError when even the smallest choice does not fit beside what is set."""
        fixed = [variable(name) for name in RANGES if name not in self.chosen]
        lower = ", ".join([*fixed, "VOWS_MAX_BODY_BYTES", "VOWS_THREADS", "VOWS_QUEUE_TOKENS"])
        unset = f" (without {' and '.join(fixed)} set, what fits is chosen)" if fixed else ""
        self.budget.check(f"Lower {lower}{unset}, or give the machine more memory")

    def lines(self) -> str:
        """What was chosen, and the budget that it follows from."""
        values = ", ".join(f"{variable(name)}={getattr(self.settings, name)}" for name in self.chosen)
        how = f"chosen for the memory found: {values}" if values else "no size was left open"
        how += f"; the catalogue is held as {self.settings.catalog_vectors}"
        return f"{how}; what may still be taken:\n{self.budget.lines()}"


def size(settings: Settings, available: int | None, held: Held) -> Sizes:
    """The sizes that the settings leave open, as large as the memory allows, and what then may be held.

    available: bytes that this process may still take, with the models and the store loaded and the catalogue not;
    None if unknown. What is set stays as it is.
    """
    if settings.catalog_vectors == "auto":
        return _first_that_fits(settings, available, held)
    chosen = tuple(name for name in RANGES if getattr(settings, name) == AUTO)

    def at(step: int) -> Sizes:
        sizes: dict[str, Any] = {name: _range(name, settings, held).at(step) for name in chosen}
        in_force = replace(settings, **sizes)
        return Sizes(
            in_force, chosen, MemoryBudget(_parts(in_force, held), available, RESERVE_BYTES + held.mapped_bytes)
        )

    if available is None:
        return at(_UNKNOWN_MEMORY_STEP)
    low, high = 0, 2 * STEPS + 1  # the largest step that fits is `low` or above, and below `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle).budget.fits else (low, middle)
    return at(low)


def size_for_what_fits(settings: Settings, available: int | None, held: Held) -> Sizes:
    """As `size`; where not all stored items fit, for as many as do: a start serves them, and says what does not fit."""
    sizes = size(settings, available, held)
    if sizes.budget.fits or "catalog_bytes" not in sizes.chosen:
        return sizes
    few, many = 0, held.items  # the most items that fit are `few` or more, and fewer than `many`
    while many - few > 1:
        middle = (few + many) // 2
        fits = size(settings, available, replace(held, items=middle)).budget.fits
        few, many = (middle, many) if fits else (few, middle)
    return size(settings, available, replace(held, items=few))


def _first_that_fits(settings: Settings, available: int | None, held: Held) -> Sizes:
    """In the first format that the stored items fit in; float32 only where it has room for FLOAT32_ITEMS, or for what
    the settings say."""
    tried = [size(replace(settings, catalog_vectors=format), available, held) for format in FORMATS]
    for format, sizes in zip(FORMATS, tried, strict=True):
        items = sizes.settings.catalog_bytes // row_bytes(format, DIMENSIONS)
        few = format == "float32" and "catalog_bytes" in sizes.chosen and items < FLOAT32_ITEMS
        if sizes.budget.fits and not (few and tried[1].budget.fits):
            return sizes
    return tried[0]


def _postgres_bytes(settings: Settings) -> int:
    return (settings.database_connections + 1) * DATABASE_CONNECTION_BYTES if settings.database_url else 0


def _range(name: str, settings: Settings, held: Held) -> Range:
    """The range of a setting, none of it below what has to fit: the largest body, the stored items."""
    least = {
        "body_budget_bytes": settings.max_body_bytes,
        "catalog_bytes": held.items * row_bytes(settings.catalog_vectors, DIMENSIONS),
    }.get(name, 0)
    found = RANGES[name]
    if name == "catalog_bytes" and settings.catalog_vectors != "float32":  # more items than float32 usually holds
        found = replace(found, usual=found.usual // 2)
    return Range(max(found.low, least), max(found.usual, least), max(found.high, least))


def _parts(settings: Settings, held: Held) -> Mapping[str, int]:
    """Bytes by part. What cannot be held at the same time counts once, with the largest."""
    items = settings.catalog_bytes // row_bytes(settings.catalog_vectors, DIMENSIONS)
    each = FORMATS[settings.catalog_vectors]
    # The event loop's thread does one of these at a time, without awaiting anything.
    work = max(DECODE_BYTES, items * search.ROW_BYTES + search.POOL_BYTES)
    return {
        "catalogue (VOWS_CATALOG_BYTES, and ids)": settings.catalog_bytes + items * each.id,
        "popularity and neighbours of the catalogue's items": items * (each.counts + RANKER_ITEM_BYTES),
        "labels of the catalogue": items * each.labels,
        "decoding one body, or finding the best of one search": work,
        "one history": _HISTORY_BYTES,
        "bodies and what is decoded of them (2 × VOWS_BODY_BUDGET_BYTES)": 2 * settings.body_budget_bytes,
        "connections (VOWS_MAX_CONNECTIONS)": settings.max_connections * CONNECTION_BYTES,
        "scratch of the tokenizer": tokenizer.SCRATCH_BYTES,
        "scratch of the text encoder (VOWS_THREADS)": held.scratches * text_encoder.SCRATCH_BYTES,
        "store": _STORE_BYTES,
        "connections to Postgres (VOWS_DATABASE_CONNECTIONS)": _postgres_bytes(settings),
        "cache (VOWS_CACHE_BYTES)": settings.cache_bytes,
        "users read by the sequence model (VOWS_KEPT_USERS_BYTES)": settings.kept_users_bytes,
        "queue (VOWS_QUEUE_TOKENS)": settings.queue_tokens * TOKEN_BYTES,
        "rate limit (VOWS_RATE_PER_S)": CLIENTS * CLIENT_BYTES if settings.rate_per_s else 0,
        # Also where no sequence model is installed: one may be while the server runs.
        "item vectors of the sequence model (VOWS_CATALOG_BYTES)": (
            kept_item_vectors(settings.catalog_vectors, items) * ITEM_BYTES
        ),
        "scratch of the sequence model": sequence_model.SCRATCH_BYTES,
        "free memory that malloc keeps": KEPT_FREE_BYTES,
        "one request of the sequence model, or loading another bundle": max(  # both hold the same lock
            sequence_model.REQUEST_BYTES, sequence_model.LOADING_BYTES
        ),
    }
