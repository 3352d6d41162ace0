"""A machine of 256 MiB, for which a hard limit of 180 MiB stands: all models, default settings, cold files."""

import itertools
import threading

import pytest

from bench.cgroup import MemoryGroup, forget_cached, memory_limit
from bench.http_client import build_request
from bench.runner import default_conditions
from bench.server import TRAINED_ITEM, serving
from bench.suite import NotMeasured
from bench.suites.memory import imported_folders
from bench.texts import TextSource, load_tokenizer
from bench.traffic import MixedTraffic

LIMIT_MIB = 180
TO_SPARE_MIB = 20
REQUESTS = 150
USER, ITEMS = "ada", [f"spare-{n}" for n in range(8)]


@pytest.fixture
def group():
    try:
        with memory_limit(LIMIT_MIB) as made:
            yield made
    except NotMeasured as reason:
        pytest.skip(f"no memory cgroup can be made here: {reason}")


class HighWater:
    """The most that could not be given back, MiB, read every few milliseconds while the block runs."""

    def __init__(self, group: MemoryGroup) -> None:
        self.peak_mib = 0.0
        self._group = group
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.peak_mib = max(self.peak_mib, self._group.anonymous_mib())

    def __enter__(self) -> "HighWater":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.slow
def test_both_models_start_and_serve_with_the_defaults(bundle_path, group):
    conditions = default_conditions(bundle_path.parent, quick=True)
    forget_cached([bundle_path.parent, *imported_folders()])
    traffic = MixedTraffic(TextSource(load_tokenizer(bundle_path), 1), 1)
    with HighWater(group) as memory, serving(conditions, group) as server, server.connect() as connection:
        info = connection.request_json(build_request("GET", "/info"))
        assert info["models"][0]["model_version"]
        assert info["sequence"]["model_version"]
        assert info["limits"]["catalog_items"] >= 5_000
        assert LIMIT_MIB - memory.peak_mib >= TO_SPARE_MIB, "after the start"

        mixed = itertools.chain(itertools.islice(iter(traffic), REQUESTS), [traffic.large_batch()])
        wrong = [one.name for one in mixed if connection.send(one.request)[0] not in one.expected]
        assert wrong == []
        content = [{"id": id, "text": f"a barn, number {id}"} for id in ITEMS]
        connection.request_json(build_request("POST", "/content/batch", [TRAINED_ITEM, *content]))
        events = [{"user_id": USER, "content_id": id, "type": "save"} for id in ITEMS]
        connection.request_json(build_request("POST", "/interactions", events))
        for model in ("simple", "sequence"):
            ask = {"user_id": USER, "candidates": ITEMS, "model": model}
            ranking = connection.request_json(build_request("POST", "/rank", ask))
            assert len(ranking["ranked"]) == len(ITEMS)
            assert "fallback" not in ranking
        assert ranking["model_version"] == info["sequence"]["model_version"]
        assert server.process.poll() is None
    assert group.oom_kills() == 0
    assert LIMIT_MIB - memory.peak_mib >= TO_SPARE_MIB, "under the load"
