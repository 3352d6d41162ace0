"""The application state: what `create_app` builds once and every request handler receives."""

import asyncio
from dataclasses import dataclass, field

from runtime.catalog.catalog import Catalog
from runtime.http.auth import Gate
from runtime.http.body import BodyBudget
from runtime.models.embedder import Embedder
from runtime.models.text_encoder import SelfTest
from runtime.serving.search import Search
from runtime.serving.sequence import SequenceServing
from runtime.settings import Settings
from runtime.store import Store
from runtime.system.metrics import RequestMetrics


@dataclass(frozen=True, slots=True)
class State:
    settings: Settings
    embedder: Embedder
    store: Store
    catalog: Catalog
    search: Search
    bodies: BodyBudget
    gate: Gate
    metrics: RequestMetrics
    self_test: SelfTest
    sequence: SequenceServing
    # One user's whole history is read at a time: the memory of one (memory_budget.py) is then all that is needed.
    history_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
