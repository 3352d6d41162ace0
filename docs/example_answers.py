"""Example answers for the documentation: a server with two items and a user gets every operation's own example."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from runtime.api.pages import EXAMPLE_IDS
from runtime.models.installed import PACKAGED

LONGEST_LIST, LONGEST_TEXT = 3, 700
START_S = 60
OTHERS = [{"id": "grand-ballroom", "title": "Grand Ballroom", "category": "venue", "tags": ["classic", "rustic"]}]
VISITS = [{"user_id": "ada", "content_id": "grand-ballroom", "type": "view", "event_id": "e-0"}]
# What an operation's example rests on comes before it.
ORDER = (
    "put_content",
    "post_interactions",
    "put",
    "post",
    "get",
    "patch",
    "delete_interaction",
    "delete_user",
    "delete",
)


def write_answers(file: Path, document: dict[str, Any]) -> None:
    """Record the answers in `file`. One that has the fields that it had stays: times differ with every run."""
    before = json.loads(file.read_bytes()) if file.exists() else {}
    answers = {
        name: before[name] if name in before and _shape(before[name]) == _shape(answer) else answer
        for name, answer in sorted(record(document).items())
    }
    file.write_bytes(msgspec.json.format(msgspec.json.encode(answers), indent=1) + b"\n")


def record(document: dict[str, Any]) -> dict[str, Any]:
    """The shortened answer of a new server to each operation whose example succeeds and that answers JSON, lines of
    it, or metrics."""
    operations = [
        (operation["operationId"], method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    operations.sort(key=lambda one: next(n for n, start in enumerate(ORDER) if one[0].startswith(start)))
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        process, url = _start(Path(folder))
        try:
            _send(f"{url}/content/batch", "POST", OTHERS)
            _send(f"{url}/interactions", "POST", VISITS)
            for name, method, path, operation in operations:
                if (answer := _send(url + _address(path, operation), method.upper(), _body(operation))) is not None:
                    answers[name] = answer
        finally:
            process.terminate()
            process.wait(timeout=30)
    return answers


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server on a free port with an empty database in `folder`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOWS_")}
    environment |= {"VOWS_PORT": "0", "VOWS_DATA_DIR": str(folder / "data"), "VOWS_MODELS_DIR": str(PACKAGED)}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "runtime"], env=environment, stdout=out, stderr=out)
    deadline = time.monotonic() + START_S
    while not (found := re.search(r"vows-edge on (http://[^\s\"]+)", log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise SystemExit(f"the server did not start: {log.read_text()}")
        time.sleep(0.05)
    while time.monotonic() < deadline and not _answers(found[1]):  # it is bound a moment before it is listened at
        time.sleep(0.05)
    return process, found[1]


def _answers(url: str) -> bool:
    try:
        return _send(f"{url}/readyz", "GET", None) is not None
    except urllib.error.URLError:
        return False


def _address(path: str, operation: dict[str, Any]) -> str:
    address = path.replace("{id}", quote(EXAMPLE_IDS.get(path.split("/")[1], "id"), safe=""))
    query = {one["name"]: one["example"] for one in operation.get("parameters", ()) if "example" in one}
    return f"{address}?{urlencode(query, doseq=True)}" if query else address


def _body(operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    return next((media["example"] for media in content.values() if "example" in media), None)


def _send(url: str, method: str, body: Any) -> Any:
    """The shortened answer; None for a refusal, no content, or a page."""
    data = None if body is None else json.dumps(body).encode()
    headers = {} if data is None else {"content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
            kind, text = answer.headers.get_content_type(), answer.read().decode()
    except urllib.error.HTTPError:
        return None
    if url.endswith("/openapi.json") or not text:
        return None
    if kind == "application/json":
        return _short(json.loads(text))
    return text[:LONGEST_TEXT].rpartition("\n")[0] if kind in ("application/x-ndjson", "text/plain") else None


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value[:LONGEST_LIST]] + (["…"] if len(value) > LONGEST_LIST else [])
    return value


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value[:1]]
    return type(value).__name__ if value is None or isinstance(value, str) else "value"
