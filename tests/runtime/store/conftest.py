import numpy as np
import pytest

from bench.blocking_store import BlockingStore
from bench.pgbouncer import PgBouncer
from bench.suite import NotMeasured
from runtime.store import ContentItem, Interaction, Preferences
from runtime.store.sqlite.store import SqliteStore

DIMENSIONS = 4


def _embedding(seed):
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _item(id, seed=0, *, bundle="bundle-1", fields=b'{"text":"barn"}', embedding=None):
    return ContentItem(
        id=id,
        fields=fields,
        embedding=_embedding(seed) if embedding is None else embedding,
        model_version="v1",
        bundle_digest=bundle,
        tokens=7,
        truncated=False,
    )


def _event(event_id, user="ann", content="barn", type="view", time_us=1_000_000, **more):
    return Interaction(event_id=event_id, user_id=user, content_id=content, type=type, time_us=time_us, **more)


def _preferences(seed=0, *, bundle="bundle-1", texts=("rustic", "outdoor")):
    return Preferences(preferences=list(texts), embedding=_embedding(seed), model_version="v1", bundle_digest=bundle)


# Functions, not values: session scope lets property tests use them.
@pytest.fixture(scope="session")
def embedding():
    return _embedding


@pytest.fixture(scope="session")
def item():
    return _item


@pytest.fixture(scope="session")
def event():
    return _event


@pytest.fixture(scope="session")
def preferences():
    return _preferences


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def open_store(data_dir):
    """Opens the store in `data_dir`; what is still open at the end is closed."""
    opened = []

    def open(**options):
        opened.append(BlockingStore(SqliteStore(data_dir, **{"dimensions": DIMENSIONS, **options})))
        return opened[-1]

    yield open
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture(scope="session")
def pooler(postgres_server):
    """A PgBouncer before the real Postgres; skips where there is none."""
    try:
        with PgBouncer(postgres_server.socket) as running:
            yield running
    except NotMeasured as error:
        pytest.skip(str(error))
