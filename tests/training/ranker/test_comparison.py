"""The comparison of the hybrid ranker with baselines: its figures, what is kept, and intervals over worlds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.small_world import small_world
from training.__main__ import main
from training.data.split import by_time
from training.evaluation import metrics
from training.evaluation.baselines import OwnHistory, Popularity
from training.evaluation.bootstrap import interval_over_worlds, mean_interval
from training.ranker import comparison_results, ranked_split
from training.ranker.comparison import compare
from training.ranker.ranked_split import World, rank_all
from training.ranker.recommender import Prior, Simple
from training.ranker.with_sequence import HybridWithSequence


@pytest.fixture(scope="module")
def world() -> World:
    return rank_all(by_time(small_world(each=80)), [Prior(), Simple(), OwnHistory(), Popularity()], "a test", 200)


def test_figures_are_those_of_the_ranks(world: World) -> None:
    found = compare("small, time", "time", small_world(each=80), [world], ours=Prior.name)
    queries, ranks = world.queries.ranking, world.ranks[Prior.name]
    ndcg = metrics.ndcg(ranks.all, 10)
    row = found.row(Prior.name)
    assert row.ndcg_10.value == pytest.approx(ndcg.mean(), abs=1e-5)
    new = ~queries.seen_before
    assert row.never_seen is not None
    assert row.never_seen.value == pytest.approx(metrics.ndcg(ranks.never_seen, 10)[new].mean(), abs=1e-5)
    assert found.new_share == pytest.approx(new.mean(), abs=1e-3)
    assert row.ahead is None
    theirs = metrics.ndcg(world.ranks[Popularity.name].all, 10)
    ahead = found.row(Popularity.name).ahead
    assert ahead is not None
    assert ahead.value == pytest.approx((ndcg - theirs).mean(), abs=1e-5)
    whole, five = metrics.ndcg(ranks.all[world.cold_rows], 10), metrics.ndcg(ranks.cold[5], 10)
    assert row.kept["5"] == pytest.approx(five.mean() / whole.mean(), abs=1e-3)
    assert row.few["5"] == pytest.approx(five.mean(), abs=1e-5)
    theirs = metrics.ndcg(world.ranks[Popularity.name].cold[5], 10)
    assert found.row(Popularity.name).ahead_few["5"].value == pytest.approx((five - theirs).mean(), abs=1e-5)


def test_hybrids_rank_together_as_each_does_alone(world: World) -> None:
    split = by_time(small_world(each=80))
    for model in (Prior(), Simple()):
        model.fit(split.train, split.validation)
        found, alone = world.ranks[model.name], ranked_split._ranks(model, world, 0.0)
        both = zip(
            (found.all, found.never_seen, *found.cold.values()),
            (alone.all, alone.never_seen, *alone.cold.values()),
            strict=True,
        )
        for mine, theirs in both:
            np.testing.assert_array_equal(mine, theirs)


def test_a_target_is_the_last_one_where_the_user_engaged_with_it_before_it(world: World) -> None:
    for last, history, target in zip(
        world.repeats_last, world.queries.ranking.histories, world.queries.ranking.item, strict=True
    ):
        engaged = history.item[history.action != 0]
        assert last == (len(engaged) > 0 and engaged[-1] == target)


def test_the_best_other_is_none_of_the_named(world: World) -> None:
    found = compare("small, time", "time", small_world(each=80), [world], ours=Prior.name)
    best = found.best_other((Prior.name, Simple.name))
    assert best.name == max((OwnHistory.name, Popularity.name), key=lambda name: found.row(name).ndcg_10.value)
    with pytest.raises(KeyError):
        found.row("nothing of that name")


def test_what_reads_a_sequence_score_has_differences_of_its_own(world: World) -> None:
    ranks = {**world.ranks, HybridWithSequence.name: world.ranks[OwnHistory.name]}
    found = compare("small, time", "time", small_world(each=80), [replace(world, ranks=ranks)], ours=Prior.name)
    popular = metrics.ndcg(world.ranks[Popularity.name].all, 10)
    ours, second = (metrics.ndcg(world.ranks[name].all, 10) for name in (Prior.name, OwnHistory.name))
    row = found.row(Popularity.name)
    assert row.ahead is not None
    assert row.second_ahead is not None
    assert row.ahead.value == pytest.approx((ours - popular).mean(), abs=1e-5)
    assert row.second_ahead.value == pytest.approx((second - popular).mean(), abs=1e-5)
    others = ~world.repeats_last
    assert row.second_ahead_not_the_last is not None
    assert row.second_ahead_not_the_last.value == pytest.approx((second - popular)[others].mean(), abs=1e-5)
    assert found.row(HybridWithSequence.name).second_ahead is None
    assert found.row(HybridWithSequence.name).ahead is not None


def test_an_interval_over_worlds_holds_what_worlds_differ_by() -> None:
    rng = np.random.default_rng(0)
    worlds = [(rng.normal(mean, 0.1, 400), np.repeat(np.arange(100), 4)) for mean in (0.0, 0.5, 1.0)]
    users_alone = mean_interval(
        np.concatenate([values for values, _ in worlds]),
        np.concatenate([users + 1000 * n for n, (_, users) in enumerate(worlds)]),
    )
    found = interval_over_worlds(worlds)
    assert found.value == pytest.approx(users_alone.value)
    assert found.high - found.low > 3 * (users_alone.high - users_alone.low)
    assert interval_over_worlds(worlds[:1]) == mean_interval(*worlds[0])


def test_the_command_keeps_what_it_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "ranker_results.json"
    arguments = ["evaluate", "ranker", "simulated", "--worlds", "41", "42", "--order-strengths", "1"]
    arguments += [
        "--world-users",
        "120",
        "--queries",
        "100",
        "--results",
        str(results),
        "--cache",
        str(tmp_path / "kept"),
    ]
    assert main(arguments) == 0
    (found,) = comparison_results.read(results).sets
    assert (found.order_strength, found.seeds) == (1.0, [41, 42])
    assert 100 < found.targets <= 200
    assert {row.name for row in found.rows} >= {"hybrid", "hybrid (prior)", "EASE, recency", "popularity, tuned"}
    assert all(len(row.by_world) == 2 for row in found.rows)
    before = results.read_bytes()
    assert main(arguments) == 0  # it is there
    assert "already in" in capsys.readouterr().err
    assert results.read_bytes() == before
    assert main([*arguments, "--again"]) == 0  # with the kept ranks of the baselines
    (again,) = comparison_results.read(results).sets
    for one, other in zip(found.rows, again.rows, strict=True):
        assert (one.name, one.ndcg_10, one.choice) == (other.name, other.ndcg_10, other.choice)
    assert main(["evaluate", "ranker", "no-such-set"]) == 1
