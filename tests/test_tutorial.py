"""The commands of docs/tutorial.md, run as they are pasted."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("torch", reason="PyTorch is not installed: make install")


@pytest.mark.slow
def test_the_tutorial_runs_as_it_is_pasted(tmp_path: Path) -> None:
    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    commands = "".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "VOWS_MODELS_DIR": "models",
        "VOWS_CACHE_DIR": str(tmp_path / "cache"),
        "ORT_DISABLE_TELEMETRY": "1",
    }
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads((work / "verdict.json").read_text())
    assert found["outcome"] == "better"
    assert found["sentence"] in done.stdout
    assert "rankers/mine" in done.stdout
