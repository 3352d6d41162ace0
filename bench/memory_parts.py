"""What each row of the memory budget really takes, one at a time: `python -m bench.memory_parts [NAME ...]`.

Each probe has a fresh server with both models, warmed by a small request of the same kind so that code is there, and
then does the worst that its row is about. Growth is the kernel's own high-water mark, reset before.
"""

import argparse
import asyncio
import itertools
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.http_client import HOST, Connection, build_request
from bench.process_memory import MiB, parse_kilobytes
from bench.runner import default_conditions
from bench.server import TRAINED_ITEM, Server, serving
from bench.suite import Conditions
from bench.threads import in_threads
from runtime.catalog.catalog import Catalog
from runtime.catalog.formats import FORMATS, row_bytes
from runtime.models.installed import PACKAGED
from runtime.serving.catalog_search import Found, Search

DIMENSIONS = 384
ITEMS = 1_000  # of the catalogue that sequences and histories are about
SMALL = {"VOWS_THREADS": "1", "VOWS_CACHE_BYTES": "0", "VOWS_CATALOG_BYTES": str(32 << 20)}


@dataclass
class Peak:
    """Bytes by which resident memory rose above what it was: at most, and in the end."""

    highest: int = 0
    kept: int = 0


@contextmanager
def growth(pid: int) -> Iterator[Peak]:
    """Of one process while the block runs. Needs leave to reset its high-water mark (the same user)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    before, peak = _status(pid), Peak()
    yield peak
    after = _status(pid)
    peak.highest = (after["VmHWM"] - before["VmRSS"]) * 1024
    peak.kept = (after["VmRSS"] - before["VmRSS"]) * 1024


def _status(pid: int) -> dict[str, int]:
    return parse_kilobytes(Path(f"/proc/{pid}/status").read_text(encoding="ascii"))


Say = Callable[[str, Peak], None]


def text_scratch(conditions: Conditions, say: Say) -> None:
    """Texts of 256 tokens after one of four, one a worker."""
    for workers in (1, 4):
        with serving(conditions, settings=SMALL | {"VOWS_THREADS": str(workers)}) as server:
            with server.connect() as connection:
                _embed(connection, 2)
                items = [{"text": f"{n} " + "barn " * 300} for n in range(4 * workers)]
                with growth(server.process.pid) as peak:
                    _must(connection, "/embed/batch", {"items": items})
            say(f"texts of 256 tokens, {workers} workers", peak)


def sequence_scratch(conditions: Conditions, say: Say) -> None:
    """A history as long as is read, its actions with the most candidates, and a ranking of the most candidates."""
    with serving(conditions, settings=SMALL) as server, server.connect() as connection:
        vectors = _random_vectors(500)
        _catalogue(connection, ITEMS)
        _events(connection, "short", 3)
        _events(connection, "long", 300)
        few = [f"item-{n}" for n in range(3)]
        for path, body in (("/rank", {"user_id": "short", "model": "sequence"}), ("/user/short/next-action", {})):
            _must(connection, path, {**body, "candidates": few})
        own = [{"id": f"own-{n}", "embedding": vector} for n, vector in enumerate(vectors)]
        with growth(server.process.pid) as peak:
            _must(connection, "/user/long/next-action", {"candidates": [f"item-{n}" for n in range(500)]})
        say("next action, 500 candidates", peak)
        with growth(server.process.pid) as peak:
            _must(connection, "/rank", {"user_id": "long", "model": "sequence", "candidates": own})
        say("ranking of 500 own vectors, its body and decoding included", peak)
        with growth(server.process.pid) as peak:
            ids = [f"item-{n % ITEMS}" for n in range(2_000)]
            _must(connection, "/rank", {"user_id": "long", "model": "sequence", "candidates": ids})
        say("ranking of 2,000 stored items", peak)
        ask = build_request("POST", "/rank", {"user_id": "long", "model": "sequence", "candidates": ids})
        with growth(server.process.pid) as peak:
            _together(server, [ask] * 6)
        say("six such rankings at once", peak)
        ask = build_request("POST", "/user/long/next-action", {"candidates": ids[:500]})
        with growth(server.process.pid) as peak:
            _together(server, [ask] * 64)
        say("64 times next action, 500 candidates, at once", peak)


def switch(conditions: Conditions, say: Say) -> None:
    """Another sequence bundle is taken over while the first one serves."""
    with tempfile.TemporaryDirectory(prefix="vows-bench-") as name:
        folder = Path(name)
        (folder / "minilm").symlink_to((conditions.models / "minilm").resolve())
        for copy in ("one", "two"):
            shutil.copytree((conditions.models / "sequence").resolve(), folder / "sequences" / copy)
        (folder / "sequence").symlink_to("sequences/one")
        with serving(replace(conditions, models=folder), settings=SMALL) as server, server.connect() as connection:
            _catalogue(connection, ITEMS)
            with growth(server.process.pid) as peak:
                (folder / "new").symlink_to("sequences/two")
                (folder / "new").rename(folder / "sequence")
                deadline = time.monotonic() + 20
                while "is served" not in server.log.read_text() and time.monotonic() < deadline:
                    time.sleep(0.1)
                time.sleep(1)
            say("taking over another bundle", peak)


def decoding(conditions: Conditions, say: Say) -> None:
    """Bodies that decode to the most: few bytes a value, and as many values as are let in."""
    values = 131_000
    bodies: dict[str, tuple[str, str]] = {
        "empty items": ("/embed/batch", '{"items":[' + ",".join(["{}"] * 65_000) + "]}"),
        "valid items": ("/embed/batch", '{"items":[' + ",".join(['{"text":"a"}'] * 49_000) + "]}"),
        "ids as strings": ("/rank", '{"user_id":"a","candidates":[' + ",".join(['"ab"'] * 99_000) + "]}"),
        "long ids": ("/rank", '{"user_id":"a","candidates":[' + ",".join(['"' + "é" * 5 + '"'] * 99_000) + "]}"),
        "candidates with vectors": ("/rank", json.dumps({"user_id": "a", "candidates": [
            {"id": "a", "embedding": [round(x, 6) for x in v]} for v in _random_vectors(1_000)]})),
        "candidates without": ("/rank", '{"user_id":"a","candidates":[' + ",".join(
            ['{"id":"a","embedding":[]}'] * 33_000) + "]}"),
        "one long vector": ("/rank", '{"candidates":["a"],"embedding":[' + ",".join(["0.5"] * 399_000) + "]}"),
        "raw events": ("/interactions", "[" + ",".join(["{}"] * values) + "]"),
        "context of many names": ("/interactions", json.dumps({
            "user_id": "a", "content_id": "b", "type": "view", "context": {str(n): 1.5 for n in range(99_000)}})),
        "token ids": ("/v1/embeddings", '{"model":"m","input":[' + ",".join(["[999,999]"] * 65_000) + "]}"),
        "preferences": ("/user/a/preferences", '{"preferences":[' + ",".join(['"a"'] * 99_000) + "]}"),
    }  # fmt: skip
    for name, (path, body) in bodies.items():
        method = "PUT" if path.endswith("preferences") else "POST"
        with serving(conditions, settings=SMALL) as server, server.connect() as connection:
            connection.send(build_request(method, path, body[:200].encode()))
            with growth(server.process.pid) as peak:
                status, answer = connection.send(build_request(method, path, body.encode()))
            peak.highest -= len(body)
            say(f"{path}: {name} ({len(body) / MiB:.1f} MiB body left out, {status})", peak)
            del answer


def connections(conditions: Conditions, say: Say) -> None:
    """As many connections as are kept, each with as much as it may send ahead."""
    half = (
        b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
        + b" " * 66_000
    )
    head = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"a" * 31_000
    ahead = build_request("GET", "/healthz") * 16
    for name, data in (("half a body", half), ("half a head", head), ("16 requests ahead", ahead)):
        with serving(conditions, settings=SMALL | {"VOWS_MAX_REQUESTS": "128"}) as server:
            with server.connect() as connection:
                connection.send(build_request("POST", "/embed", {"text": "a"}))
            open_ones: list[socket.socket] = []
            with growth(server.process.pid) as peak:
                for _ in range(190):
                    one = socket.create_connection((HOST, server.port), timeout=10)
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
                    one.sendall(data)
                    open_ones.append(one)
                time.sleep(1)
            say(f"190 connections, {name}", peak)
            for one in open_ones:
                one.close()


def store(conditions: Conditions, say: Say) -> None:
    """Events with the longest contexts, from as many clients as the bodies' budget lets in."""
    with serving(conditions, settings=SMALL) as server, server.connect() as connection:
        _catalogue(connection, 10)
        _flood(server, 1, 10, 4)
        with growth(server.process.pid) as peak:
            _flood(server, 6, 225, 6)
        say("events of 4 KB from 6 clients, bodies of 1 MiB and their decoding included", peak)


def history(conditions: Conditions, say: Say) -> None:
    """What reads a long history: an explained ranking of the most candidates, the weeks, what was seen."""
    with serving(conditions, settings=SMALL) as server, server.connect() as connection:
        _catalogue(connection, ITEMS)
        _events(connection, "short", 3)
        for _ in range(20):
            _events(connection, "long", 1_000)
        ids = [f"item-{n % ITEMS}" for n in range(2_000)]
        asks: dict[str, Callable[[str], bytes]] = {
            "explained ranking of 2,000": lambda user: build_request(
                "POST", "/rank?explain=true", {"user_id": user, "candidates": ids if user == "long" else ids[:2]}),
            "style of 52 weeks": lambda user: build_request("GET", f"/user/{user}/style?weeks=52&dislikes=true"),
            "recommendations": lambda user: build_request(
                "GET", f"/user/{user}/recommendations?top_k=100&diversity=0.3"),
        }  # fmt: skip
        for name, ask in asks.items():
            connection.request_json(ask("short"))
            with growth(server.process.pid) as peak:
                connection.request_json(ask("long"))
            say(f"{name}, 20,000 events", peak)


def catalogue(conditions: Conditions, say: Say) -> None:
    """Items with ids of 36 bytes and twelve labels, and searches of them. No server: ask for this probe alone."""
    for held in FORMATS:
        _catalogue_held_as(held, 20_000, say)


def _catalogue_held_as(held: str, items: int, say: Say) -> None:
    vectors = np.random.default_rng(1).standard_normal((1_000, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    with growth(os.getpid()) as peak:
        catalog = Catalog(DIMENSIONS, items * row_bytes(held, DIMENSIONS), held)
        for n in range(items):
            catalog.put(f"{'i' * 30}{n:06d}", vectors[n % 1_000], [f"label-{(n + k) % 500}" for k in range(12)])
    beside = peak.kept / items - row_bytes(held, DIMENSIONS)
    say(f"{items} items as {held}, {beside:.0f} bytes each beside the row", peak)
    search = Search(catalog)
    seen = [f"{'i' * 30}{n:06d}" for n in range(items)]
    asks: dict[str, Callable[[], Coroutine[Any, Any, Found]]] = {
        "plain": lambda: search.best(vectors[0], 100),
        "diverse and labelled": lambda: search.best(vectors[0], 100, diversity=0.5, labels=["label-1"]),
        "all seen": lambda: search.best(vectors[0], 100, excluded=seen),
    }
    for name, ask in asks.items():
        with growth(os.getpid()) as peak:
            asyncio.run(ask())
        say(f"search, {name}, of {items} as {held}", peak)


PROBES = (text_scratch, sequence_scratch, switch, decoding, connections, store, history, catalogue)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory_parts", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(probe.__name__ for probe in PROBES))
    chosen = parser.parse_args().names or [probe.__name__ for probe in PROBES]
    conditions = default_conditions(PACKAGED)
    for probe in PROBES:
        if probe.__name__ in chosen:
            print(f"{probe.__name__}: {(probe.__doc__ or '').splitlines()[0]}")
            probe(conditions, _print)
    return 0


def _print(what: str, peak: Peak) -> None:
    print(f"  {peak.highest / MiB:7.1f} MiB at most, {peak.kept / MiB:6.1f} kept  {what}", flush=True)


def _embed(connection: Connection, words: int) -> None:
    connection.request_json(build_request("POST", "/embed", {"text": "barn " * words}))


def _must(connection: Connection, path: str, body: dict[str, object]) -> None:
    connection.request_json(build_request("POST", path, body))


def _random_vectors(count: int) -> list[list[float]]:
    return np.random.default_rng(1).standard_normal((count, DIMENSIONS)).round(6).tolist()  # type: ignore[no-any-return]


def _catalogue(connection: Connection, items: int) -> None:
    connection.request_json(build_request("POST", "/content/batch", [TRAINED_ITEM]))
    for start in range(0, items, 500):
        some = [
            {"id": f"item-{n}", "text": f"barn {n}", "tags": ["a", "b"]} for n in range(start, min(items, start + 500))
        ]
        connection.request_json(build_request("POST", "/content/batch", some))


_number = itertools.count()


def _events(connection: Connection, user: str, events: int) -> None:
    body = [{"user_id": user, "content_id": f"item-{n % ITEMS}", "type": "save", "event_id": f"e-{next(_number)}"}
            for n in range(events)]  # fmt: skip
    connection.request_json(build_request("POST", "/interactions", body))


def _together(server: Server, asks: Sequence[bytes]) -> None:
    def send(ask: bytes) -> None:
        with server.connect() as connection:
            connection.send(ask)

    with in_threads(partial(send, ask) for ask in asks):
        pass


def _flood(server: Server, clients: int, events: int, rounds: int) -> None:
    def send(client: int) -> None:
        with server.connect() as connection:
            for _ in range(rounds):
                body = [{"user_id": f"user-{client}-{n}", "content_id": "item-1", "type": "view",
                         "context": {"x": "a" * 4_000}} for n in range(events)]  # fmt: skip
                connection.send(build_request("POST", "/interactions", body))

    with in_threads(partial(send, n) for n in range(clients)):
        pass


if __name__ == "__main__":
    sys.exit(main())
