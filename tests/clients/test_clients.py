"""The client libraries that people use, at their default settings: each gets the vectors of /embed, in order.

`make clients` installs them, from the locks in this folder, into environments of their own.
"""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import openai
import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / "build/clients"
PYTHON, NODE = INSTALLED / "python/bin/python", INSTALLED / "node/node_modules"
TEXTS = ["a rustic barn", "花嫁 😀", *(f"venue number {n} {'with a view ' * (n % 9)}" for n in range(700))]

# Requests go to the server alone: no proxy, no telemetry, no list of prices.
QUIET = {"NO_PROXY": "*", "HAYSTACK_TELEMETRY_ENABLED": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

CLIENTS = [
    *(("python", name) for name in ("openai", "langchain", "llama-index", "litellm", "haystack")),
    *(("node", name) for name in ("openai", "langchain", "ai-sdk")),
]


def command(runtime: str) -> list[str]:
    if runtime == "python":
        if not PYTHON.exists():
            pytest.skip("the Python clients are not installed: make clients")
        return [str(PYTHON), str(ROOT / "tests/clients/python/clients.py")]
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js here")
    if not NODE.exists():
        pytest.skip("the Node.js clients are not installed: make clients")
    # Packages are looked up beside the script.
    script = shutil.copy(ROOT / "tests/clients/node/clients.mjs", NODE.parent)
    return [node, str(script)]


@pytest.fixture(scope="module")
def expected(shared_server):
    vectors = []
    for start in range(0, len(TEXTS), 256):
        items = [{"text": text} for text in TEXTS[start : start + 256]]
        answer = shared_server.client.post("/embed/batch", json={"items": items}).json()
        vectors += [one["embedding"] for one in answer["results"]]
    return np.array(vectors)


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "client"), CLIENTS, ids=lambda part: part)
def test_a_client_gets_the_vectors_of_embed(shared_server, expected, runtime, client):
    """Seven hundred texts: above what some libraries send in one request, and below what others do."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [*command(runtime), f"{shared_server.url}/v1", client],
        input=json.dumps(TEXTS), capture_output=True, text=True, timeout=300, check=False,
        env=environment | QUIET,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    vectors = np.array(json.loads(done.stdout.splitlines()[-1]))
    assert vectors.shape == expected.shape
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.slow
def test_six_clients_with_batches_of_long_texts_all_succeed(start_server):
    """128 texts of about 600 tokens each, with the client's own two retries and no others."""
    server = start_server(cache_bytes=0)
    failed: list[Exception] = []

    def ask(number: int) -> None:
        long = "a long walk through the old garden at dusk " * 66
        texts = [f"client {number}, venue {n}: {long}" for n in range(128)]
        try:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=300)
            assert len(client.embeddings.create(model="sentence-bert-v1", input=texts).data) == 128
        except Exception as error:
            failed.append(error)

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert failed == []
    metrics = server.client.get("/metrics").text
    assert 'http_requests_total{endpoint="POST /v1/embeddings",status="200"} 6' in metrics  # nobody had to try again


def test_java_offers_http2_with_every_request_and_is_answered(shared_server):
    """A single file, which a JDK runs as it is."""
    if shutil.which("javac") is None:
        pytest.skip("there is no JDK here: apt-get install openjdk-17-jdk-headless")
    done = subprocess.run(
        ["java", str(ROOT / "tests/clients/java/Client.java"), shared_server.url],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split("\n") == ["200 HTTP_1_1"] * 5 + ["200"] * 20 + [""], done.stderr[-2000:]
