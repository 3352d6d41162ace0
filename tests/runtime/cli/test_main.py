"""`vows-edge`: its sub-commands, and one line where the packages that one of them needs are not installed."""

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from runtime import VERSION
from runtime.cli.extras import COMMANDS
from runtime.cli.main import main
from tests.conftest import ROOT

# What the server needs, and so what every sub-command may import.
RUNTIME = {"httptools", "msgspec", "numpy", "onnxruntime", "starlette", "tokenizers", "uvicorn", "uvloop"}
OWN = {"bench", "examples", "export", "runtime", "training"}
OPTIONAL = {"huggingface_hub"}  # one option each; its absence is reported where it is needed
ELSEWHERE = {ROOT / "training/published/parity.py"}  # runs in an environment of its own, as its first lines say


def _without(modules: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`vows-edge` in an interpreter that cannot import these modules."""
    program = f"""
import sys
sys.modules.update(dict.fromkeys({list(modules)!r}))
from runtime.cli.main import main
raise SystemExit(main({list(arguments)!r}))
"""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.extra])
def test_a_missing_extra_is_one_line(name: str) -> None:
    command = COMMANDS[name]
    for missing in (command.needs, command.needs[-1:]):
        result = _without(missing, name, "--help")
        assert result.returncode == 2
        assert result.stderr == f'vows-edge {name} needs: pip install "vows-edge[{command.extra}]"\n'
        assert result.stdout == ""


@pytest.mark.parametrize("command", ["train", "train ranker", "evaluate", "replay"])
def test_help_comes_without_the_slow_imports(command: str) -> None:
    for module in COMMANDS[command.split()[0]].needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: make install")
    program = f"""
import sys
from runtime.cli.main import main
try:
    main({[*command.split(), "--help"]!r})
finally:
    print(*{{"torch", "sklearn", "scipy", "pandas", "matplotlib"}} & sys.modules.keys(), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "\n")
    assert result.stdout.startswith(f"usage: vows-edge {command} ")


@pytest.mark.parametrize(("package", "name"), [("training", "train"), ("export", "export")])
def test_a_missing_extra_is_one_line_for_a_module_too(package: str, name: str) -> None:
    command = COMMANDS[name]
    program = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({list(command.needs)!r}))
sys.argv = [{package!r}, "--help"]
runpy.run_module({package!r}, run_name="__main__", alter_sys=True)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 2
    assert line.startswith(f'python -m {package} needs: pip install "vows-edge[{command.extra}]" (')


def test_a_module_that_nobody_listed_is_named_before_that_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "runtime.models.bundle", None)
    monkeypatch.delitem(sys.modules, "training.__main__", raising=False)
    assert main(["train", "--help"]) == 2
    assert "runtime.models.bundle" in (error := capsys.readouterr().err).splitlines()[0]
    assert error.splitlines()[1:] == ['vows-edge train needs: pip install "vows-edge[train]"']


@pytest.mark.parametrize(
    "arguments",
    [["serve", "--help"], ["doctor", "--help"], ["key"], ["backup", "--help"], ["restore", "--help"],
     ["import", "--help"], ["models", "list"], ["demo", "--help"]],
    ids=" ".join,
)  # fmt: skip
def test_the_rest_runs_without_any_extra(arguments: list[str]) -> None:
    needed = {module for command in COMMANDS.values() for module in command.needs}
    result = _without(sorted(needed), *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


@pytest.mark.parametrize(("package", "name"), [("export", "export"), ("training", "evaluate")])
def test_what_a_package_imports_is_looked_for_before_it_starts(package: str, name: str) -> None:
    imported = set()
    for file in set((ROOT / package).rglob("*.py")) - ELSEWHERE:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names - RUNTIME - OWN - OPTIONAL <= set(COMMANDS[name].needs)


def test_a_reader_that_ends_early_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "runtime", "key"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_and_version_and_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"vows-edge {VERSION}\n"
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    listed = capsys.readouterr().out
    for name in ("serve", "doctor", "key", "backup", "restore", "import", "models", *COMMANDS):
        assert f"\n    {name} " in listed
    for wrong in ([], ["nothing"], ["models"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)


def test_the_modules_still_run_by_themselves() -> None:
    for module in ("runtime", "export", "training", "examples.wedding.demo"):
        command = [sys.executable, "-m", module, "--help"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert (result.returncode, result.stdout[:6]) == (0, "usage:")
