"""What a healthy request costs in this working tree and in another: `python -m bench.revisions OTHER --models DIR`.

Both servers run at once, and the same requests go to them in turns, block by block, each block first to one and then to
the other. A block's figure is processor time a request, which other work on the machine changes little, and its median
latency. Printed are medians over blocks, and the ratio with a 95 % interval of its median (bootstrap over blocks).
"""

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from bench.http_client import Connection, build_request
from bench.machine import ROOT
from bench.server import Server, free_port, server_environment, started
from bench.texts import TextSource, load_tokenizer
from bench.traffic import store_items

ITEMS, EVENTS, CANDIDATES = 100, 40, 40
_RESAMPLES = 2_000

Next = Callable[[int], bytes]  # the n-th request of a kind


def requests(bundle: Path, seed: int) -> dict[str, Next]:
    """The kinds that are compared."""
    source = TextSource(load_tokenizer(bundle), seed)
    texts = source.texts(16, 4_000)
    candidates = [f"item-{n}" for n in range(CANDIDATES)]
    ranking = build_request("POST", "/rank", {"user_id": "ada", "candidates": candidates, "model": "simple"})
    known = build_request("POST", "/embed", {"text": "a rustic barn"})

    def event(n: int) -> bytes:
        body = {"user_id": f"user-{n % 20}", "content_id": f"item-{n % ITEMS}", "type": "save", "event_id": f"turn-{n}"}
        return build_request("POST", "/interactions", body)

    return {
        "embed": lambda n: build_request("POST", "/embed", {"text": f"{texts[n % len(texts)]} {n}"}),
        "embed_cached": lambda n: known,
        "interactions": event,
        "rank_simple": lambda n: ranking,
    }


@contextmanager
def filled(root: Path, models: Path, core: int) -> Iterator[Server]:
    """The server of a working tree, filled with a few items and a history."""
    with tempfile.TemporaryDirectory(prefix="vows-revision-") as name:
        folder, port = Path(name), free_port()
        environment = server_environment(models, folder / "data", port, {"VOWS_THREADS": "1"})
        command = [sys.executable, "-m", "runtime"]
        with started(command, environment, port, folder / "log", core, folder=root) as server:
            server.first_answer(build_request("GET", "/readyz"))
            with server.connect() as connection:
                _fill(connection)
            yield server


def _fill(connection: Connection) -> None:
    store_items(connection, ITEMS)
    for n in range(EVENTS):
        body = {"user_id": "ada", "content_id": f"item-{n % ITEMS}", "type": "save", "event_id": f"fill-{n}"}
        connection.request_json(build_request("POST", "/interactions", body))


def block(server: Server, connection: Connection, next: Next, first: int, size: int) -> tuple[float, float]:
    """Milliseconds of processor time a request, and of the median request from sending to receiving."""
    before = server.cpu_ms()
    times = []
    for n in range(first, first + size):
        elapsed_ms, status = connection.timed(next(n))
        if status != 200:
            raise RuntimeError(f"a request was answered {status}")
        times.append(elapsed_ms)
    return (server.cpu_ms() - before) / size, float(np.median(times))


def ratio(ours: np.ndarray, theirs: np.ndarray, draw: np.random.Generator) -> tuple[float, float, float]:
    """Median of ours / theirs, block by block, and its 95 % interval."""
    ratios = ours / theirs
    medians = np.median(draw.choice(ratios, (_RESAMPLES, len(ratios))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(np.median(ratios)), float(low), float(high)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.revisions", description=__doc__)
    parser.add_argument("other", type=Path, help="root of the other working tree")
    parser.add_argument("--models", type=Path, required=True, help="bundles that both can read")
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--size", type=int, default=100, help="requests a block")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", default=[], help="of request; all by default")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    draw = np.random.default_rng(options.seed)
    known = requests(options.models / "minilm", options.seed)
    kinds = {name: known[name] for name in options.kind or known}
    print(f"load average before: {os.getloadavg()[0]:.2f}; {options.blocks} blocks of {options.size} requests")
    with ExitStack() as stack:
        servers = [
            stack.enter_context(filled(root.resolve(), options.models, cores[-1])) for root in (ROOT, options.other)
        ]
        connections = [stack.enter_context(server.connect()) for server in servers]
        for name, next in kinds.items():
            figures = np.zeros((2, options.blocks, 2))
            counter = itertools.count(step=options.size)
            for number in range(-2, options.blocks):  # two blocks to warm up
                first = -(number + 1) if number < 0 else number
                start = counter.__next__()
                for which in (0, 1) if first % 2 else (1, 0):
                    measured = block(servers[which], connections[which], next, start, options.size)
                    if number >= 0:
                        figures[which, number] = measured
            for column, what in enumerate(("cpu", "latency")):
                middle, low, high = ratio(figures[0, :, column], figures[1, :, column], draw)
                ours, theirs = np.median(figures[:, :, column], axis=1)
                print(
                    f"{name:14} {what:8} {ours:8.3f} ms  {theirs:8.3f} ms  ratio {middle:.3f} [{low:.3f}, {high:.3f}]"
                )
    print(f"load average after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
