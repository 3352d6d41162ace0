"""Imports point one way. Every import statement counts, also those for type checking and those inside functions."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("runtime", "export", "training", "bench")

# What the files of each package of `runtime` (or of a module directly in it) may import of the others.
_DOMAIN = {"catalog", "models", "store", "personalization"}
_SERVING = {"serving", "experiments", *_DOMAIN, "settings", "setting_fields", "system"}
_API = {"state", "http", *_SERVING}
RUNTIME = {
    "__main__": {"cli"},
    "cli": {"app", "api", "environment", "sizing", "transfer", "transfer_files", *_API},
    "transfer": {"transfer_files"},
    "transfer_files": set(),
    "app": {"api", "sizing", *_API},
    "api": _API,
    "state": _API - {"state"},
    "sizing": {"http", *_SERVING},
    "serving": _SERVING - {"serving"},
    "catalog": {"personalization", "system"},
    "models": {"personalization", "system"},
    "store": {"personalization", "system"},
    "personalization": set(),
    "experiments": set(),
    "setting_fields": set(),
    "environment": {"settings", "setting_fields", "deprecated_settings"},
    "settings": {"setting_fields", "http", "personalization"},
    "deprecated_settings": set(),
    "http": {"system"},
    "system": set(),
}

# Top-level names that a package may not import; of our own and of other people's.
FORBIDDEN = {
    "runtime": {
        "export", "training", "bench", "tests", "docs", "examples",
        "torch", "transformers", "optimum", "onnx", "sklearn", "scipy", "pandas", "matplotlib", "tqdm",
    },
    "export": {"bench", "tests"},
    "training": {"bench", "tests"},
    "bench": {"tests"},
}  # fmt: skip


def imports(root: Path, package: str) -> dict[str, set[str]]:
    """What each module of a package imports, as dotted names: modules of `root` in full, others by their first part."""
    modules = {_name(root, file): file for file in sorted((root / package).rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, file in modules.items():
        found[name] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {_resolved(root, alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} has a relative import"
                base = node.module or ""
                found[name] |= {_resolved(root, f"{base}.{alias.name}") for alias in node.names}
        found[name].discard(name)
    return found


def _name(root: Path, file: Path) -> str:
    dotted = ".".join(file.relative_to(root).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def _resolved(root: Path, dotted: str) -> str:
    """The longest part of a dotted name that is a module of ours, or the first part."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        path = root.joinpath(*parts[:end])
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return ".".join(parts[:end])
    return parts[0]


def upward(found: dict[str, set[str]], allowed: dict[str, set[str]]) -> list[str]:
    """Imports within `runtime` that the table does not allow."""
    wrong = []
    for module, imported in found.items():
        layer = _layer(module)
        for other in sorted(imported):
            below = _layer(other)
            if other.startswith("runtime.") and below != layer and below not in allowed[layer]:
                wrong.append(f"{module} imports {other}")
    return wrong


def _layer(module: str) -> str:
    return [*module.split("."), "runtime"][1]


def cycle(found: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty where there are none."""
    try:
        tuple(graphlib.TopologicalSorter(found).static_order())
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_the_layers_of_the_runtime_import_downwards() -> None:
    found = imports(ROOT, "runtime")
    del found["runtime"]
    assert {_layer(module) for module in found} == RUNTIME.keys(), "a new layer: say what it may import"
    assert upward(found, RUNTIME) == []


# The packages of `training`, each of which may import those before it; "" are the modules directly in it.
TRAINING = ("data", "simulator", "", "evaluation", "published", "ranker", "off_policy", "experiments", "report", "cli")


def test_the_packages_of_training_import_one_way() -> None:
    found = imports(ROOT, "training")
    layer = {module: package if (package := _layer(module)) in TRAINING else "" for module in found}
    assert set(layer.values()) == set(TRAINING)
    wrong = [
        f"{module} imports {other}"
        for module, imported in found.items()
        if module != "training.__main__"  # it names the commands of all
        for other in sorted(imported & found.keys() - {"training"})
        if TRAINING.index(layer[other]) > TRAINING.index(layer[module])
    ]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert cycle(imports(ROOT, package)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_that_it_must_do_without(package: str) -> None:
    found = imports(ROOT, package)
    wrong = {
        module: bad for module, names in found.items() if (bad := {n.split(".")[0] for n in names} & FORBIDDEN[package])
    }
    assert wrong == {}


def test_the_api_computes_nothing() -> None:
    """Structs and one call: neither arrays nor SQL."""
    found = {module: names for module, names in imports(ROOT, "runtime").items() if _layer(module) == "api"}
    assert {module for module, names in found.items() if names & {"numpy", "sqlite3"}} == set()


def test_the_http_layer_is_complete_without_the_domain() -> None:
    """It can be imported alone: nothing of the domain comes with it."""
    program = (
        "import sys, runtime.http.server, runtime.http.endpoint, runtime.http.openapi, runtime.http.batch\n"
        "print(*sorted(name for name in sys.modules if name.startswith('runtime.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {_layer(name) for name in done.stdout.split()} <= {"http", "system"}


def test_the_checks_find_what_they_look_for(tmp_path: Path) -> None:
    for name, source in {
        "runtime/__init__.py": "",
        "runtime/system/__init__.py": "",
        "runtime/system/host.py": "from typing import *\nif TYPE_CHECKING:\n    from runtime.api import users",
        "runtime/api/__init__.py": "",
        "runtime/api/users.py": "def f():\n    import runtime.system.host\n    import torch.nn",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    found = imports(tmp_path, "runtime")
    assert found["runtime.api.users"] == {"runtime.system.host", "torch"}
    assert upward(found, RUNTIME) == ["runtime.system.host imports runtime.api.users"]
    assert set(cycle(found)) == {"runtime.system.host", "runtime.api.users"}


def test_the_api_reaches_durable_state_through_serving() -> None:
    """What is stored, and how it is read, is a matter of `serving/`: an endpoint has types and one call."""
    reached = [
        f"{file.relative_to(ROOT)}:{node.lineno} state.{node.attr}"
        for file in sorted((ROOT / "runtime/api").glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("store", "catalog", "popularity")
        and isinstance(node.value, ast.Name) and node.value.id == "state"
    ]  # fmt: skip
    assert reached == []
