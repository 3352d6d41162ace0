import uuid

import pytest

pytest.importorskip("asyncpg", reason="asyncpg is not installed: pip install 'vows-edge[postgres]'")


@pytest.fixture
def database(postgres_server):
    """The address of an empty database."""
    return postgres_server.create_database(f"test-{uuid.uuid4().hex[:12]}")
