"""When a promotion and a rollback rank on another machine."""

import time
from contextlib import ExitStack

from bench.http_client import Connection, build_request
from bench.postgres import PostgresServer
from bench.server import launched
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw

LONGEST_S = 10.0
_ARMS = [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]
_RANK = build_request("POST", "/rank", {"user_id": "ana", "candidates": ["barn"]})


def measure(conditions: Conditions, samples: Samples) -> None:
    """One machine promotes the simple model and rolls it back; the other ranks until it follows."""
    with PostgresServer() as postgres, ExitStack() as stack:
        settings = {"VOWS_DATABASE_URL": postgres.create_database("rollback"), "VOWS_THREADS": "1"}
        servers = [stack.enter_context(launched(conditions, settings=settings)) for _ in range(2)]
        for server in servers:
            server.first_answer(build_request("GET", "/readyz"), limit_s=120)
        here, there = (stack.enter_context(server.connect()) for server in servers)
        here.request_json(build_request("POST", "/content/batch", [{"id": "barn", "text": "a barn"}]))
        before = there.request_json(_RANK)["model_version"]
        for number in range(conditions.rounds(full=40, quick=2)):
            name = f"promoted-{number}"
            definition = {"arms": _ARMS, "promote": "manual"}
            here.request_json(build_request("PUT", f"/experiments/{name}", definition))
            here.request_json(build_request("POST", f"/experiments/{name}/promote?arm=control", {}))
            samples.add("promotion_ms", _until(there, "simple-v1"))
            here.request_json(build_request("POST", f"/experiments/{name}/rollback", {}))
            samples.add("rollback_ms", _until(there, before))


def _until(connection: Connection, model_version: str) -> float:
    """Milliseconds until a ranking in no experiment is by this model. Raises RuntimeError after LONGEST_S."""
    started = time.monotonic()
    while True:
        ranked = connection.request_json(_RANK)
        if "arm" not in ranked and ranked["model_version"] == model_version:
            return (time.monotonic() - started) * 1e3
        if time.monotonic() - started > LONGEST_S:
            raise RuntimeError(f"after {LONGEST_S:g} s the other machine ranks with {ranked['model_version']}")


SUITE = Suite(
    name="rollback",
    purpose="when a promotion and a rollback rank on another machine",
    reading="Two servers on one Postgres. From the answer of the one that promoted or rolled back to the first ranking "
    "of the other by the model in force.",
    cases=(Case("two machines", measure),),
    metrics=(
        Metric("rollback.promotion_ms", "two machines", "ms", "higher", raw("promotion_ms"), "p95"),
        Metric("rollback.rollback_ms", "two machines", "ms", "higher", raw("rollback_ms"), "p95"),
        Metric("rollback.longest_ms", "two machines", "ms", "higher", raw("rollback_ms"), "max"),
    ),
)
