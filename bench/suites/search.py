"""Time that a search of the whole catalogue adds to a request, its recall, and the memory of the catalogue."""

import os
import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench.catalogue import VENDORS, fill, item_id
from bench.cgroup import MemoryGroup, forget_cached, memory_limit
from bench.http_client import Connection, build_request
from bench.server import Server, serving, text_encoder_alone
from bench.suite import Case, Conditions, Metric, Samples, Statistic, Suite, difference, raw, share
from bench.turn import measuring_turn
from runtime.catalog.formats import row_bytes

DIMENSIONS = 384
RESULTS = 10
RANKED = 1_000
HISTORY = 50  # interactions of the user who gets recommendations
QUICK_ITEMS = 2_000
_LIMIT_MIB = 256
# Of an added time: its name, the series it is read from, the statistic.
_P50_AND_P95: tuple[tuple[str, Statistic], ...] = (("p50", "median"), ("p95", "p95"))
_STATISTICS: tuple[tuple[str, str, Statistic], ...] = (
    ("p50", "_ms", "median"),
    ("p95", "_ms", "p95"),
    ("cpu", "_cpu_ms", "median"),
)


@dataclass(frozen=True)
class Size:
    """A catalogue: `limited` runs it under a hard limit of 256 MiB, without which it is measured as well."""

    items: int
    vectors: str
    limited: bool = False

    @property
    def name(self) -> str:
        """As metrics have it."""
        return f"{self.items}.{self.vectors}"

    @property
    def case(self) -> str:
        """As tables have it."""
        return f"{self.items:,} items, {self.vectors}" + (f", limit {_LIMIT_MIB} MiB" if self.limited else "")


SIZES = (
    Size(20_000, "float32"),
    Size(20_000, "int8"),
    Size(100_000, "int8"),
    Size(100_000, "int8", limited=True),
    Size(100_000, "disk"),
    Size(1_000_000, "disk", limited=True),
)
_COLD_SEARCHES, _WARM_SEARCHES = 10, 20  # after each restart
_MORE_SIMILAR = 80  # whose nearest are looked for after the rounds: of 40 alone a share of .994 can be found as .987
_READY_S = 3_000.0  # of a million items, whose files are made at the first start, on a machine that is busy
_LIMIT_S = 7_200


def measure(size: Size, conditions: Conditions, samples: Samples) -> None:
    """Fill a database, start a server on it, and send interleaved requests with and without a search."""
    items = QUICK_ITEMS if conditions.quick else size.items
    with tempfile.TemporaryDirectory(prefix="vows-bench-") as folder, ExitStack() as stack:
        vectors = fill(Path(folder), conditions, items)
        settings = {
            "VOWS_DATA_DIR": folder,
            "VOWS_CATALOG_VECTORS": size.vectors,
            "VOWS_CATALOG_BYTES": str(max(1 << 20, items * row_bytes(size.vectors, DIMENSIONS))),
        }
        group = None
        if size.limited:
            if size.vectors == "int8":  # 100,000 items leave no room for the sequence model's vectors
                conditions = stack.enter_context(text_encoder_alone(conditions))
                settings |= dict.fromkeys(("VOWS_MAX_BODY_BYTES", "VOWS_BODY_BUDGET_BYTES"), str(2 << 20))  # or 4 MiB
            group = stack.enter_context(memory_limit(_LIMIT_MIB))
        draw = random.Random(conditions.seed)
        with serving(conditions, group, settings, _READY_S) as server, server.connect() as connection:
            samples.add("ready_s", time.monotonic() - server.started)
            history = [
                {"user_id": "ana", "content_id": item_id(draw.randrange(items)), "type": "save"} for _ in range(HISTORY)
            ]
            connection.request_json(build_request("POST", "/interactions", history))
            arms = [{"name": name, "model": "hybrid"} for name in ("control", "treatment")]
            if size.limited:
                connection.request_json(build_request("PUT", "/experiments/bench", {"arms": arms}))
            for _ in range(conditions.rounds(full=40 if size.limited else 120, quick=5)):
                with measuring_turn({os.getpid(), server.process.pid}):
                    _round(server, connection, draw, items, samples)
                _similar(connection, draw, items, vectors, samples)
            for _ in range(conditions.rounds(full=_MORE_SIMILAR, quick=0)):
                _similar(connection, draw, items, vectors, samples)
            memory = server.memory()
            samples.add("anonymous_mib", memory.anonymous_mib)
            samples.add("peak_rss_mib", memory.peak_rss_mib)
        if size.vectors == "disk":
            for cold in (False, True) * conditions.rounds(full=3, quick=1):
                _restart(cold, conditions, group, settings, draw, samples)
        if group is not None:
            samples.add("oom_kills", group.oom_kills())


def _restart(
    cold: bool,
    conditions: Conditions,
    group: MemoryGroup | None,
    settings: dict[str, str],
    draw: random.Random,
    samples: Samples,
) -> None:
    """Start on the files of the process before, and search. cold: with none of the data folder in the page cache."""
    state, searches = ("cold", _COLD_SEARCHES) if cold else ("restarted", _WARM_SEARCHES)
    if cold:
        forget_cached([Path(settings["VOWS_DATA_DIR"])])
    with (
        measuring_turn({os.getpid()}),
        serving(conditions, group, settings, _READY_S) as server,
        server.connect() as connection,
    ):
        samples.add("restart_cold_s" if cold else "restart_s", time.monotonic() - server.started)
        for _ in range(conditions.rounds(full=searches, quick=1)):
            text, embed = _text(draw)
            connection.request_json(embed)
            search = {**text, "top_k": RESULTS}
            for name, request in (
                ("embed", embed),
                ("search", build_request("POST", "/search", search)),
                ("filtered", build_request("POST", "/search", {**search, "filters": _category(draw)})),
            ):
                samples.add(f"{name}_{state}_ms", connection.timed(request)[0])


def _text(draw: random.Random) -> tuple[dict[str, str], bytes]:
    """A text, and the request that embeds it."""
    text = {"text": f"a venue for {draw.randrange(10**6)} guests"}
    return text, build_request("POST", "/embed", {**text, "encoding_format": "base64"})


def _category(draw: random.Random) -> dict[str, str]:
    """A filter that an eighth of the items pass."""
    return {"category": f"category-{draw.randrange(8)}"}


def _round(server: Server, connection: Connection, draw: random.Random, items: int, samples: Samples) -> None:
    text, embed = _text(draw)
    connection.request_json(embed)  # from here on the text is in the cache: what is timed is not the model
    filters = _category(draw)
    user = "/user/ana/embedding"
    requests = [
        ("embed", embed),
        ("search", build_request("POST", "/search", {**text, "top_k": RESULTS})),
        ("filtered", build_request("POST", "/search", {**text, "top_k": RESULTS, "filters": filters})),
        ("user", build_request("GET", user)),
        ("recommended", build_request("GET", f"/user/ana/recommendations?top_k={RESULTS}")),
        ("diverse", build_request("GET", f"/user/ana/recommendations?top_k={RESULTS}&diversity=0.3")),
        ("rank", build_request("POST", "/rank", {
            "user_id": "ana", "candidates": [item_id(n) for n in draw.sample(range(items), RANKED)], "top_k": RESULTS,
        })),
    ]  # fmt: skip
    for name, request in draw.sample(requests, len(requests)):
        ran_ms = server.cpu_ms()
        elapsed_ms, status = connection.timed(request)
        if status != 200:
            raise RuntimeError(f"{name} answered {status}")
        samples.add(f"{name}_ms", elapsed_ms)
        samples.add(f"{name}_cpu_ms", server.cpu_ms() - ran_ms)


def _similar(connection: Connection, draw: random.Random, items: int, vectors: np.ndarray, samples: Samples) -> None:
    n = draw.randrange(items)
    scores = vectors @ vectors[n]
    scores[n] = -np.inf
    _count_found(connection, samples, n, scores, "", "")
    vendor = draw.randrange(VENDORS)
    scores[np.arange(items) % VENDORS != vendor] = -np.inf
    _count_found(connection, samples, n, scores, f"&vendor=vendor%20{vendor}", "_filtered")


def _count_found(
    connection: Connection, samples: Samples, n: int, scores: np.ndarray, filters: str, series: str
) -> None:
    """Of the best by these exact scores, those that are found."""
    path = f"/content/{item_id(n)}/similar?top_k={RESULTS}{filters}"
    found = [one["id"] for one in connection.request_json(build_request("GET", path))["results"]]
    best = np.argpartition(-scores, RESULTS)[:RESULTS]
    exact = {item_id(one) for one in best[np.isfinite(scores[best])].tolist()}
    samples.count(f"found{series}", len(exact.intersection(found)))
    samples.count(f"to_find{series}", len(exact))


def _metrics(size: Size) -> tuple[Metric, ...]:
    name = size.name
    if size.limited:
        name = f"{size.items}_in_{_LIMIT_MIB}_mib"
        held = (
            *_recall(size, name),
            Metric(f"search.oom_kills.{name}", size.case, "processes", "higher", raw("oom_kills"), "max"),
        )
        if size.vectors == "int8":
            return held
    added = (
        ("added", "search", "embed"),
        ("added_filtered", "filtered", "embed"),
        ("added_recommended", "recommended", "user"),
        ("added_diverse", "diverse", "user"),
    )
    measured = (
        *(
            Metric(f"search.{what}_{at}_ms.{name}", size.case, "ms", "higher",
                   difference(f"{whole}{series}", f"{part}{series}"), statistic)
            for what, whole, part in added
            for at, series, statistic in _STATISTICS
        ),
        Metric(f"search.rank_cpu_ms.{name}", size.case, "ms", "higher", raw("rank_cpu_ms")),
        Metric(f"search.rank_p50_ms.{name}", size.case, "ms", "higher", raw("rank_ms")),
        Metric(f"search.anonymous_mib.{name}", size.case, "MiB", "higher", raw("anonymous_mib")),
        Metric(f"search.peak_rss_mib.{name}", size.case, "MiB", "higher", raw("peak_rss_mib")),
        Metric(f"search.ready_s.{name}", size.case, "s", "higher", raw("ready_s")),
    )  # fmt: skip
    restarts = (
        Metric(f"search.restart_s.{name}", size.case, "s", "higher", raw("restart_s")),
        Metric(f"search.restart_cold_s.{name}", size.case, "s", "higher", raw("restart_cold_s")),
        *(
            Metric(f"search.added_{what}{state}_{at}_ms.{name}", size.case, "ms", "higher",
                   difference(f"{whole}_{state}_ms", f"embed_{state}_ms"), statistic)
            for state in ("restarted", "cold")
            for what, whole in (("", "search"), ("filtered_", "filtered"))
            for at, statistic in _P50_AND_P95
        ),
    ) if size.vectors == "disk" else ()  # fmt: skip
    return (*(held if size.limited else _recall(size, name)), *measured, *restarts)


def _recall(size: Size, name: str) -> tuple[Metric, ...]:
    return (
        Metric(f"search.recall.{name}", size.case, "share", "lower", share("found", "to_find")),
        Metric(f"search.recall_filtered.{name}", size.case, "share", "lower",
               share("found_filtered", "to_find_filtered")),
    )  # fmt: skip


SUITE = Suite(
    name="search",
    purpose="search, recommendations and memory with 20,000, 100,000 and a million items",
    reading="`added`: `/search` less `/embed` of the same text, which is in the cache; `added_recommended`: "
    "`/user/{id}/recommendations` less `/user/{id}/embedding`; ten results; `cpu` is what the server's threads "
    "ran. `recall`: of the ten items nearest to a stored one by float32, those `/content/{id}/similar` returns; "
    "`filtered`: among those of one of 500 vendors. `ready`: of the first start, which makes the files of a "
    "catalogue on disk; `restart`: of one that finds them, `cold` without any of the data folder in the page "
    "cache; `added_restarted` and `added_cold` of the first searches after three of each. Under the limit an "
    "experiment runs. `rank`: 1,000 candidates by id. 100,000 items as int8 in 256 MiB are served without the "
    "sequence model. Items are mixtures of 300 embedded texts.",
    cases=tuple(Case(size.case, partial(measure, size), limit_s=_LIMIT_S) for size in SIZES),
    metrics=tuple(metric for size in SIZES for metric in _metrics(size)),
    independent=True,
)
