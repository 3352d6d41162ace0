"""Twenty kills under exposures and interactions; `python -m bench faults` does two hundred."""

from pathlib import Path

import pytest

from bench.faults.experiment_kills import kill_repeatedly
from bench.suite import Conditions


@pytest.mark.slow
def test_no_kill_loses_or_doubles_an_exposure_an_event_or_an_outcome(bundle_path: Path) -> None:
    conditions = Conditions(seed=3, models=bundle_path.parent, server_core=0, client_core=0)
    found = kill_repeatedly(conditions, 20)
    assert (found.lost, found.doubled, found.moved) == (0, 0, 0)
    assert found.exposures > 200
    assert found.events > 50
