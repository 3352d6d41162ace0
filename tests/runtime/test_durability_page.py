"""docs/durability.md has a sentence for every operation that writes, and for every command."""

from pathlib import Path

from runtime.api.endpoints import ENDPOINTS

PAGE = (Path(__file__).parents[2] / "docs" / "durability.md").read_text()
STORES_NOTHING = {"/embed", "/embed/batch", "/v1/embeddings", "/rank", "/search", "/user/{id:path}/next-action"}


def test_every_operation_that_writes_has_its_sentence():
    writing = [endpoint for endpoint in ENDPOINTS if endpoint.method != "GET" and endpoint.path not in STORES_NOTHING]
    named = {f"`{endpoint.method} {endpoint.path.replace(':path', '')}` |" for endpoint in writing}
    page = PAGE.replace("{event_id}", "{id}")
    assert [operation for operation in sorted(named) if operation not in page] == []


def test_every_command_has_its_sentence():
    assert "`vows-edge backup FILE` |" in PAGE
    assert "`vows-edge restore FILE` |" in PAGE
