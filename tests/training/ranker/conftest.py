"""A server that was sent a log, and the log as training reads it."""

import pytest

from tests.training.ranker.replayed import replayed_server
from training.data.event_log import read_event_log


@pytest.fixture(scope="module")
def server(start_server, bundle_path, tmp_path_factory):
    return replayed_server(start_server, bundle_path, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def log(server):
    return read_event_log(server.data_dir)
