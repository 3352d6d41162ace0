"""Simulated power cuts lose nothing that was acknowledged, and are seen to find what loses."""

import pytest

from bench.faults.power_cuts import cut_power
from bench.suite import NotMeasured


def cuts(tmp_path, **options):
    try:
        return cut_power(tmp_path, 40, 7, **options)
    except NotMeasured as reason:
        pytest.skip(str(reason))


def test_nothing_that_was_acknowledged_is_lost(tmp_path):
    found = cuts(tmp_path)
    assert (found.cuts, found.lost, found.broken, found.first) == (40, 0, 0, "")
    assert found.acknowledged > 1_000


def test_acknowledging_before_a_sync_is_seen_to_lose(tmp_path):
    assert cuts(tmp_path, program="note_acknowledgements_without_syncs").lost > 0
