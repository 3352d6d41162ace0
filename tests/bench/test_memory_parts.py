"""The memory budget's constants are not below what is measured."""

import pytest

from bench import memory_parts
from bench.process_memory import MiB
from bench.runner import default_conditions
from runtime import sizing
from runtime.models import sequence_model, text_encoder

NOISE_BYTES = MiB // 2  # pages of files that are read for the first time count too


@pytest.fixture
def measured(bundle_path):
    def run(probe):
        peaks = {}
        conditions = default_conditions(bundle_path.parent, quick=True)
        probe(conditions, lambda what, peak: peaks.update({what: peak}))
        assert peaks
        return peaks

    return run


@pytest.mark.slow
def test_scratch_of_the_text_encoder(measured):
    peaks = measured(memory_parts.text_scratch)
    for what, workers in (("texts of 256 tokens, 1 workers", 1), ("texts of 256 tokens, 4 workers", 4)):
        assert peaks[what].highest <= workers * text_encoder.SCRATCH_BYTES + NOISE_BYTES


@pytest.mark.slow
def test_the_sequence_model_keeps_its_scratch_and_many_requests_take_no_more_than_one(measured):
    peaks = measured(memory_parts.sequence_scratch)
    first, *_, rankings, actions = peaks.values()
    assert first.kept <= sequence_model.SCRATCH_BYTES + NOISE_BYTES
    assert first.highest <= sequence_model.SCRATCH_BYTES + sequence_model.REQUEST_BYTES
    assert max(rankings.highest, actions.highest) <= sequence_model.REQUEST_BYTES + NOISE_BYTES


@pytest.mark.slow
def test_taking_over_another_bundle(measured):
    (peak,) = measured(memory_parts.switch).values()
    assert peak.highest <= sequence_model.LOADING_BYTES + NOISE_BYTES


@pytest.mark.slow
def test_decoding_the_worst_bodies(measured):
    for what, peak in measured(memory_parts.decoding).items():
        assert peak.highest <= sizing.DECODE_BYTES + NOISE_BYTES, what


@pytest.mark.slow
def test_connections_that_send_ahead(measured):
    for what, peak in measured(memory_parts.connections).items():
        assert peak.highest <= 192 * sizing.CONNECTION_BYTES + NOISE_BYTES, what
