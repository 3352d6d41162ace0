"""Cost of a user's vector by the length of their history."""

import random

from bench.http_client import Connection, build_request
from bench.server import serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, ratio, raw

HISTORIES = (10, 1_000, 100_000)
CONTENTS = 20
EVENTS_A_REQUEST = 1_000
GETS_A_ROUND = 5
_KINDS = ("view", "save", "share", "skip")


def measure(conditions: Conditions, samples: Samples) -> None:
    """Store histories of each length, then request the users' vectors in interleaved rounds."""
    draw = random.Random(conditions.seed)
    with serving(conditions) as server, server.connect() as connection:
        items = [{"id": f"item-{n}", "type": "content", "text": f"garden venue number {n}"} for n in range(CONTENTS)]
        connection.request_json(build_request("POST", "/content/batch", items))
        for length in HISTORIES:
            store_history(connection, f"user-{length}", length, draw)
        for _ in range(conditions.rounds(full=100, quick=5)):
            for length in draw.sample(HISTORIES, len(HISTORIES)):
                request = build_request("GET", f"/user/user-{length}/embedding")
                times = sorted(connection.timed(request)[0] for _ in range(GETS_A_ROUND))
                samples.add(f"get_ms.{length}", *times)
                samples.add(f"round_get_ms.{length}", times[GETS_A_ROUND // 2])
        for length in HISTORIES:
            found = connection.request_json(build_request("GET", f"/user/user-{length}/embedding"))["interaction_count"]
            if found != length:
                raise RuntimeError(f"user-{length} has {found} interactions, {length} were stored")


def store_history(connection: Connection, user: str, length: int, draw: random.Random) -> None:
    """Post `length` interactions of one user in requests of up to a thousand."""
    for start in range(0, length, EVENTS_A_REQUEST):
        events = [
            {"user_id": user, "content_id": f"item-{draw.randrange(CONTENTS)}", "type": draw.choice(_KINDS)}
            for _ in range(min(EVENTS_A_REQUEST, length - start))
        ]
        answer = connection.request_json(build_request("POST", "/interactions", events))
        if answer["stored"] != len(events):
            raise RuntimeError(f"{answer['stored']} of {len(events)} interactions were stored")


_CASE = "one client"
_SHORT = HISTORIES[0]


SUITE = Suite(
    name="users",
    purpose="GET /user/{id}/embedding with histories of 10 to 100,000 interactions",
    reading="Interleaved `GET /user/{id}/embedding` of users with short and long histories.",
    cases=(Case(_CASE, measure),),
    metrics=(
        *(Metric(f"users.get_p50_ms.{length}", _CASE, "ms", "higher", raw(f"get_ms.{length}")) for length in HISTORIES),
        *(
            Metric(f"users.get_p95_ms.{length}", _CASE, "ms", "higher", raw(f"get_ms.{length}"), "p95")
            for length in HISTORIES
        ),
        *(
            Metric(f"users.ratio_{length}_to_{_SHORT}", _CASE, "ratio", "higher",
                   ratio(f"round_get_ms.{length}", f"round_get_ms.{_SHORT}"))
            for length in HISTORIES[1:]
        ),
    ),
)  # fmt: skip
