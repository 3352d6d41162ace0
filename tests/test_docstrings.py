"""Everything public has a docstring, except what another docstring speaks for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("runtime", "export", "training", "bench", "docs", "examples")

# Called by a library or by the command line, which say what they are: sub-commands, asyncio, httptools, logging.
CALLBACKS = {
    "add_command", "main",
    "connection_made", "connection_lost", "data_received",
    "on_header", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete",
    "emit", "format", "formatException",
}  # fmt: skip

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public classes and functions of a module, and public methods of its public classes, by dotted name."""
    for one in getattr(node, "body", ()):
        if isinstance(one, Definition) and not one.name.startswith("_"):
            yield prefix + one.name, one
            if isinstance(one, ast.ClassDef):
                yield from public(one, f"{one.name}.")


def promised(trees: list[ast.Module]) -> set[str]:
    """Names of the methods that a protocol or a base class documents: who implements them need not repeat it."""
    classes = [one for tree in trees for one in ast.walk(tree) if isinstance(one, ast.ClassDef)]
    bases = {ast.unparse(base).split("[")[0].rpartition(".")[2] for one in classes for base in one.bases}
    return {
        method.name
        for one in classes
        if one.name in bases or any(ast.unparse(base).split("[")[0] == "Protocol" for base in one.bases)
        for method in one.body
        if isinstance(method, Definition) and ast.get_docstring(method)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_has_a_docstring(package):
    """A method of a protocol is documented there. Functions on tables do what the store's method of that name does."""
    files = sorted((ROOT / package).rglob("*.py"))
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    spoken_for = promised(list(trees.values())) | CALLBACKS
    assert files
    missing = []
    for file, tree in trees.items():
        for name, one in public(tree):
            last = name.rpartition(".")[2]
            by_another = last in spoken_for and ("." in name or "store" in file.parts or last in CALLBACKS)
            if not ast.get_docstring(one) and not by_another:
                missing.append(f"{file.relative_to(ROOT)}:{one.lineno} {name}")
    assert missing == []
