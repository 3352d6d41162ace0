"""What can happen to an experiment at an awkward moment, over HTTP, with each store; and several machines in one."""

import itertools
import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest

from bench.postgres import PostgresServer
from runtime.models.installed import PACKAGED, back, install
from tests.conftest import Server
from tests.waiting import WAIT_S, until

ITEMS = [f"item-{n}" for n in range(12)]
TWO_ARMS = [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]
QUIET = {"p95_ms": None, "error_rate": None, "cold_start_ratio": None}  # the test's machine may be busy


@dataclass(frozen=True)
class Machines:
    """start: a machine more, on the same data where the store is shared, else in `data_dir`."""

    start: Callable[..., Server]
    shared: bool


@pytest.fixture(params=["sqlite", "postgres"])
def machines(request: pytest.FixtureRequest, start_server: Callable[..., Server], tmp_path: Path) -> Iterator[Machines]:
    settings: dict[str, object] = {"threads": 1}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        settings["database_url"] = server.create_database(f"races-{uuid.uuid4().hex[:8]}")
    started: list[Server] = []

    def start(**more: object) -> Server:
        started.append(start_server(data_dir=tmp_path / "data", **(settings | more)))
        return started[-1]

    yield Machines(start, request.param == "postgres")
    for one in started:
        if one.process.poll() is None:
            one.stop()


@pytest.fixture
def shared_database() -> str:
    return f"experiments-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def two_machines(
    postgres_server: PostgresServer, shared_database: str, start_server: Callable[..., Server]
) -> Iterator[list[Server]]:
    url = postgres_server.create_database(shared_database)
    pair = [start_server(database_url=url, threads=1) for _ in range(2)]
    fill(pair[0])
    yield pair
    for one in pair:
        one.stop()


def fill(server: Server) -> None:
    items = [{"id": id, "text": f"a venue with {n} rooms"} for n, id in enumerate(ITEMS)]
    assert server.client.post("/content/batch", json=items).status_code == 200


def define(server: Server, name: str, **more: object) -> None:
    body = {"arms": TWO_ARMS, "window_s": 60, "guardrails": QUIET, **more}
    response = server.client.put(f"/experiments/{name}", json=body)
    assert response.status_code == 200, response.text


def rank(client: httpx.Client, user: str, **more: object) -> dict:
    response = client.post("/rank", json={"user_id": user, "candidates": ITEMS, "top_k": 3, **more})
    assert response.status_code == 200, response.text
    return response.json()


def save(client: httpx.Client, user: str, shown: dict) -> None:
    event = {"user_id": user, "content_id": shown["ranked"][0]["id"], "type": "save", "ranking_id": shown["ranking_id"]}
    assert client.post("/interactions", json=event).status_code == 200


def total(server: Server, experiment: str, name: str) -> int:
    return sum(arm[name] for arm in server.client.get(f"/experiments/{experiment}").json()["arms"])


@pytest.mark.slow
def test_a_user_can_be_deleted_while_they_are_shown_rankings(machines: Machines) -> None:
    client = machines.start().client
    client.post("/content/batch", json=[{"id": id, "text": f"a venue {id}"} for id in ITEMS])
    body = {"arms": TWO_ARMS, "window_s": 0.5, "guardrails": QUIET}
    assert client.put("/experiments/deleted", json=body).status_code == 200

    def visitor(_: int) -> None:
        for _ in range(10):
            rank(client, "leaving")

    with ThreadPoolExecutor(4) as pool:
        visits = [pool.submit(visitor, n) for n in range(3)]
        for _ in range(5):
            assert client.delete("/user/leaving").status_code == 200
        for one in visits:
            one.result()
    receipt = client.delete("/user/leaving").json()["deleted"]
    assert receipt["exposures"] <= 30
    again = client.delete("/user/leaving").json()["deleted"]
    assert (again["exposures"], again["participants"]) == (0, 0)
    assert "leaving" not in client.get("/events/export", params={"exposures_after": 0}).text
    time.sleep(1.5)
    arms = client.get("/experiments/deleted").json()["arms"]
    assert sum(arm["closed"] for arm in arms) <= sum(arm["users"] for arm in arms)
    assert sum(arm["rankings"] for arm in arms) == 30


@pytest.mark.slow
def test_windows_that_end_while_the_server_is_stopped_count_once_at_its_next_start(machines: Machines) -> None:
    server = machines.start()
    fill(server)
    define(server, "stopped", window_s=12.0)
    users = [f"s-{n}" for n in range(30)]
    before = []
    for user in users:
        shown = rank(server.client, user)
        save(server.client, user, shown)
        before.append(shown["arm"])
    server.stop()
    time.sleep(12.0)
    again = [machines.start() for _ in range(2 if machines.shared else 1)]  # machines that start at once, too
    for one in again:
        until(lambda one=one: total(one, "stopped", "closed") == 30)
        assert total(one, "stopped", "engaged") == 30
        assert [rank(one.client, user)["arm"] for user in users] == before
        one.stop()
    third = machines.start()
    time.sleep(1.0)
    assert (total(third, "stopped", "closed"), total(third, "stopped", "users")) == (30, 30)
    assert total(third, "stopped", "engaged") == 30


@pytest.mark.slow
def test_a_promotion_while_a_bundle_is_switched(machines: Machines, bundle_path: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "minilm").symlink_to(bundle_path.resolve())
    for name in ("sequence-one", "sequence-two"):
        shutil.copytree(PACKAGED / "sequence", models / "sequences" / name)
        path = models / "sequences" / name / "manifest.json"
        manifest = msgspec.json.decode(path.read_bytes())
        path.write_bytes(msgspec.json.encode(manifest | {"model_version": name}))
    install(models, models / "sequences" / "sequence-one")
    install(models, models / "sequences" / "sequence-two")
    server = machines.start(models_dir=models, request_timeout_s=WAIT_S)  # that of a switch, too
    fill(server)
    arms = [TWO_ARMS[0], {"name": "treatment", "model": "sequence"}]
    allowed = {"control": {"simple-v1"}, "treatment": {"sequence-one", "sequence-two", "simple-v1"}}
    seen: list[dict] = []
    stop = threading.Event()

    def visit(n: int) -> None:
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            visits = 0
            while not stop.is_set():
                user = f"u-{n}-{visits % 20}"
                seen.append(rank(client, user) | {"user": user})
                visits += 1

    define(server, "switch", arms=arms, promote="manual")
    threads = [threading.Thread(target=visit, args=(n,)) for n in range(2)]
    for one in threads:
        one.start()
    try:
        for _ in range(3):
            back(models)
            assert server.client.post("/experiments/switch/promote").status_code == 200
            time.sleep(0.7)
            assert server.client.post("/experiments/switch/rollback").status_code == 200
            back(models)
            time.sleep(0.7)
            define(server, "switch", arms=arms, promote="manual")
    finally:
        stop.set()
        for one in threads:
            one.join()
    arm_of: dict[str, str] = {}
    for shown in seen:
        if "arm" in shown:
            assert arm_of.setdefault(shown["user"], shown["arm"]) == shown["arm"]
            assert shown["model_version"] in allowed[shown["arm"]]
    exported = server.client.get("/events/export", params={"exposures_after": 0}).text.splitlines()
    ids = [json.loads(line)["ranking_id"] for line in exported]
    assert sorted(ids) == sorted(shown["ranking_id"] for shown in seen if "ranking_id" in shown)


def test_a_promotion_and_a_rollback_rank_on_another_machine(two_machines: list[Server]) -> None:
    """How soon: `python -m bench rollback`."""
    here, there = two_machines
    for n in range(5):
        name = f"promoted-{n}"
        define(here, name, promote="manual")
        until(lambda name=name: rank(there.client, "ann").get("experiment") == name)
        assert here.client.post(f"/experiments/{name}/promote?arm=control").status_code == 200
        until(lambda: (shown := rank(there.client, "ann"))["model_version"] == "simple-v1" and "arm" not in shown)
        assert there.client.get("/experiments").json()["model"] == "simple"
        assert here.client.post(f"/experiments/{name}/rollback").status_code == 200
        until(lambda: rank(there.client, "ann")["model_version"] != "simple-v1")


def test_a_user_of_two_machines_counts_once_and_is_deleted_on_both(two_machines: list[Server]) -> None:
    here, there = two_machines
    window_s = 10.0
    define(here, "shared", window_s=window_s)
    until(lambda: "arm" in rank(there.client, "late"))
    users = [f"both-{n}" for n in range(20)]
    shown, took_s = [], []

    def visit(user: str) -> None:
        """On both machines at once; each outcome goes to the other one."""
        began = time.monotonic()
        with ThreadPoolExecutor(2) as both:
            found = list(both.map(lambda machine: rank(machine.client, user), two_machines))
        shown.extend(found)
        assert found[0]["arm"] == found[1]["arm"]
        for machine, one in zip((there, here), found, strict=True):
            save(machine.client, user, one)
        took_s.append(time.monotonic() - began)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(visit, users))
    until(lambda: total(here, "shared", "closed") == 21)
    in_time = sum(one < window_s for one in took_s)  # all of them, but on a busy machine
    for machine in two_machines:
        assert total(machine, "shared", "users") == 21
        assert in_time <= total(machine, "shared", "engaged") <= 20
    lines = [json.loads(line) for line in there.client.get("/events/export?exposures_after=0").text.splitlines()]
    by_id = {line["ranking_id"]: line for line in lines if line["kind"] == "exposure"}
    assert {found["ranking_id"] for found in shown} <= by_id.keys()
    assert all(line["ranking_id"] in by_id for line in lines if line["kind"] == "interaction")
    assert here.client.delete("/user/both-3").json()["deleted"]["exposures"] == 2
    assert "both-3" not in there.client.get("/events/export?exposures_after=0").text
    assert there.client.delete("/user/both-3").json()["deleted"]["exposures"] == 0


@pytest.mark.slow
def test_several_machines_decide_once(
    two_machines: list[Server], postgres_server: PostgresServer, shared_database: str
) -> None:
    here, there = two_machines
    define(here, "decided", window_s=3.0)
    until(lambda: "arm" in rank(there.client, "late"))
    wins = {"control": 3, "treatment": 8}  # of ten
    visitors = itertools.count()

    def visit(_: int) -> None:
        n = next(visitors)
        machine = two_machines[n % 2]
        user = f"visitor-{n}"
        shown = rank(machine.client, user)
        if "arm" in shown and n // 2 % 10 < wins[shown["arm"]]:
            save(machine.client, user, shown)

    def decided() -> bool:
        return here.client.get("/experiments/decided").json()["state"] == "promoted"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(visit, range(500)))
        until(lambda: decided() or (list(pool.map(visit, range(20))) and decided()))  # some may have come too late
    until(lambda: there.client.get("/experiments/decided").json()["state"] == "promoted")
    time.sleep(1.5)
    changes = postgres_server.execute("SELECT kind FROM experiment_changes", shared_database)
    kinds = [kind for (kind,) in changes]
    assert kinds == ["defined", "promoted"]
    assert there.client.post("/experiments/decided/rollback").status_code == 200
    until(lambda: here.client.get("/experiments").json()["model"] is None)


def test_two_machines_do_not_begin_experiments_with_the_same_users(two_machines: list[Server]) -> None:
    body = {"arms": TWO_ARMS, "guardrails": QUIET}
    for n in range(5):
        with ThreadPoolExecutor(2) as pool:
            answers = list(
                pool.map(
                    lambda pair, n=n: pair[1].client.put(f"/experiments/race-{n}-{pair[0]}", json=body),
                    enumerate(two_machines),
                )
            )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        running = [one["name"] for one in two_machines[0].client.get("/experiments").json()["experiments"]
                   if one["state"] == "running"]  # fmt: skip
        assert len(running) == 1
        for machine in two_machines:
            machine.client.post(f"/experiments/{running[0]}/stop")
