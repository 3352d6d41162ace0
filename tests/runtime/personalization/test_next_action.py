import numpy as np
import pytest

from runtime.personalization import ranking_features
from runtime.personalization.action_features import NAMES, ActionHistory, Context, ItemTable, features
from runtime.personalization.next_action import (
    ALONE_NAMES,
    STACKED_NAMES,
    NextAction,
    Regression,
    own_rates,
    stacked_features,
)

NOW_US = 1_780_000_000_000_000
HOUR_US = 3_600_000_000
SKIP, VIEW, SAVE, SHARE = range(4)
ITEMS, TEXT, FACTORS = 12, 3, 2


def a_table(seed=0):
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(TEXT, 385)).astype(np.float32) / 20
    shares = rng.dirichlet(np.ones(4), ITEMS)
    vectors = rng.normal(size=(ITEMS, 384)).astype(np.float32)
    text = vectors @ basis[:, :-1].T + basis[:, -1]
    values = np.column_stack(
        [rng.normal(size=ITEMS) / 4, np.log(shares), np.ones(ITEMS), text, rng.normal(size=(ITEMS, FACTORS))]
    )
    return ItemTable(values.astype(np.float16), np.array([0.4, 0.3, 0.2, 0.1], np.float32), 0.9, basis), vectors


def history(*events):
    rows, actions = zip(*events, strict=True) if events else ((), ())
    rows = np.array(rows, np.int64)
    times = NOW_US - HOUR_US * np.arange(len(rows))[::-1]
    return ActionHistory(rows, rows, np.array(actions, np.int8), times)


def made(rows, of=None, table_rows=None, vectors=None):
    rows = np.array(rows, np.int64)
    ranking = np.zeros((len(rows), len(ranking_features.NAMES)), np.float32)
    table_rows = rows if table_rows is None else np.array(table_rows)
    found = features(
        ranking, rows=rows, table_rows=table_rows, vectors=vectors, history=of or history(), table=a_table()[0],
        context=Context(NOW_US, 1, float("nan")),
    )  # fmt: skip
    return [dict(zip(NAMES, row, strict=True)) for row in found.tolist()]


def test_a_new_user_has_everybodys_shares_and_finite_features():
    (item,) = made([3])
    assert np.exp([item[f"log_user_{name}"] for name in ("skip", "view", "save", "share")]) == pytest.approx(
        [0.4, 0.3, 0.2, 0.1]
    )
    assert item["on_item_none"] == item["last_none"] == item["days_unknown"] == 1
    assert item["log_events"] == 0
    assert np.isfinite(list(item.values())).all()


def test_what_the_user_did_last_on_the_item_and_with_any():
    own = history((5, SAVE), (7, VIEW), (5, SHARE), (-1, SKIP))
    five, seven, none, foreign = made([5, 7, 1, -1], own)
    assert five["on_item_share"] == seven["on_item_view"] == none["on_item_none"] == foreign["on_item_none"] == 1
    assert {item["last_skip"] for item in (five, seven, none, foreign)} == {1}


def test_features_of_a_candidate_do_not_depend_on_the_others():
    rng = np.random.default_rng(1)
    own = history(*zip(rng.integers(-1, ITEMS, 30).tolist(), rng.integers(0, 4, 30).tolist(), strict=True))
    rows = rng.permutation(ITEMS)
    everything = made(rows, own)
    for place in range(ITEMS):
        (alone,) = made(rows[place : place + 1], own)
        assert alone == pytest.approx(everything[place], abs=1e-6)


def test_an_item_that_the_table_lacks_has_the_factors_of_its_text():
    table, vectors = a_table()
    known, lacking = table.of(np.arange(4), None), table.of(np.full(4, -1), vectors[:4])
    np.testing.assert_allclose(lacking[:, 5 : 6 + TEXT], known[:, 5 : 6 + TEXT], atol=2e-3)
    assert not lacking[:, 6 + TEXT :].any()
    assert not lacking[:, 0].any()
    np.testing.assert_allclose(np.exp(lacking[:, 1:5]).sum(axis=1), 1, atol=1e-6)
    without_text = table.of(np.array([-1]), np.zeros((1, 384), np.float32))
    assert without_text[0, 5] == 1
    assert not without_text[0, 6:].any()


def test_who_saves_what_has_a_factor_is_expected_to_go_further_with_it():
    """The ridge regression by the definition: weights that minimise Σ (residual − w·f)² + penalty·‖w‖²."""
    table, _ = a_table()
    own = history((1, SHARE), (2, SKIP), (3, SAVE), (4, VIEW))
    x = table.values[1:5, 5:].astype(float)
    residual = np.array([SHARE, SKIP, SAVE, VIEW]) - table.mean - table.values[1:5, 0].astype(float)
    stacked = np.vstack([x, np.sqrt(3.0) * np.eye(x.shape[1])])
    weights, *_ = np.linalg.lstsq(stacked, np.concatenate([residual, np.zeros(x.shape[1])]), rcond=None)
    (found,) = made([6], own)
    expected = table.values[6, 5:].astype(float) @ weights + float(table.values[6, 0])
    assert found["expected_3"] == pytest.approx(expected, abs=1e-5)


def test_the_stack_answers_where_the_sequence_model_does_and_the_regression_alone_without():
    rng = np.random.default_rng(3)
    alone, both = (
        Regression.of({names[0]: [1, 0, 0, 0], names[-1]: [0, 2, 0, 0]}, [0.1, 0.2, 0.3, 0.4], names)
        for names in (ALONE_NAMES, STACKED_NAMES)
    )
    model = NextAction(alone, both, "mine")
    x = rng.normal(size=(5, len(NAMES))).astype(np.float32)
    by_sequence = rng.dirichlet(np.ones(4), 5).astype(np.float32)
    np.testing.assert_array_equal(model.probabilities(x, None), alone.probabilities(x))
    stacked = model.probabilities(x, by_sequence)
    np.testing.assert_array_equal(stacked, both.probabilities(stacked_features(x, by_sequence)))
    np.testing.assert_allclose(stacked.sum(axis=1), 1, atol=1e-6)
    assert np.isfinite(model.probabilities(x, np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]])).all()


def test_weights_of_no_feature_or_of_other_actions_are_refused():
    with pytest.raises(ValueError, match="mood: no such action feature"):
        Regression.of({"mood": [0, 0, 0, 0]}, [0, 0, 0, 0], ALONE_NAMES)
    with pytest.raises(ValueError, match="unmet: expected 4 weights"):
        Regression.of({"unmet": [0, 0]}, [0, 0, 0, 0], ALONE_NAMES)
    with pytest.raises(ValueError, match="intercept: expected 4"):
        Regression.of({}, [0], ALONE_NAMES)


def test_rates_before_any_training_count_every_action_once_more():
    assert own_rates(np.array([VIEW, VIEW, SAVE], np.int8)).tolist() == [1 / 7, 3 / 7, 2 / 7, 1 / 7]
