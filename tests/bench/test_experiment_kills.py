"""Twenty kills under exposures and interactions; `python -m bench experiment_kills` does two hundred."""

import uuid
from pathlib import Path

import pytest

from bench.faults.experiment_kills import kill_repeatedly
from bench.postgres import PostgresServer
from bench.suite import Conditions


@pytest.mark.slow
def test_no_kill_loses_or_doubles_an_exposure_an_event_or_an_outcome(bundle_path: Path) -> None:
    conditions = Conditions(seed=3, models=bundle_path.parent, server_core=0, client_core=0)
    found = kill_repeatedly(conditions, 20)
    assert (found.lost, found.doubled, found.moved) == (0, 0, 0)
    assert found.exposures > 200
    assert found.events > 50


@pytest.mark.slow
def test_no_kill_of_machines_on_one_postgres_does(bundle_path: Path, postgres_server: PostgresServer) -> None:
    conditions = Conditions(seed=4, models=bundle_path.parent, server_core=0, client_core=0)
    url = postgres_server.create_database(f"kills-{uuid.uuid4().hex[:8]}")
    found = kill_repeatedly(conditions, 8, url=url, machines=2)
    assert (found.lost, found.doubled, found.moved) == (0, 0, 0)
    assert found.exposures > 20
    assert found.events > 10
