"""The policy, over made-up token counts and a made-up clock: no model, no threads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.models.scheduler import Job, QueueFull, Scheduler

RUNNING, WAITING = 512, 4096

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 256), st.booleans(), st.floats(0.1, 5)),
        st.tuples(st.just("next")),
        st.tuples(st.just("finish"), st.integers(0, 50)),
        st.tuples(st.just("drop"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.floats(0, 3)),
    ),
    max_size=200,
)


def job(tokens: int, *, bulk: bool = False, arrival: float = 0.0, deadline: float = 1e9) -> Job:
    return Job(tokens=tokens, bulk=bulk, arrival=arrival, deadline=deadline)


@given(steps)
def test_limits_hold_and_every_accepted_job_ends_exactly_once(script):
    scheduler, now = Scheduler(running_tokens=RUNNING, waiting_tokens=WAITING), 0.0
    accepted: list[Job] = []
    running: list[Job] = []
    ended: list[Job] = []

    def take() -> Job | None:
        taken, expired = scheduler.next(now)
        assert all(late.deadline <= now and late.state == "dropped" for late in expired)
        ended.extend(expired)
        if taken is not None:
            assert taken.deadline > now
            running.append(taken)
        return taken

    for step in script:
        match step:
            case ("add", tokens, bulk, patience):
                one = job(tokens, bulk=bulk, arrival=now, deadline=now + patience)
                try:
                    scheduler.add([one])
                    accepted.append(one)
                except QueueFull:
                    assert one.state == "new"
            case ("next",):
                take()
            case ("finish", n) if running:
                one = running.pop(n % len(running))
                scheduler.finish(one)
                ended.append(one)
            case ("drop", n) if accepted:
                one = accepted[n % len(accepted)]
                was_waiting = one.state == "waiting"
                assert scheduler.drop(one) == was_waiting
                if was_waiting:
                    ended.append(one)
            case ("wait", seconds):
                now += seconds
        assert scheduler.running == sum(one.tokens for one in running) <= RUNNING
        assert scheduler.waiting == sum(one.tokens for one in accepted if one.state == "waiting") <= WAITING * 3 // 2

    while take() or running:
        if running:
            one = running.pop()
            scheduler.finish(one)
            ended.append(one)
    assert sorted(map(id, ended)) == sorted(map(id, accepted))
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_interactive_before_bulk_and_short_before_long():
    scheduler = Scheduler(running_tokens=RUNNING, waiting_tokens=WAITING)
    long, short, bulk = job(200), job(10), job(5, bulk=True)
    scheduler.add([bulk])
    scheduler.add([long])
    scheduler.add([short])
    assert [scheduler.next(0.0)[0] for _ in range(3)] == [short, long, bulk]


def test_nothing_starves():
    """One batch text against an endless stream of interactive ones that keeps the only worker busy."""
    scheduler = Scheduler(running_tokens=256, waiting_tokens=WAITING)
    patient = job(256, bulk=True)
    scheduler.add([patient])
    now, served = 0.0, 0
    while patient.state == "waiting":
        scheduler.add([job(8, arrival=now)])
        taken, _ = scheduler.next(now)
        scheduler.finish(taken)
        now, served = now + 0.01, served + 1
        assert served < 1000, "the batch never ran"
    bound = (Scheduler.BULK_PENALTY_TOKENS + 256) / Scheduler.AGEING_TOKENS_PER_SECOND
    assert now <= bound + 0.05


def test_a_batch_is_accepted_whole_or_not_at_all_and_leaves_room_for_others():
    scheduler = Scheduler(running_tokens=256, waiting_tokens=1000)
    too_many = [job(100, bulk=True) for _ in range(6)]
    with pytest.raises(QueueFull, match="600 more do not fit"):
        scheduler.add(too_many)
    assert scheduler.waiting == 0
    scheduler.add(too_many[:5])
    scheduler.add([job(100) for _ in range(5)])
    with pytest.raises(QueueFull):
        scheduler.add([job(1)])


def test_a_job_that_could_never_run_is_refused():
    with pytest.raises(ValueError, match="300 tokens can never run under a limit of 256"):
        Scheduler(running_tokens=256, waiting_tokens=1000).add([job(300)])


def test_dropped_jobs_do_not_pile_up():
    scheduler = Scheduler(running_tokens=256, waiting_tokens=10_000)
    blocker = job(256)
    scheduler.add([blocker])
    scheduler.next(0.0)
    for _ in range(5_000):
        one = job(10)
        scheduler.add([one])
        scheduler.drop(one)
    assert len(scheduler._heap) < 200


def test_bulk_work_has_its_half_however_much_else_waits():
    scheduler = Scheduler(running_tokens=256, waiting_tokens=1000)
    scheduler.add([job(100) for _ in range(10)])
    scheduler.add([job(100, bulk=True) for _ in range(5)])
    with pytest.raises(QueueFull):
        scheduler.add([job(1, bulk=True)])
    with pytest.raises(QueueFull):
        scheduler.add([job(1)])


def test_time_is_estimated_from_the_runs_of_late():
    scheduler = Scheduler(running_tokens=512, waiting_tokens=1000, workers=2)
    for _ in range(500):
        slow = job(100)
        scheduler.add([slow])
        scheduler.next(0.0)
        scheduler.finish(slow, 0.5)
    assert scheduler.seconds_for(1000) == pytest.approx(2.5, rel=1e-3)
    scheduler.add([job(100) for _ in range(9)])
    with pytest.raises(QueueFull) as full:
        scheduler.add([job(250), job(250)])
    assert full.value.retry_after_s == pytest.approx(1.0, rel=1e-3)  # until 400 tokens have run
    failed = scheduler.next(0.0)[0]
    scheduler.finish(failed)
    assert scheduler.seconds_for(1000) == pytest.approx(2.5, rel=1e-3)


def test_a_run_that_was_suspended_with_the_machine_says_little_about_the_pace():
    scheduler = Scheduler(running_tokens=512, waiting_tokens=1000)
    for seconds in [0.1] * 200 + [3600.0]:
        run = job(100)
        scheduler.add([run])
        scheduler.next(0.0)
        scheduler.finish(run, seconds)
    assert scheduler.seconds_for(100) < 0.2
