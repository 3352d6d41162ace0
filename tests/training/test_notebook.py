"""The commands of the notebook exist."""

import json
from pathlib import Path

import pytest

from export.__main__ import main as export
from training.__main__ import main as training

NOTEBOOK = Path(__file__).parents[2] / "training" / "colab.ipynb"


def test_its_commands_parse(capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    lines = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code").splitlines()
    commands = [line.removeprefix("!python -m ").split() for line in lines if line.startswith("!python -m ")]
    assert [command[:2] for command in commands] == [
        ["training", "train"], ["export", "sequence"],
    ]  # fmt: skip
    for package, *arguments in commands:
        known = [argument for argument in arguments if not argument.startswith("$source")]
        with pytest.raises(SystemExit) as ended:
            {"export": export, "training": training}[package]([*known, "--help"])
        assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_no_cell_has_an_output() -> None:
    assert all(not cell.get("outputs") for cell in json.loads(NOTEBOOK.read_text())["cells"])
