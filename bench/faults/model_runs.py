"""The 1st, 2nd, … run of the model fails, once and for good, until a round of requests meets no fault."""

import json
import tempfile
from pathlib import Path
from typing import Any

from bench.http_client import Connection, build_request
from bench.server import launched
from bench.suite import Conditions

Vectors = dict[str, list[float]]


def fail_each_run(conditions: Conditions) -> int:
    """How many runs failed. Raises RuntimeError at an answer that is neither right nor the named error."""
    with tempfile.TemporaryDirectory(prefix="vows-model-") as name:
        folder, met = Path(name), 0
        settings = {"FAULTS_DIR": name, "VOWS_CACHE_BYTES": "0", "VOWS_THREADS": "1"}
        with launched(conditions, settings=settings, module="bench.faults.failing_model") as server:
            server.first_answer(build_request("GET", "/readyz"))
            with server.connect() as connection:
                right = _request_everything(connection, "whole", {})
                for how in ("", " for good"):
                    nth, fired = 1, True
                    while fired:
                        (folder / "fired").unlink(missing_ok=True)
                        _tell(folder, f"{nth}{how}")
                        _request_everything(connection, f"{nth}{how}", right)
                        _tell(folder, "")
                        fired = (folder / "fired").exists()
                        met += len((folder / "fired").read_text()) if fired else 0
                        _request_everything(connection, f"{nth}{how} and after", right, all_right=True)
                        nth += 1
        return met


def _tell(folder: Path, what: str) -> None:
    (folder / "next").write_text(what)
    (folder / "next").rename(folder / "run")


def _request_everything(connection: Connection, round: str, right: Vectors, *, all_right: bool = False) -> Vectors:
    """Everything that runs the model, with content of this round's own; the vectors that came back.

    Each answer has to be a success with the vectors of `right`, or 503 `model_failed`; and what was refused must not be
    there afterwards.
    """
    found: Vectors = {}
    barn, hall, loft = {"text": "a barn"}, {"text": "a ballroom"}, {"text": "a loft above the marina"}

    def call(method: str, path: str, body: Any) -> Any:
        status, answer = connection.send(build_request(method, path, body))
        if status < 300:
            return json.loads(answer)
        if all_right or status != 503 or json.loads(answer)["error"]["code"] != "model_failed":
            raise RuntimeError(f"round {round}: {method} {path} answered {status}: {answer[:300]!r}")
        return None

    def keep(name: str, vector: list[float]) -> None:
        found[name] = vector
        if right and right[name] != vector:
            raise RuntimeError(f"round {round}: {name} has another vector than without faults")

    if answer := call("POST", "/embed", barn):
        keep("one", answer["embedding"])
    if answer := call("POST", "/embed/batch", {"items": [barn, hall, loft]}):
        for n, one in enumerate(answer["results"]):
            keep(f"batch {n}", one["embedding"])
    if answer := call("POST", "/v1/embeddings", {"model": "sentence-bert-v1", "input": ["a barn", "a loft"]}):
        for n, one in enumerate(answer["data"]):
            keep(f"openai {n}", one["embedding"])
    stored = []
    for id, content in ((f"{round} barn", barn), (f"{round} hall", hall)):
        if call("PUT", f"/content/{id}".replace(" ", "%20"), content):
            stored.append(id)
    items = [{"id": f"{round} {n}", **content} for n, content in enumerate((barn, hall, loft))]
    answer = call("POST", "/content/batch", items)
    if answer:
        stored += [result["id"] for result in answer["results"]]
    call("PUT", "/user/ada/preferences", {"preferences": ["rustic"]})
    ids = [f"{round} barn", f"{round} hall", *(item["id"] for item in items)]
    ranked = connection.request_json(build_request("POST", "/rank", {"user_id": "ada", "candidates": ids}))
    if set(ids) - set(ranked["unknown"]) != set(stored):
        raise RuntimeError(f"round {round}: stored {stored}, but unknown are {ranked['unknown']}")
    return found
