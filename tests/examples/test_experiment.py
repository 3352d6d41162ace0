"""The experiments of the demo: the server decides them by itself, over real HTTP."""

import pytest

from examples.wedding import experiment
from examples.wedding.client import Client
from examples.wedding.demo import load
from examples.wedding.journeys import load_catalogue


@pytest.mark.slow
def test_a_better_ranking_is_promoted_a_harmful_one_stopped_and_equal_ones_left_alone(start_server):
    client, catalogue = Client(start_server().url), load_catalogue()
    load(client, catalogue)
    better, harmful, equal = experiment.run(client, catalogue)
    assert better.state == "promoted", better
    assert harmful.state == "stopped", harmful
    assert "harm" in harmful.reason
    assert equal.state == "running", equal
    assert client.request("GET", "/experiments")["model"] is None
