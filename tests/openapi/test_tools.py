"""Linters find nothing in the OpenAPI document; clients that generators make from it compile and work as they are.

The tools live in environments of their own, which `make generators` installs from the locks in this folder.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DOCUMENT = ROOT / "runtime/api/openapi.json"
INSTALLED = ROOT / "build/openapi"
PYTHON, NODE = INSTALLED / "python/bin", INSTALLED / "node/node_modules"

pytestmark = pytest.mark.slow

# What every worker says at its end, with a server that nobody else uses.
EXPECTED = {
    "stored": "created", "event": 1, "ranked": {"gen-hall", "gen-tent"}, "found": 3, "feed": 0, "vectors": 2,
    "refused": "$.content_id", "log": 1,
}  # fmt: skip


def tool(name: str) -> str:
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js here")
    if not (NODE / ".bin" / name).exists():
        pytest.skip("the OpenAPI tools are not installed: make generators")
    return str(NODE / ".bin" / name)


def run(*command: object, cwd: Path) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
        env=environment | {"NO_PROXY": "*", "REDOCLY_TELEMETRY": "off", "CI": "1", "PYTHONPATH": str(cwd)},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path):
    """A folder in which packages of Node.js are found."""
    if NODE.exists():
        (tmp_path / "node_modules").symlink_to(NODE)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    return tmp_path


def with_keys(tmp_path, start_server) -> Path:
    """The document as a server with keys sends it."""
    from runtime.http.api_keys import entry, make_key

    server = start_server(api_keys=entry("app", "read", make_key()), event_types="buy=share:9")
    file = tmp_path / "keys.json"
    file.write_text(server.client.get("/openapi.json").text)
    return file


@pytest.mark.parametrize("served", [False, True], ids=["of the repository", "with keys"])
def test_redocly_finds_nothing(folder, start_server, served):
    document = with_keys(folder, start_server) if served else DOCUMENT
    said = run(tool("redocly"), "lint", "--max-problems=50", document, cwd=folder)
    assert "Your API description is valid" in said
    assert "warning" not in said.lower().replace("deprecation warning", "")


@pytest.mark.parametrize("served", [False, True], ids=["of the repository", "with keys"])
def test_spectral_finds_nothing(folder, start_server, served):
    document = with_keys(folder, start_server) if served else DOCUMENT
    (folder / ".spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    said = run(tool("spectral"), "lint", "--fail-severity=hint", document, cwd=folder)
    assert "No results" in said


@pytest.mark.parametrize("generator", ["openapi-typescript", "hey-api"])
def test_a_typescript_client_compiles_and_feeds(folder, start_server, generator):
    if generator == "openapi-typescript":
        run(tool("openapi-typescript"), DOCUMENT, "-o", "schema.ts", cwd=folder)
        worker = "fetch_worker"
    else:
        run(tool("openapi-ts"), "-i", DOCUMENT, "-o", "hey", "-c", "@hey-api/client-fetch", cwd=folder)
        for file in (folder / "hey").rglob("*.ts"):  # Node.js wants the names of files
            file.write_text(with_extensions(file))
        worker = "hey_worker"
    shutil.copy(HERE / f"node/{worker}.ts", folder)
    compile_typescript(folder, f"{worker}.ts")
    check(run("node", f"out/{worker}.js", start_server().url, cwd=folder))


def test_a_python_client_is_typed_and_feeds(tmp_path, start_server):
    if not (PYTHON / "openapi-python-client").exists():
        pytest.skip("the OpenAPI tools are not installed: make generators")
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    run(PYTHON / "openapi-python-client", "generate", "--path", DOCUMENT, "--output-path", "vows_client",
        "--meta", "none", "--config", "config.yml", cwd=tmp_path)  # fmt: skip
    shutil.copy(HERE / "python/worker.py", tmp_path)
    run(PYTHON / "mypy", "worker.py", "vows_client", cwd=tmp_path)
    check(run(PYTHON / "python", "worker.py", start_server().url, cwd=tmp_path))


@pytest.mark.parametrize("language", ["python", "typescript"])
def test_the_example_workers_feed(folder, start_server, language):
    example = ROOT / "examples/clients" / {"python": "feed_worker.py", "typescript": "feed_worker.ts"}[language]
    assert len(example.read_text().splitlines()) <= 40
    server = start_server()
    items = [{"id": f"item {n}", "text": f"venue number {n}"} for n in range(5)]
    server.client.post("/content/batch", json=items)
    if language == "python":
        command = [sys.executable, str(example)]
    else:
        tool("tsc")
        shutil.copy(example, folder)
        compile_typescript(folder, example.name)
        command = ["node", "out/feed_worker.js"]
    for stored in (3, 0):
        lines = [json.loads(line) for line in run(*command, server.url, "ann/1", "bo", cwd=folder).splitlines()]
        assert [line["user"] for line in lines] == ["ann/1", "bo"]
        assert all(len(line["feed"]) == 3 for line in lines)
        if stored:
            assert [line["stored"] for line in lines] == [3, 3]


def compile_typescript(folder: Path, file: str) -> None:
    run(tool("tsc"), file, "--strict", "--module", "nodenext", "--target", "es2022", "--outDir", "out",
        "--skipLibCheck", "--types", "node", cwd=folder)  # fmt: skip


def with_extensions(file: Path) -> str:
    import re

    def full(match: re.Match[str]) -> str:
        target = file.parent / match[2]
        return f"{match[1]}'{match[2]}{'/index.js' if target.is_dir() else '.js'}'"

    return re.sub(r"(from )'(\.[^']*?)(?<!\.js)'", full, file.read_text())


def check(said: str) -> None:
    found = json.loads(said.splitlines()[-1])
    batch = found.pop("batch")
    assert (batch["stored"], batch["rejected"]) == (2, 0)
    assert found | {"ranked": set(found["ranked"])} == EXPECTED
