"""Health, information, documentation; and what the process keeps out."""

import html
import json
import subprocess
import sys
from typing import Any

import msgspec

from docs.example_answers import record
from runtime.api.endpoints import ENDPOINTS
from runtime.api.pages import ANSWERS_FILE, OPENAPI_FILE
from runtime.api.tags import TAGS
from runtime.http.openapi import openapi_document
from tests.waiting import WAIT_S


def test_health_and_info(shared_server):
    assert shared_server.client.get("/healthz").json() == {"status": "alive"}
    assert shared_server.client.get("/readyz").json() == {"status": "ready"}
    info = shared_server.client.get("/info").json()
    (model,) = info["models"]
    assert model["model_version"] == "sentence-bert-v1"
    assert len(model["bundle_sha256"]) == 64
    assert model["self_test"]["min_cosine_to_recorded"] >= 0.9999
    assert info["memory"]["rss_bytes"] > info["memory"]["anonymous_bytes"] > 0
    assert info["limits"]["worker_threads"] >= 1
    log = shared_server.log.read_text()  # what was chosen is what is in force
    for name in ("catalog_bytes", "body_budget_bytes", "max_requests", "cache_bytes"):
        assert f"VOWS_{name.upper()}={info['limits'][name]}" in log
    assert info["onnxruntime"]
    ranker = info["ranker"]
    assert (ranker["model_version"], ranker["bundle_sha256"], ranker["log"]) == ("hybrid-prior-1", None, None)
    assert ranker["weights"]["simple"] == 5.0
    assert ranker["next_action"] is None


def test_every_endpoint_is_documented(shared_server):
    document = shared_server.client.get("/openapi.json").json()
    page = html.unescape(shared_server.client.get("/docs").text)
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace(":path", "")
        operation = document["paths"][path][endpoint.method.lower()]
        assert operation["summary"] == endpoint.summary
        assert str(endpoint.status) in operation["responses"]
        assert path in page
        assert endpoint.summary in page
        for status in endpoint.errors:
            assert str(status) in operation["responses"]


def test_the_document_is_the_one_that_the_code_makes():
    made = msgspec.json.encode(openapi_document(ENDPOINTS, TAGS))
    assert msgspec.json.decode(OPENAPI_FILE.read_bytes()) == msgspec.json.decode(made), "run `make docs`"


def same_fields(recorded: Any, answer: Any) -> bool:
    """Whether an answer has the fields of the recorded one. null stands for any: it depends on the machine."""
    if recorded is None or answer is None:
        return True
    if isinstance(recorded, dict) and isinstance(answer, dict):
        return recorded.keys() == answer.keys() and all(same_fields(recorded[name], answer[name]) for name in recorded)
    if isinstance(recorded, list) and isinstance(answer, list):
        return bool(recorded) == bool(answer) and all(map(same_fields, recorded[:1], answer[:1]))
    return isinstance(answer, str) == isinstance(recorded, str)


def test_the_example_answers_are_those_of_a_server():
    """Field by field, on a server of its own; what is missing answers nothing, a page, or needs two bundles."""
    document, recorded = json.loads(OPENAPI_FILE.read_bytes()), json.loads(ANSWERS_FILE.read_bytes())
    answers = record(document)
    assert same_fields(recorded, answers), "run `make docs`"
    operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert operations - answers.keys() == {
        "delete_content", "delete_interaction", "get_docs", "get_openapi", "get_page", "get_page_file",
        "post_model_back",
    }  # fmt: skip


def test_the_documentation_needs_nothing_from_elsewhere(shared_server):
    page = shared_server.client.get("/docs").text.replace(shared_server.url, "")
    assert "http://" not in page
    assert "https://" not in page.replace("https://images.example", "")


def test_every_example_in_the_documentation_works(start_server):
    server = start_server()
    server.client.put("/content/hollow-oak-barn", json={"text": "a barn"})
    for endpoint in ENDPOINTS:
        if endpoint.example is not None:
            path = endpoint.path.replace("{id:path}", "example")
            example = {"params" if endpoint.request is None else "json": endpoint.example}
            answer = server.client.request(endpoint.method, path, **example)
            if answer.status_code == 409 and answer.json()["error"]["code"] == "no_sequence_model":
                continue  # not exported here; test_sequence.py asks one
            assert answer.status_code == endpoint.status, answer.text
            msgspec.json.decode(answer.content, type=endpoint.response)
            server.client.patch("/content/example", json={"hidden": False})


HEAVY = (
    "torch",
    "transformers",
    "optimum",
    "onnx",
    "sklearn",
    "scipy",
    "huggingface_hub",
    "numpy.ma",
    "export",
    "training",
    "bench",
)

PROBE = f"""
import asyncio, sys
from pathlib import Path
import httpx
from runtime.app import create_app
from runtime.settings import Settings

before = set(sys.modules)
app = asyncio.run(create_app(Settings(models_dir=Path(sys.argv[1]), data_dir=Path(sys.argv[2]))))

async def use():
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.post("/embed", json={{"text": "a barn"}})).status_code == 200
        assert (await client.put("/content/a", json={{"text": "a barn"}})).status_code == 200
        event = {{"user_id": "u", "content_id": "a", "type": "save"}}
        assert (await client.post("/interactions", json=event)).status_code == 200
        for path in ("/rank", "/rank?explain=true"):
            assert (await client.post(path, json={{"user_id": "u", "candidates": ["a"]}})).status_code == 200
        assert (await client.post("/search", json={{"text": "a barn"}})).status_code == 200
        for path in ("/user/u/recommendations?diversity=0.5", "/user/u/style?dislikes=true", "/events/export", "/docs"):
            assert (await client.get(path)).status_code == 200

asyncio.run(use())
heavy = sorted(name for name in sys.modules if {{name, name.split(".")[0]}} & {{*{HEAVY!r}}})
sys.exit(f"loaded: {{heavy}}" if heavy else 0)
"""


def test_serving_loads_nothing_heavy(bundle_path, tmp_path):
    command = [sys.executable, "-c", PROBE, str(bundle_path.parent), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_a_second_server_on_the_same_data_is_refused(shared_server, bundle_path):
    environ = {
        "VOWS_PORT": "0",
        "VOWS_DATA_DIR": str(shared_server.data_dir),
        "VOWS_MODELS_DIR": str(bundle_path.parent),
    }
    result = subprocess.run(
        [sys.executable, "-m", "runtime"], env=environ, capture_output=True, text=True, timeout=WAIT_S
    )
    assert result.returncode == 1
    assert "vows-edge cannot start" in result.stderr
    assert str(shared_server.data_dir) in result.stderr


def test_a_bad_setting_stops_the_start():
    result = subprocess.run(
        [sys.executable, "-m", "runtime"], env={"VOWS_PORT": "many"}, capture_output=True, text=True, timeout=WAIT_S
    )
    assert (result.returncode, "VOWS_PORT='many'" in result.stderr) == (1, True)


def test_a_taken_port_is_an_error_that_names_it(shared_server):
    port = shared_server.url.rpartition(":")[2]
    result = subprocess.run(
        [sys.executable, "-m", "runtime"], env={"VOWS_PORT": port}, capture_output=True, text=True, timeout=WAIT_S
    )
    assert (result.returncode, f"cannot listen on 127.0.0.1:{port}" in result.stderr) == (1, True)


def test_help_names_every_setting():
    result = subprocess.run(
        [sys.executable, "-m", "runtime", "serve", "--help"], capture_output=True, text=True, timeout=WAIT_S
    )
    assert "VOWS_DATA_DIR" in result.stdout
