"""What is read of an event beside its content."""

import math

import pytest

from runtime.personalization.sequence_features import days_to_event


@pytest.mark.parametrize(("context", "key", "days"), [
    (b'{"days_to_wedding": 120, "note": "x"}', "days_to_wedding", 120.0),
    (b'{"days_to_wedding": -3.5}', "days_to_wedding", -3.5),
    (b'{"days_to_move": 7, "days_to_wedding": 1}', "days_to_move", 7.0),
    (b'{"days_to_wedding": "soon"}', "days_to_wedding", math.nan),
    (b'{"days_to_wedding": true}', "days_to_wedding", math.nan),
    (b'{"days_to_wedding": null}', "days_to_wedding", math.nan),
    (b'{"days_to_wedding": 1e300}', "days_to_wedding", math.nan),
    (b'{"days_to_wedding": 36500}', "days_to_wedding", math.nan),
    (b"{}", "days_to_wedding", math.nan),
    (None, "days_to_wedding", math.nan),
])  # fmt: skip
def test_days_to_the_users_event_are_a_number_that_can_be(context, key, days):
    assert days_to_event(context, key) == pytest.approx(days, nan_ok=True)


def test_training_and_serving_read_the_context_with_the_same_function():
    from runtime.serving import sequence_history
    from training.data import event_log

    assert event_log.days_to_event is days_to_event is sequence_history.days_to_event
