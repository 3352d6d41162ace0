"""uint8 weights are made of the int8 ones: the bytes that the export compiled, once, whole, wherever there is room."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.cgroup import forget_cached, memory_limit
from bench.suite import NotMeasured
from runtime.models.bundle import Bundle, BundleError, DamagedFile, sha256_file
from runtime.models.installed import PACKAGED, make_derived
from runtime.models.text_encoder import TextEncoder
from tests.conftest import ROOT
from tests.waiting import WAIT_S

NAME = "model.u8.ort"


@pytest.fixture
def copy(bundle_path: Path, tmp_path: Path) -> Path:
    """The bundle as it is shipped, without what was made of it."""
    shipped = json.loads((bundle_path / "manifest.json").read_text())["files"]
    folder = tmp_path / "minilm"
    folder.mkdir()
    for name in (*shipped, "manifest.json"):
        shutil.copy(bundle_path / name, folder)
    return folder


def _digest(bundle: Bundle) -> str:
    return bundle.manifest.derived[NAME].sha256


def test_it_is_made_once_beside_the_bundle(copy: Path) -> None:
    bundle = Bundle.load(copy, kind="text-encoder")
    made = bundle.encoding_path("u8")
    assert made == copy / NAME
    assert sha256_file(made) == _digest(bundle)
    before = made.stat()
    assert bundle.encoding_path("u8").stat().st_ino == before.st_ino
    assert [file.name for file in copy.iterdir() if file.name.startswith(".")] == []


def test_vectors_of_both_encodings_are_bit_identical_where_both_are_exact(copy: Path) -> None:
    bundle = Bundle.load(copy, kind="text-encoder")
    encoders = [TextEncoder(bundle, encoding) for encoding in ("s8", "u8")]
    if encoders[0].self_test(16).min_cosine_to_recorded < 0.9999:
        pytest.skip("this CPU has no VNNI: int8 weights are not exact here")
    for text in ("a barn", "a ballroom with chandeliers and a band of twelve", "x" * 3000):
        ids = encoders[0].tokenize(text).ids
        first, second = (encoder.embed(ids) for encoder in encoders)
        assert first.tobytes() == second.tobytes()


def test_a_folder_that_cannot_be_written_leaves_it_to_the_cache(copy: Path, tmp_path: Path, read_only) -> None:
    cache = tmp_path / "data" / "model-cache"
    cache.mkdir(parents=True)
    (cache / "model.u8-ofanearlier.ort").write_bytes(b"old")
    read_only(copy)
    bundle = Bundle.load(copy, kind="text-encoder", cache=cache)
    made = bundle.encoding_path("u8")
    assert made.parent == cache
    assert sha256_file(made) == _digest(bundle)
    assert list(cache.iterdir()) == [made]  # and the one of an earlier bundle is gone
    TextEncoder(bundle, "u8").self_test(16)


def test_nowhere_to_write_says_what_to_set(copy: Path, read_only) -> None:
    read_only(copy)
    with pytest.raises(BundleError, match="VOWS_MODEL_CACHE_DIR"):
        Bundle.load(copy, kind="text-encoder").encoding_path("u8")


def test_a_damaged_one_is_made_again(copy: Path) -> None:
    bundle = Bundle.load(copy, kind="text-encoder")
    made = bundle.encoding_path("u8")
    content = bytearray(made.read_bytes())
    content[len(content) // 2] ^= 1
    made.write_bytes(content)
    assert sha256_file(bundle.encoding_path("u8")) == _digest(bundle)


def test_a_damaged_source_is_named_and_leaves_nothing(copy: Path) -> None:
    source = copy / "model.s8.ort"
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    source.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"SHA-256 of model\.s8\.ort"):
        Bundle.load(copy, kind="text-encoder").encoding_path("u8")
    assert not any(NAME in file.name for file in copy.iterdir())


def test_what_a_killed_process_left_is_written_over(copy: Path) -> None:
    (copy / f".{NAME}.partial").write_bytes(b"half" * 100)
    bundle = Bundle.load(copy, kind="text-encoder")
    assert sha256_file(bundle.encoding_path("u8")) == _digest(bundle)
    assert not (copy / f".{NAME}.partial").exists()


def test_several_processes_at_once_make_one_whole_file(copy: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from runtime.models.bundle import Bundle
print(Bundle.load(Path({str(copy)!r}), kind="text-encoder").encoding_path("u8").stat().st_ino)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    inodes = {process.communicate(timeout=WAIT_S)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(inodes) == 1
    assert sorted(file.name for file in copy.iterdir() if "u8" in file.name) == [NAME]


def test_an_image_gets_every_encoding(copy: Path) -> None:
    assert make_derived(copy) == [copy / NAME]
    assert (copy / NAME).stat().st_size == Bundle.load(copy, kind="text-encoder").manifest.derived[NAME].bytes


def test_the_weights_are_those_of_int8_plus_128(copy: Path) -> None:
    """The largest runs, as integers: what decision 001 promises of the two encodings."""
    bundle = Bundle.load(copy, kind="text-encoder")
    before, after = (np.fromfile(bundle.encoding_path(encoding), np.uint8) for encoding in ("s8", "u8"))
    weights = [(offset, length) for offset, length, mask in bundle.manifest.derived[NAME].flips if mask == 128]
    assert sum(length for _, length in weights) > 10_000_000
    for offset, length in weights:
        integers = before[offset : offset + length].view(np.int8).astype(np.int16)
        assert (integers + 128 == after[offset : offset + length]).all()


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch):
    """Make a folder one that cannot be written; root can write everywhere, so that it has to be told."""

    def make(folder: Path) -> None:
        folder.chmod(0o555)
        if os.access(folder, os.W_OK):
            real = os.access
            monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and real(path, mode))

    return make


@pytest.mark.slow
def test_a_first_start_in_180_mib_makes_it(copy: Path, tmp_path: Path) -> None:
    """With both models and a cold page cache, as on a machine of 256 MiB after its system has taken its part."""
    (copy.parent / "sequence").symlink_to(PACKAGED / "sequence")
    settings = {"PORT": "0", "DATA_DIR": str(tmp_path / "data"), "MODELS_DIR": str(copy.parent), "ENCODING": "u8",
                "LOG_FORMAT": "json"}  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOWS_")}
    environment = {**kept, **{f"VOWS_{name}": value for name, value in settings.items()}}
    try:
        with memory_limit(180) as group:
            forget_cached([copy, ROOT / "runtime"])
            with subprocess.Popen(
                [sys.executable, "-m", "runtime"], cwd=ROOT, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=group.join,
            ) as process:  # fmt: skip
                lines = []
                for line in process.stdout:
                    lines.append(line)
                    if "vows-edge on" in line:
                        break
                process.terminate()
            assert any("vows-edge on" in line for line in lines), "".join(lines)
            assert group.oom_kills() == 0
    except NotMeasured as reason:
        pytest.skip(str(reason))
    assert sha256_file(copy / NAME) == _digest(Bundle.load(copy, kind="text-encoder"))
