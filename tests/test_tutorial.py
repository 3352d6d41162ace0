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
        "OMP_NUM_THREADS": "1",  # threads that wait for each other beside other tests take more time than they save
    }
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(commands.splitlines()) == 10
    assert "\nbetter: " in done.stdout
    assert "sequence " in done.stdout  # the checkpoint was judged, too
    assert "next action, logistic regression: accuracy" in done.stdout
    assert (work / "models/ranker").resolve() == work / "models/rankers/mine"
    assert (work / "models/sequence").resolve() == work / "models/sequences/mine"
    manifest = json.loads((work / "models/sequence/manifest.json").read_text())
    assert manifest["model_version"] == "mine"
