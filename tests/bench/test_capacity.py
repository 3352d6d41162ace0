"""The simulated capacity of several machines, where it can be computed by hand."""

import pytest

from bench.capacity import Service, simulate
from bench.suites.capacity import SUITE


def service(**changes):
    times = {"request": 0.0, "transaction": 0.0, "event": 0.0, "sync": 0.0, "network": 0.0} | changes
    return Service(**times)


def test_one_client_waits_for_everything_in_turn():
    found = simulate(
        service(request=1, transaction=2, event=1, sync=3, network=3), machines=1, cores=4, clients=1, events=500
    )
    assert found.events_per_s == pytest.approx(100, rel=0.01)  # 10 ms an event


def test_machines_add_up_while_their_cores_are_the_bottleneck():
    for machines in (1, 3, 10):
        found = simulate(service(request=1, event=0.01), machines=machines, cores=1, clients=8)
        assert found.events_per_s == pytest.approx(1_000 * machines, rel=0.02)
        assert found.bottleneck == "the machines"


def test_a_core_that_processes_share_is_one_core():
    found = simulate(service(request=1, event=0.01), machines=3, cores=1, clients=8, shared_core=True)
    assert found.events_per_s == pytest.approx(1_000, rel=0.02)


def test_the_cores_of_postgres_are_a_limit_that_no_machine_moves():
    for machines in (10, 100):
        found = simulate(service(request=1, event=0.5), machines=machines, cores=2, clients=8)
        assert found.events_per_s == pytest.approx(4_000, rel=0.03)
        assert found.bottleneck == "Postgres's cores"


def test_events_that_wait_together_share_a_transaction_and_a_sync():
    alone = simulate(service(sync=5), machines=1, cores=1, clients=1, events=500)
    together = simulate(service(sync=5), machines=1, cores=1, clients=50, events=5_000)
    assert alone.events_per_s == pytest.approx(200, rel=0.02)
    assert together.events_per_s == pytest.approx(5_000, rel=0.05)  # half of them while the others are answered
    assert together.bottleneck == "Postgres's log"
    few = simulate(service(sync=5, request=0.001), machines=1, cores=1, clients=5, events=5_000)
    others = simulate(service(sync=5, request=0.001), machines=10, cores=1, clients=5, events=5_000)
    assert others.events_per_s > 4 * few.events_per_s  # a sync covers the transactions of several machines


@pytest.mark.slow
def test_a_quick_run_measures_service_times_and_draws_the_table(quick_case):
    (case,) = SUITE.cases
    result = quick_case("bench.suites.capacity", case.name, without={"capacity.events_per_s.3"})
    assert result.series["events_per_s.1"][0] > 0
    assert result.series["statements"][0] > 2
    rows = SUITE.table({case.name: result}).splitlines()
    assert [row.split(" | ")[0] for row in rows[2:6]] == ["| 1", "| 3", "| 10", "| 100"]
    assert all(any(name in row for name in ("the machines", "Postgres")) for row in rows[2:6])
