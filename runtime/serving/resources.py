"""What the functions of this package work with, built once at start."""

from dataclasses import dataclass, field

from runtime.catalog.catalog import Catalog
from runtime.models.embedder import Embedder
from runtime.serving.catalog_files import CatalogFiles
from runtime.serving.catalog_search import Search
from runtime.serving.experiments import ExperimentServing
from runtime.serving.popularity import Popularity
from runtime.serving.ranker import RankerServing
from runtime.serving.sequence import SequenceServing
from runtime.serving.turns import Turn, Turns
from runtime.settings import Settings
from runtime.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Models, the catalogue and the store. Event-loop thread only."""

    settings: Settings
    embedder: Embedder
    store: Store
    catalog: Catalog
    catalog_files: CatalogFiles | None = None
    search: Search
    sequence: SequenceServing
    popularity: Popularity
    ranker: RankerServing
    experiments: ExperimentServing
    # One user's long history is read at a time: the memory of one (memory_budget.py) is then all that is needed.
    history_turn: Turn = field(default_factory=lambda: Turn("reading long histories"))
    # One switch of models at a time.
    model_turn: Turn = field(default_factory=lambda: Turn("switching models"))
    # One change of an item, and of a user's preferences, at a time.
    item_turns: Turns = field(default_factory=Turns)
    user_turns: Turns = field(default_factory=Turns)
