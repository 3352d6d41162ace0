"""The committed bundles are what `make export` makes; one that is not is found."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import msgspec
import pytest

from export.minilm import export_text_encoder
from export.recipes import INT8
from export.reproduction import byte_differences, differences_beyond
from export.sequence import REFERENCE, export_sequence
from export.stsb import INSTALL, load_stsb
from runtime.models.derived import DerivedFile, flipped
from runtime.models.installed import PACKAGED
from runtime.system.host import cpu_model
from tests.conftest import ROOT

MAKERS = ("numpy", "onnx", "onnxruntime", "optimum-onnx", "tokenizers", "torch", "transformers")


def _makes_the_same_bytes(committed: Path) -> bool:
    """Whether this machine has the versions of the lock file and the CPU that made the committed bundle."""
    lock = (ROOT / "requirements-dev.lock").read_text()
    pinned = {name: re.search(rf"^{name}==([^\s;]+)", lock, re.MULTILINE).group(1) for name in MAKERS}
    installed = {name: metadata.version(name).split("+")[0] for name in MAKERS}
    return pinned == installed and json.loads((committed / "manifest.json").read_text())["exported_on"] == cpu_model()


def _check(made: Path, committed: Path, kind: str) -> None:
    found = differences_beyond(made, committed, kind)
    assert found == []
    if _makes_the_same_bytes(committed):
        assert byte_differences(made, committed) == []


@pytest.mark.slow
def test_the_committed_text_encoder_is_what_the_export_makes(tmp_path: Path) -> None:
    if load_stsb("dev") is None:
        pytest.skip(f"its gate would not run: {INSTALL}")
    export_text_encoder(None, tmp_path / "minilm", INT8)
    _check(tmp_path / "minilm", PACKAGED / "minilm", "text-encoder")


@pytest.mark.slow
def test_the_committed_sequence_model_is_what_the_export_makes(tmp_path: Path) -> None:
    made = export_sequence(ROOT / REFERENCE, tmp_path / "sequence")
    _check(made, PACKAGED / "sequence", "sequence")


def _changed(folder: Path, name: str, change: Callable[[bytearray], None]) -> None:
    """Change a file, and what the manifest says about it."""
    content = bytearray((folder / name).read_bytes())
    change(content)
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    entry = msgspec.convert(manifest["derived"]["model.u8.ort"], DerivedFile)
    manifest["derived"]["model.u8.ort"]["sha256"] = hashlib.sha256(
        b"".join(flipped(io.BytesIO(content), entry))
    ).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_one_changed_weight_is_seen(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGED / "minilm", tmp_path / "minilm"))
    assert byte_differences(copy, PACKAGED / "minilm") == []

    def flip(content: bytearray) -> None:
        content[20_000_000] ^= 1

    _changed(copy, "model.s8.ort", flip)
    *manifest, model = byte_differences(copy, PACKAGED / "minilm")
    assert manifest == ["manifest.json differs in 'derived'", "manifest.json differs in 'files'"]
    assert model == "model.s8.ort differs in 1 bytes, the first at 20000000"


def test_weights_that_no_cpu_explains_are_beyond_the_limits(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGED / "minilm", tmp_path / "minilm"))
    derived = json.loads((copy / "manifest.json").read_text())["derived"]["model.u8.ort"]
    offset, length, _ = max(derived["flips"], key=lambda run: run[1])

    def lose_a_layer(content: bytearray) -> None:
        content[offset : offset + length] = bytes(length)

    _changed(copy, "model.s8.ort", lose_a_layer)
    (found,) = differences_beyond(copy, PACKAGED / "minilm", "text-encoder")
    assert found.startswith("vectors of ")


def test_another_recipe_is_reported(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGED / "sequence", tmp_path / "sequence"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["recipe"]["min_events"] = 4
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (found,) = differences_beyond(copy, PACKAGED / "sequence", "sequence")
    assert found.startswith("recipe is ")
