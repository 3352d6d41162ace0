"""The implementations that the tests in this folder run on. The tests use the protocol alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.blocking_store import BlockingStore
from runtime.store import Store
from runtime.store.sqlite.store import SqliteStore


@dataclass(frozen=True)
class Implementation:
    """open: the store kept at a folder (or named after it), with the options of `open_store`. problems: what is wrong
    with the data as it is stored, nothing if all is well."""

    name: str
    open: Callable[..., Store]
    problems: Callable[[Store], list[str]]


IMPLEMENTATIONS = [Implementation("sqlite", SqliteStore, SqliteStore.check)]


@pytest.fixture(scope="session", params=IMPLEMENTATIONS, ids=lambda implementation: implementation.name)
def implementation(request):
    return request.param


@pytest.fixture(scope="session")
def open_at(implementation):
    """Opens the store at a folder; options as of `SqliteStore`, with `dimensions` 4 where it is not given."""

    def open(folder: Path, **options: object) -> BlockingStore:
        return BlockingStore(implementation.open(folder, **{"dimensions": 4, **options}))

    return open


@pytest.fixture
def open_store(open_at, data_dir):
    """Opens the store of this test; what is still open at the end is closed."""
    opened = []

    def open(**options):
        opened.append(open_at(data_dir, **options))
        return opened[-1]

    yield open
    for store in opened:
        store.close()
