"""The fault harness: that it finds what it looks for, and a short run of each of its cases."""

import pytest

from bench.blocking_store import BlockingStore
from bench.faults.kills import kill_repeatedly
from bench.faults.ledger import Ledger, compare
from bench.faults.model_runs import fail_each_run
from bench.faults.store_programs import event, item
from bench.runner import default_conditions
from bench.suite import growth
from bench.suites.faults import OVERLOAD_DEADLINE_S, p95_to_deadline
from runtime.store.sqlite.store import SqliteStore


@pytest.fixture(scope="module")
def conditions(bundle_path):
    return default_conditions(bundle_path.parent, quick=True)


@pytest.fixture
def database(tmp_path):
    """Events 1, 2 and 3 of ann, stored."""
    store = BlockingStore(SqliteStore(tmp_path / "data", dimensions=4))
    store.put_content([item("barn")])
    store.add_interactions([event(id) for id in ("1", "2", "3")])
    store.close()
    return tmp_path / "data" / "vows.db"


def test_a_ledger_that_agrees_with_the_database_has_no_findings(database):
    found = compare(database, Ledger(sent={"1", "2", "3", "4"}, acknowledged={"1", "2"}), thorough=True)
    assert (found.stored, found.wrong) == (3, False)


@pytest.mark.parametrize(
    ("ledger", "wrong"),
    [
        (Ledger(sent={"1", "2", "3", "4"}, acknowledged={"4"}), {"lost": 1}),
        (Ledger(sent={"1", "2"}), {"unsent": 1}),
        (Ledger(sent={"1", "2", "3"}, deleted={"ann"}), {"undeleted": 1}),
    ],
)
def test_lost_unsent_and_undeleted_data_is_found(database, ledger, wrong):
    found = compare(database, ledger)
    assert found.wrong
    names = ("lost", "duplicated", "unsent", "undeleted")
    assert {name: getattr(found, name) for name in names} == dict.fromkeys(names, 0) | wrong


def test_an_event_that_counts_twice_is_found(database):
    store = BlockingStore(SqliteStore(database.parent, dimensions=4))
    twice = "UPDATE users SET interaction_count = interaction_count + 1"
    store.writer.submit(lambda connection: connection.execute(twice).rowcount, bytes=1).result()
    store.close()
    assert compare(database, Ledger(sent={"1", "2", "3"})).duplicated == 1


def test_growth_is_the_last_quarter_above_the_second():
    rising = [10.0, 20, 30, 40, 50, 51, 51, 51, 52, 52, 52, 90, 53, 53, 54, 53]
    assert growth("soak_anonymous_mib")({"soak_anonymous_mib": rising}) == [2.0]
    assert growth("soak_anonymous_mib")({"soak_anonymous_mib": rising[:7]}) == []


def test_p95_is_relative_to_the_deadline():
    assert p95_to_deadline({"accepted_ms": [OVERLOAD_DEADLINE_S * 500] * 100}) == [0.5]
    assert p95_to_deadline({}) == []


def test_a_few_kills_lose_nothing(conditions):
    seen = []
    ledger, found = kill_repeatedly(conditions, 4, lambda number, now: seen.append(number))
    assert (found.lost, found.duplicated, found.problems) == (0, 0, ())
    assert ledger.acknowledged == ledger.sent
    assert found.stored == len(ledger.sent) > 0
    assert seen


def test_a_failure_of_any_model_run_is_handled(conditions):
    assert fail_each_run(conditions) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "stop",
        "overload",
        "soak",
        "hostile soak",
        "stored items",
        "style",
        "bit flips",
        "reembedding",
        "switches",
        "large deletion",
    ],
)
def test_every_metric_of_a_case_is_measured(name, quick_case):
    result = quick_case("bench.suites.faults", name)
    assert set(result.series.get("exit_status", [0])) == {0}
    assert sum(result.series.get("valid_status", [0])) == sum(result.series.get("answers", [0]))
