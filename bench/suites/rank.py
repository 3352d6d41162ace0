"""Latency of a ranking by the number of candidates, given by id."""

from __future__ import annotations

import random

from bench.http_client import Connection, build_request
from bench.server import serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw
from bench.texts import TextSource, load_tokenizer

CANDIDATES = (10, 100, 1_000)
ITEMS_A_REQUEST = 250
TEXT_TOKENS = 12
RANKS_A_ROUND = 3


def measure(conditions: Conditions, samples: Samples) -> None:
    """Load a catalogue, give one user a few interactions, then rank candidates of it in interleaved rounds."""
    draw = random.Random(conditions.seed)
    ids = [f"item-{n}" for n in range(max(CANDIDATES))]
    source = TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed)
    with serving(conditions) as server, server.connect() as connection:
        load_catalogue(connection, ids, source)
        events = [{"user_id": "ana", "content_id": content, "type": "save"} for content in ids[:5]]
        connection.request_json(build_request("POST", "/interactions", events))
        for _ in range(conditions.rounds(full=60, quick=3)):
            for size in draw.sample(CANDIDATES, len(CANDIDATES)):
                body = {"user_id": "ana", "candidates": draw.sample(ids, size)}
                request = build_request("POST", "/rank", body)
                for _ in range(RANKS_A_ROUND):
                    elapsed_ms, status = connection.timed(request)
                    if status != 200:
                        raise RuntimeError(f"/rank answered {status}")
                    samples.add(f"rank_ms.{size}", elapsed_ms)


def load_catalogue(connection: Connection, ids: list[str], source: TextSource) -> None:
    """Store an item of `TEXT_TOKENS` tokens under each id. Raises RuntimeError when one is rejected."""
    for start in range(0, len(ids), ITEMS_A_REQUEST):
        items = [
            {"id": content, "type": "content", "text": source.text(TEXT_TOKENS)}
            for content in ids[start : start + ITEMS_A_REQUEST]
        ]
        rejected = connection.request_json(build_request("POST", "/content/batch", items))["rejected"]
        if rejected:
            raise RuntimeError(f"{rejected} of {len(items)} items were rejected")


SUITE = Suite(
    name="rank",
    purpose="POST /rank with 10, 100 and 1,000 candidates given by id",
    reading="Candidates given by id, the user by id.",
    cases=(Case("one client", measure),),
    metrics=tuple(
        Metric(f"rank.{statistic}_ms.{size}", "one client", "ms", "higher", raw(f"rank_ms.{size}"),
               "median" if statistic == "p50" else "p95")
        for size in CANDIDATES
        for statistic in ("p50", "p95")
    ),
)  # fmt: skip
