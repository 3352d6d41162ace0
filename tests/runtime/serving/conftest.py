import logging

import pytest

from tests.runtime.serving.changing_catalog import MADE, USED_AGAIN


@pytest.fixture
def said(caplog):
    """How the files were come by since the last call."""
    caplog.set_level(logging.INFO, "vows")

    def take():
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [line for line in lines if line.startswith((USED_AGAIN, MADE))]

    return take
