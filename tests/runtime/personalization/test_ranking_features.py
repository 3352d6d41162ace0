import numpy as np
import pytest

from runtime.personalization import popularity
from runtime.personalization.hybrid import FEW_EVENTS, MET, PRIOR, Ranker, few, prior, share_of_few
from runtime.personalization.neighbours import BESIDE, FOLLOWS, SUMS, TOGETHER, Neighbours, neighbour_sums
from runtime.personalization.ranking_features import NAMES, History, features

NOW_US = 1_780_000_000_000_000
SKIP, VIEW, SAVE, SHARE = range(4)


def history(*events):
    rows, actions = zip(*events, strict=True) if events else ((), ())
    return History(np.array(rows, np.int64), np.array(actions, np.int8))


def made(rows, of=None, counts=None, **more):
    given = {"simple": None, "last": None, "near": None, **more}
    counts = popularity.no_counts(len(rows)) if counts is None else counts
    found = features(now_us=NOW_US, rows=np.array(rows), counts=counts, history=of or history(), **given)
    return [dict(zip(NAMES, row, strict=True)) for row in found.tolist()]


def test_a_new_user_and_an_item_nobody_met_have_finite_features():
    (item,) = made([3])
    assert item["unmet"] == 1
    assert item["trace_hour"] == pytest.approx(np.log(0.01))
    assert all(item[name] == 0 for name in NAMES if not name.startswith(("trace", "unmet")))


def test_own_history_is_counted_by_action_whatever_the_order_of_the_candidates():
    own = history((7, VIEW), (5, SAVE), (7, SHARE), (5, SKIP), (-1, VIEW))
    seven, nothing, five = made([7, 1, 5], own)
    assert seven["own"] == pytest.approx(np.log(3))
    assert seven["own_shares"] == pytest.approx(np.log(2))
    assert seven["own_recent"] == pytest.approx(2**-0.25 + 2**-0.75)  # the newest engaged event is of no row
    assert five["own"] == five["own_saves"] == five["own_skips"] == pytest.approx(np.log(2))
    assert nothing["own"] == nothing["own_recent"] == 0


def test_a_candidate_given_twice_or_without_a_row():
    own = history((4, VIEW), (-1, SAVE))
    twice, again, foreign = made([4, 4, -1], own)
    assert twice == again
    assert twice["own"] > 0
    assert foreign["own"] == foreign["own_saves"] == 0


def test_features_of_a_candidate_do_not_depend_on_the_others():
    rng = np.random.default_rng(0)
    rows = rng.permutation(40)
    counts = popularity.no_counts(40)
    popularity.add_all(counts, rng.integers(0, 40, 200), NOW_US - rng.integers(0, 10**12, 200))
    own = History(rng.integers(0, 60, 90), rng.integers(0, 4, 90).astype(np.int8))
    everything = made(rows, own, counts[rows])
    for place in range(40):
        assert made(rows[place : place + 1], own, counts[rows[place : place + 1]]) == [everything[place]]


def table(pairs, items):
    """From {(item, neighbour): (together, linear, follows, beside)}; without the last as older bundles have it."""
    keys = sorted(pairs)
    starts = np.searchsorted([item for item, _ in keys], np.arange(items + 1))
    values = np.array([pairs[key] for key in keys], np.float16).reshape(len(keys), -1)
    return Neighbours(starts.astype(np.int64), np.array([near for _, near in keys], np.int32), values)


def test_neighbours_of_what_came_last_count_most():
    near = table({(0, 2): (0.5, 0, 0.25), (1, 2): (0.5, 0, 0), (1, 3): (0.25, 0, 0.5)}, items=4)
    sums = neighbour_sums(near, np.array([0, -1, 1]), np.array([3, 2, -1, 2]))
    column = SUMS.index((TOGETHER, 1.0))
    assert sums[:, column].tolist() == pytest.approx([0.25 / 4, 0.5 + 0.5 / 4, 0, 0.5 + 0.5 / 4])
    assert sums[1, SUMS.index((FOLLOWS, 1.0))] == 0.25


def test_neighbours_of_nothing_are_none():
    assert not neighbour_sums(table({(0, 1): (1, 1, 1, 1)}, items=2), np.array([-1]), np.array([0, 1])).any()
    empty = Neighbours(np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros((0, 4), np.float16))
    assert not neighbour_sums(empty, np.array([0]), np.array([0, 1])).any()


def test_a_table_of_an_older_bundle_has_the_sums_that_it_can_have():
    pairs = {(0, 2): (0.5, 0.25, 0.25, 0.5), (1, 2): (0.5, 0, 0, 0.125), (1, 3): (0.25, 0, 0.5, 0.25)}
    last, candidates = np.array([0, 1]), np.array([3, 2, -1])
    sums = neighbour_sums(table(pairs, items=4), last, candidates)
    older = neighbour_sums(table({key: of[:3] for key, of in pairs.items()}, items=4), last, candidates)
    beside = SUMS.index((BESIDE, 1.0))
    np.testing.assert_array_equal(np.delete(sums, beside, axis=1), np.delete(older, beside, axis=1))
    assert sums[:, beside].tolist() == pytest.approx([0.125, 0.5 + 0.125 / 2, 0])
    assert not older[:, beside].any()


def test_shares_of_what_is_beside_the_last_item_count_by_their_logarithm():
    near = np.zeros((2, len(SUMS)), np.float32)
    near[0, SUMS.index((BESIDE, 1.0))] = 0.3
    much, nothing = made([1, 2], near=near)
    assert much["beside_last"] == pytest.approx(np.log(1 + 0.3 / 0.03))
    assert nothing["beside_last"] == 0


def test_the_parts_of_a_score_sum_to_it():
    rng = np.random.default_rng(2)
    given = rng.normal(size=(5, len(NAMES))).astype(np.float32)
    ranker = prior()
    for parts, score in zip(ranker.parts(given), ranker.scores(given).tolist(), strict=True):
        assert sum(parts.values()) == pytest.approx(score, abs=1e-5)
        assert parts.keys() == {name for name, weight in PRIOR.items() if weight}


def test_a_weight_for_no_feature_is_refused():
    with pytest.raises(ValueError, match="mood: no such ranking feature"):
        Ranker.of("mine", {"mood": 1.0})


def test_a_candidate_that_the_user_has_met_is_weighed_by_more():
    rng = np.random.default_rng(0)
    own = history((3, VIEW), (5, SKIP))
    found = features(
        now_us=NOW_US, rows=np.array([3, 4, 5]), counts=popularity.no_counts(3), history=own,
        simple=rng.random(3).astype(np.float32), last=None, near=None,
    )  # fmt: skip
    weights = {"simple": 2.0, "own": 1.0}
    plain, ranker = Ranker.of("a", weights), Ranker.of("a", weights | {f"{MET}simple": -1.5})
    simple, met = found[:, 0], np.array([1, 0, 1])
    np.testing.assert_allclose(ranker.scores(found), plain.scores(found) - 1.5 * simple * met, rtol=1e-6)
    assert [sum(part.values()) for part in ranker.parts(found)] == pytest.approx(ranker.scores(found).tolist())
    assert ranker.named_weights == {"simple": 2.0, "own": 1.0, f"{MET}simple": -1.5}
    assert ranker.largest_weights[0] == 2
    assert Ranker.of("a", weights | {f"{MET}simple": -5.0}).largest_weights[0] == 3
    with pytest.raises(ValueError, match=r"met\.nothing: no such ranking feature"):
        Ranker.of("a", {f"{MET}nothing": 1.0})


@pytest.mark.parametrize(("before", "reach"), [("few.", FEW_EVENTS), ("few16.", 16), ("few256.", 256)])
def test_weights_of_few_events_fade_with_the_users_events_and_leave_long_histories_alone(
    before: str, reach: int
) -> None:
    rng = np.random.default_rng(0)
    found = features(
        now_us=NOW_US, rows=np.array([3, 4, 5]), counts=popularity.no_counts(3), history=history((3, VIEW), (5, SKIP)),
        simple=rng.random(3).astype(np.float32), last=rng.random(3).astype(np.float32), near=None,
    )  # fmt: skip
    whole = {"simple": 2.0, "own": 1.0, f"{MET}simple": -1.5}
    of_few = {f"{before}simple": -1.0, f"{before}last": 3.0, f"{before}{MET}last": -2.0}
    plain, ranker = Ranker.of("a", whole), Ranker.of("a", whole | of_few)
    assert few(ranker.few_events) == before
    assert ranker.named_weights == whole | of_few
    for events in (reach, 256):
        assert ranker.for_events(events) is ranker
        np.testing.assert_array_equal(ranker.for_events(events).scores(found), plain.scores(found))
    newcomer = {"simple": 1.0, "own": 1.0, "last": 3.0, f"{MET}simple": -1.5, f"{MET}last": -2.0}
    assert ranker.for_events(0).named_weights == newcomer
    shares = [share_of_few(events, reach) for events in range(reach + 1)]
    assert (shares[0], shares[-1]) == (1, 0)
    assert (np.diff(shares) < 0).all()
    some = ranker.for_events(2)
    np.testing.assert_allclose(some.weights, ranker.weights + np.float32(shares[2]) * ranker.more_if_few[0])
    assert some.largest_weights[1] == pytest.approx(3 * shares[2])
    assert [sum(part.values()) for part in some.parts(found)] == pytest.approx(some.scores(found).tolist())
    assert plain.for_events(0) is plain


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"few.nothing": 1.0}, r"few\.nothing: no such ranking feature"),
        ({"few.simple": 1.0, "few16.last": 1.0}, r"few\.simple: no such ranking feature"),
        ({"few16.simple": 1.0, "few64.last": 1.0}, r"few64\.last: no such ranking feature"),
        ({"few0.simple": 1.0}, r"few0\.simple: no such ranking feature"),
        ({"few5.simple": 1.0}, r"few5\.simple: no such ranking feature"),
        ({"few257.simple": 1.0}, "fewer than 257 events: at most 256 are looked at"),
    ],
)
def test_few_events_are_one_number_within_what_is_looked_at(weights: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Ranker.of("a", weights)
