"""asyncpg is loaded where it is configured and only there, and machines may have clocks that differ."""

import subprocess
import sys

import pytest

from runtime.store.postgres.store import open_store
from tests.conftest import ROOT

_OPEN = """
import asyncio, sys
import runtime.app
from runtime.settings import Settings
assert "asyncpg" not in sys.modules
sys.modules["asyncpg"] = None  # as if it were not installed
try:
    asyncio.run(runtime.app.open_store(Settings(database_url="postgresql://localhost/vows")))
except runtime.app.StoreError as error:
    print(error)
"""


def test_asyncpg_is_loaded_only_for_postgres_and_its_absence_is_one_line():
    done = subprocess.run([sys.executable, "-c", _OPEN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == 'VOWS_DATABASE_URL needs asyncpg: pip install "vows-edge[postgres]"\n'


@pytest.mark.parametrize("ahead_us", [-3_600_000_000, 3_600_000_000])
async def test_machines_whose_clocks_differ_keep_one_order(database, item, event, ahead_us):
    right = await open_store(database, dimensions=4, clock_us=lambda: 10_000_000_000)
    wrong = await open_store(database, dimensions=4, clock_us=lambda: 10_000_000_000 + ahead_us)
    await right.put_content([item("barn")])
    for n, store in enumerate([right, wrong] * 3):
        await store.put_content([item("barn", fields=b"%d" % n)])
        await store.add_interactions([event(str(n))])
    page, _ = await right.log()
    state, content = await right.get_user("ann"), await right.get_content("barn")
    await right.close()
    await wrong.close()
    assert [entry.event_id for entry in page] == [str(n) for n in range(6)]
    assert state.last_updated_us == content.updated_us == 10_000_000_000 + max(0, ahead_us)
    assert content.fields == b"5"
