"""Throughput with 1, 8 and 64 clients, and what an overloaded server returns."""

import itertools
import random
from collections.abc import Iterator

from bench.closed_loop import closed_loop
from bench.http_client import build_request
from bench.server import serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw, share
from bench.texts import TextSource, text_source

CLIENTS = (1, 8, 64)
TEXT_TOKENS = 32
ROUND_LIMIT_S = 20.0
CACHED_CLIENTS, CACHED_TEXTS = 8, 20
VALID_STATUSES = {200, 429, 503}
SINGLE_CLIENTS, BULK_CLIENTS = 280, 24  # more connections than the server takes, more tokens than its queue holds
BULK_ITEMS, BULK_TOKENS = 32, 256
OVERLOAD_S = 10.0


def measure_throughput(conditions: Conditions, samples: Samples) -> None:
    """Closed loop, new texts of 32 tokens, the client counts in an order drawn each round."""
    source, draw = text_source(conditions), random.Random(conditions.seed)
    requests = conditions.rounds(full=200, quick=24)
    with serving(conditions) as server:
        for _ in range(conditions.rounds(full=5, quick=1)):
            for clients in draw.sample(CLIENTS, len(CLIENTS)):
                shared = iter([_single(source) for _ in range(requests)])
                seconds, answers = closed_loop(server.port, [shared] * clients, ROUND_LIMIT_S)
                wrong = [answer.status for answer in answers if answer.status != 200]
                if wrong:
                    raise RuntimeError(f"{len(wrong)} of {len(answers)} answers were not 200, the first {wrong[0]}")
                samples.add(f"requests_per_s.{clients}", len(answers) / seconds)
                samples.add(f"ms.{clients}", *(answer.elapsed_ms for answer in answers))


def measure_cached(conditions: Conditions, samples: Samples) -> None:
    """Closed loop of 8 clients that all send the same few texts, which the server has embedded before."""
    source = text_source(conditions)
    known = [_single(source) for _ in range(CACHED_TEXTS)]
    requests = conditions.rounds(full=4000, quick=200)
    with serving(conditions) as server:
        for number in range(1 + conditions.rounds(full=5, quick=1)):
            shared = itertools.islice(itertools.cycle(known), requests)
            seconds, answers = closed_loop(server.port, [shared] * CACHED_CLIENTS, ROUND_LIMIT_S)
            if any(answer.status != 200 for answer in answers):
                raise RuntimeError("not every answer was 200")
            if number:  # the first round fills the cache
                samples.add("requests_per_s.cached", len(answers) / seconds)


def measure_overload(conditions: Conditions, samples: Samples) -> None:
    """More clients, and more tokens, than the server takes: every response must be 200, 429 or 503."""
    source = text_source(conditions)
    single = (_single(source) for _ in itertools.count())
    items = [{"type": "content", "text": text} for text in source.texts(BULK_TOKENS, BULK_ITEMS)]
    bulk = build_request("POST", "/embed/batch", {"items": items})
    clients: list[Iterator[bytes]] = [single] * SINGLE_CLIENTS
    clients += [itertools.repeat(bulk) for _ in range(BULK_CLIENTS)]
    with serving(conditions) as server:
        _, answers = closed_loop(server.port, clients, 2.0 if conditions.quick else OVERLOAD_S)
        for answer in answers:
            samples.count("answers")
            samples.count(f"answers.{answer.status}")
            samples.count("valid_status", int(answer.status in VALID_STATUSES))
            if answer.status == 200:
                samples.add("accepted_ms", answer.elapsed_ms)
            elif answer.status in VALID_STATUSES:
                samples.count("rejected")
                samples.count("retry_after", int(answer.retry_after))
        samples.add("peak_rss_mib", server.memory().peak_rss_mib)
        server.first_answer(build_request("GET", "/readyz"), limit_s=120)


def _single(source: TextSource) -> bytes:
    return build_request("POST", "/embed", {"type": "content", "text": source.text(TEXT_TOKENS)})


SUITE = Suite(
    name="load",
    purpose="throughput with 1, 8 and 64 clients; responses under overload",
    reading="Closed loop, texts of 32 tokens. Overload: more connections and more tokens than the server takes.",
    cases=(Case("throughput", measure_throughput), Case("cached", measure_cached), Case("overload", measure_overload)),
    metrics=(
        *(
            Metric(f"load.requests_per_s.{clients}", "throughput", "1/s", "lower", raw(f"requests_per_s.{clients}"))
            for clients in CLIENTS
        ),
        *(
            Metric(f"load.p95_ms.{clients}", "throughput", "ms", "higher", raw(f"ms.{clients}"), "p95")
            for clients in CLIENTS
        ),
        Metric("load.cached_requests_per_s", "cached", "1/s", "lower", raw("requests_per_s.cached")),
        Metric("load.overload_valid_status_share", "overload", "share", "lower", share("valid_status", "answers")),
        Metric("load.overload_rejected_share", "overload", "share", "higher", share("rejected", "answers")),
        Metric("load.retry_after_share", "overload", "share", "lower", share("retry_after", "rejected")),
        Metric("load.overload_accepted_p50_ms", "overload", "ms", "higher", raw("accepted_ms")),
        Metric("load.overload_peak_rss_mib", "overload", "MiB", "higher", raw("peak_rss_mib")),
    ),
)
