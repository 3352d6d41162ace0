"""The whole export, from a folder of weights to a bundle the runtime loads, or to a refusal."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export import minilm
from export.__main__ import main
from export.errors import GateError
from export.minilm import export_text_encoder
from export.recipes import FP32, INT8, Gate
from runtime.models.bundle import Bundle
from runtime.models.text_encoder import TextEncoder
from tests.export.conftest import DIMENSIONS, TINY_RECIPE

IMPOSSIBLE = replace(INT8, gate=Gate(min_mean_cosine=1.5))


def test_the_bundle_holds_what_its_manifest_says(tiny_bundle: Bundle) -> None:
    manifest = tiny_bundle.manifest
    on_disk = {file.name for file in tiny_bundle.path.iterdir()} - {"manifest.json", *manifest.derived}
    assert on_disk == set(manifest.files)
    assert on_disk == {"model.s8.ort", "tokenizer.json", "golden.json"}
    assert manifest.derived["model.u8.ort"].source == "model.s8.ort"
    assert manifest.encodings == {"s8": "model.s8.ort", "u8": "model.u8.ort"}
    assert (manifest.dimensions, manifest.max_tokens) == (DIMENSIONS, 256)
    assert manifest.source.license == "mit"
    assert "model.safetensors" in manifest.source.files
    assert manifest.recipe == TINY_RECIPE.parameters()


def test_the_manifest_says_which_gates_did_not_run(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.manifest.quality["stsb_dev"] == {"ran": False}


def test_the_tokenizer_neither_cuts_nor_pads(tiny_bundle: Bundle) -> None:
    content = json.loads((tiny_bundle.path / "tokenizer.json").read_text())
    assert content["truncation"] is None
    assert content["padding"] is None


def test_golden_texts_span_the_lengths(tiny_bundle: Bundle) -> None:
    lengths = [len(golden.input_ids) for golden in tiny_bundle.golden()]
    assert min(lengths) == 3
    assert max(lengths) == 256
    assert len(set(lengths)) > 8


def test_the_runtime_reproduces_the_recorded_vectors(tiny_bundle: Bundle) -> None:
    encoder = TextEncoder(tiny_bundle, "u8")
    for golden in tiny_bundle.golden():
        vector = encoder.embed(np.asarray(golden.input_ids, np.int32))
        assert vector.tobytes() == np.asarray(golden.quantised, np.float32).tobytes()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_exporting_twice_writes_the_same_bytes(
    tiny_bundle: Bundle, tiny_folder: Path, tmp_path: Path, without_stsb: None
) -> None:
    export_text_encoder(str(tiny_folder), tmp_path / "again", TINY_RECIPE)
    files = [*tiny_bundle.manifest.files, "manifest.json"]
    assert sorted(file.name for file in (tmp_path / "again").iterdir()) == sorted(files)
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (tiny_bundle.path / name).read_bytes(), name


def test_fp32_has_one_encoding_and_fp32_vectors(tiny_folder: Path, tmp_path: Path, without_stsb: None) -> None:
    export_text_encoder(str(tiny_folder), tmp_path / "fp32", FP32)
    bundle = Bundle.load(tmp_path / "fp32", kind="text-encoder")
    assert bundle.manifest.encodings == {"fp32": "model.fp32.ort"}
    for golden in bundle.golden():
        assert np.dot(golden.fp32, golden.quantised) == pytest.approx(1, abs=1e-5)


def test_a_missed_gate_writes_nothing(tiny_folder: Path, tmp_path: Path, without_stsb: None) -> None:
    with pytest.raises(GateError, match=r"mean cosine to fp32 is 0\.\d+, the gate is 1\.50000: 0\.\d+ short"):
        export_text_encoder(str(tiny_folder), tmp_path / "refused", IMPOSSIBLE)
    assert list(tmp_path.iterdir()) == []


def test_a_missed_gate_leaves_the_older_bundle_and_exits_with_1(
    tiny_folder: Path,
    tmp_path: Path,
    without_stsb: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "manifest.json").write_text("older")
    monkeypatch.setitem(minilm.RECIPES, "int8", IMPOSSIBLE)
    assert main(["minilm", "--model", str(tiny_folder), "--out", str(out)]) == 1
    assert "misses its gate" in (error := capsys.readouterr().err)
    assert "NOT RUN: the STS-B gate" in error
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]
    assert (out / "manifest.json").read_text() == "older"


def test_a_model_file_over_the_limit_is_refused(tiny_folder: Path, tmp_path: Path, without_stsb: None) -> None:
    gate = replace(TINY_RECIPE.gate, max_model_bytes=1_000)
    with pytest.raises(GateError, match=r"model\.s8\.ort has \d+ bytes, the gate is 1000: \d+ too many"):
        export_text_encoder(str(tiny_folder), tmp_path / "refused", replace(TINY_RECIPE, gate=gate))


@pytest.mark.parametrize("command", [[], ["minilm"], ["check"], ["compare"]])
def test_help_explains_each_command(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert len(capsys.readouterr().out) > 400


def test_check_compares_with_the_recorded_vectors(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    count = len(tiny_bundle.golden())
    assert main(["check", str(tiny_bundle.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["s8", "u8"]
    assert lines[1].endswith(f"{count} of {count} identical")


def test_check_refuses_what_is_not_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 1
    assert "no model bundle" in capsys.readouterr().err


def test_the_shipped_bundle_was_written_by_the_recipe_of_record(bundle_path: Path) -> None:
    bundle = Bundle.load(bundle_path, kind="text-encoder", dimensions=384)
    assert bundle.manifest.recipe == INT8.parameters(), "the bundle is of an older recipe: make export"
    held_out = bundle.manifest.quality["held_out"]["u8"]
    assert held_out["mean"] >= INT8.gate.min_mean_cosine
    assert held_out["min"] >= INT8.gate.min_cosine
    assert sum(entry.bytes for entry in bundle.manifest.files.values()) < 25_000_000
