"""The server's own share of a request: /embed here and behind a bare Starlette route, with the same encoder."""

import random
import statistics

from bench.http_client import Connection, build_request
from bench.server import launched, serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, difference, raw
from bench.texts import text_source

LENGTHS = (16, 32)  # tokens, [CLS] and [SEP] included
TEXTS_A_ROUND = 5
PATHS = {"ours": "/embed", "in_loop": "/embed", "in_thread": "/embed/thread"}


def measure(conditions: Conditions, samples: Samples) -> None:
    """Three ways to the same encoder in turns, round by round, in an order drawn anew. Every text is new."""
    source = text_source(conditions)
    draw = random.Random(conditions.seed)
    awake = conditions.client_core != conditions.server_core
    with (
        serving(conditions) as server,
        launched(conditions, module="bench.bare_front") as bare,
        server.connect(awake=awake) as to_server,
    ):
        bare.first_answer(build_request("GET", "/readyz"))
        with bare.connect(awake=awake) as to_bare:
            servers = {"ours": server, "in_loop": bare, "in_thread": bare}
            connections = {"ours": to_server, "in_loop": to_bare, "in_thread": to_bare}
            for number in range(-2, conditions.rounds(full=150, quick=2)):  # two to warm up
                for tokens in draw.sample(LENGTHS, len(LENGTHS)):
                    for name in draw.sample(list(PATHS), len(PATHS)):
                        texts, before_ms = source.texts(tokens, TEXTS_A_ROUND), servers[name].cpu_ms()
                        took_ms = [_took_ms(connections[name], PATHS[name], text) for text in texts]
                        cpu_ms = (servers[name].cpu_ms() - before_ms) / TEXTS_A_ROUND
                        if number >= 0:
                            samples.add(f"{name}_ms.{tokens}", statistics.median(took_ms))
                            samples.add(f"{name}_cpu_ms.{tokens}", cpu_ms)


def _took_ms(connection: Connection, path: str, text: str) -> float:
    elapsed_ms, status = connection.timed(build_request("POST", path, {"text": text}))
    if status != 200:
        raise RuntimeError(f"{path} answered {status}")
    return elapsed_ms


SUITE = Suite(
    name="front",
    purpose="the server's own share of /embed: what it takes over a bare Starlette route around the same encoder",
    reading="One client, every text new, in turns. `own_share_ms`: round by round, the median of "
    f"{TEXTS_A_ROUND} texts here minus that behind a bare Starlette route under uvicorn, which decodes, embeds and "
    "encodes, and does nothing else: in the event loop, so that nobody else is answered meanwhile, or in Starlette's "
    "threads. `own_share_cpu_ms`: the same of processor time, which other work on the machine changes less.",
    cases=(Case("one client", measure),),
    metrics=tuple(
        metric
        for tokens in LENGTHS
        for metric in (
            Metric(f"front.ours_ms.{tokens}", "one client", "ms", "higher", raw(f"ours_ms.{tokens}")),
            *(
                Metric(
                    f"front.own_share_{time}.{bare}.{tokens}",
                    "one client",
                    "ms",
                    "higher",
                    difference(f"ours_{time}.{tokens}", f"{bare}_{time}.{tokens}"),
                )
                for bare in ("in_loop", "in_thread")
                for time in ("ms", "cpu_ms")
            ),
        )
    ),
)
