"""Results of format 1 stay readable."""

from pathlib import Path

import msgspec
import pytest

from tests.training.evaluation.test_targets import acting, margin, ranking
from training.evaluation.results import Results, SetResult, read


def test_results_of_format_1_are_read_with_the_names_of_today(tmp_path: Path) -> None:
    world = SetResult(
        key="simulated, order strength 1", name="simulated, order strength 1", protocol="time", order_strength=1.0,
        rankings=[ranking("model")], margins=[margin("counted", 0.1)], actions=[acting("model", 0.5)],
    )  # fmt: skip
    text = msgspec.json.encode(Results(format=1, sets=[world])).decode()
    for now, before in (
        ('"model":', '"contender":'), ('"order_strength":', '"omega":'), ("order strength 1", "omega 1"),
        ('"predicted":', '"stated":'), ('"oracle":', '"bound":'), ('"without_model":', '"twins":'),
        ('"users":', '"users_asked":'),
    ):  # fmt: skip
        assert now in text
        text = text.replace(now, before)
    (tmp_path / "results.json").write_text(text)
    assert read(tmp_path / "results.json") == Results(sets=[world])
    (tmp_path / "results.json").write_text('{"format": 9, "sets": []}')
    with pytest.raises(ValueError, match="has format 9, this version reads 1 and 2"):
        read(tmp_path / "results.json")
