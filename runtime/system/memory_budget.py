"""What each part may still grow to, summed and compared at start with what this machine has left."""

from dataclasses import dataclass

from runtime.catalog import label_index as labels
from runtime.catalog.catalog import LABELS_PER_ITEM
from runtime.catalog.item_vectors import ITEM_BYTES
from runtime.catalog.vector_matrix import row_bytes
from runtime.http.rate_limit import CLIENT_BYTES, CLIENTS
from runtime.models import sequence_model
from runtime.models.text_encoder import SCRATCH_BYTES
from runtime.serving import search
from runtime.settings import MiB, Settings
from runtime.system.host import available_memory

# Measured upper bounds of what has no setting of its own.
_CONNECTION_BYTES = 72 * 1024  # uvicorn buffers up to 64 KiB of a body before it stops reading
_DECODE_BYTES = 16 * MiB  # one body is decoded at a time: 131,072 values at about 100 bytes
_HISTORY_BYTES = 4 * MiB  # a page of a history with its vectors, and what it gave to each candidate
_STORE_BYTES = 12 * MiB  # 8 MiB of queued writes, 2 MiB being committed, two page caches of 1 MiB
_ID_BYTES = 210  # per catalogue item, beside its vector
_DIMENSIONS = 384


class MemoryBudgetError(Exception):
    """The parts' limits together exceed the memory there is. The message lists them and says what to change."""


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes by part that are not held yet but may be, and `available`: bytes this process may still take."""

    growth: dict[str, int]
    available: int | None

    @property
    def total(self) -> int:
        return sum(self.growth.values())

    def lines(self) -> str:
        """The budget as a table, largest part first."""
        rows = sorted(self.growth.items(), key=lambda row: -row[1])
        table = [f"  {size / MiB:7.1f} MiB  {part}" for part, size in rows]
        available = "unknown" if self.available is None else f"{self.available / MiB:.1f} MiB"
        return "\n".join([*table, f"  {self.total / MiB:7.1f} MiB  in all; available to this process: {available}"])

    def check(self) -> None:
        """Raises MemoryBudgetError when the parts do not fit."""
        if self.available is not None and self.total > self.available:
            raise MemoryBudgetError(
                f"the settings allow {self.total / MiB:.0f} MiB more than is held now, but only "
                f"{self.available / MiB:.0f} MiB are available:\n{self.lines()}\nLower VOWS_CATALOG_BYTES, "
                "VOWS_BODY_BUDGET_BYTES, VOWS_CACHE_BYTES or VOWS_MAX_REQUESTS, or give the machine more memory"
            )


def memory_budget(settings: Settings, *, scratches: int, sequence: bool) -> MemoryBudget:
    """What the parts may grow by, from here. Call it with the models and the store built, before the catalogue.

    scratches: workers whose scratch memory, one run of the longest text, is not held yet. sequence: a sequence model is
    served, which keeps vectors of its own for the catalogue.
    """
    items = settings.catalog_bytes // row_bytes(settings.catalog_vectors, _DIMENSIONS)
    growth = {
        "catalogue (VOWS_CATALOG_BYTES, and ids)": settings.catalog_bytes + items * _ID_BYTES,
        "labels of the catalogue": items * (LABELS_PER_ITEM * labels.ENTRY_BYTES + labels.ROW_BYTES),
        "one history": _HISTORY_BYTES,
        "one search": items * search.ROW_BYTES + search.POOL_BYTES,
        "bodies and what is decoded of them (2 × VOWS_BODY_BUDGET_BYTES)": 2 * settings.body_budget_bytes,
        "decoding one body": _DECODE_BYTES,
        "connections (VOWS_MAX_REQUESTS)": settings.max_requests * _CONNECTION_BYTES,
        "scratch of the model (VOWS_THREADS)": scratches * SCRATCH_BYTES,
        "store": _STORE_BYTES,
        "cache (VOWS_CACHE_BYTES)": settings.cache_bytes,
        "queue (VOWS_QUEUE_TOKENS)": settings.queue_tokens * 16,
        "rate limit (VOWS_RATE_PER_S)": CLIENTS * CLIENT_BYTES if settings.rate_per_s else 0,
    }
    if sequence:
        # Twice: while a bundle is switched, both have theirs.
        growth["item vectors (VOWS_CATALOG_BYTES)"] = 2 * items * ITEM_BYTES
        growth["scratch of the sequence model"] = sequence_model.SCRATCH_BYTES
    return MemoryBudget(growth, available_memory())
