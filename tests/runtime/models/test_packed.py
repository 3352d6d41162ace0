"""Packed weights: mapped from a file that is made once, the same bits, and never a reason not to serve."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.models import packed
from runtime.models.bundle import Bundle, sha256_file
from runtime.models.packed import MODEL, WEIGHTS, CannotPack, packed_model
from runtime.models.text_encoder import TextEncoder, candidate_encodings, load_encoder
from runtime.settings import Settings
from runtime.sizing import RESERVE_BYTES, Held, size
from runtime.system.host import lies_in_memory
from tests.conftest import ROOT

LENGTHS = (2, 3, 16, 31, 128, 256)


@pytest.fixture
def bundle(bundle_path: Path, tmp_path: Path) -> Bundle:
    """Keeps what fits this machine in a folder of the test."""
    return replace(Bundle.load(bundle_path, kind="text-encoder"), private=tmp_path / "machine")


def _texts() -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [np.array([101, *draw.integers(1_000, 30_000, n - 2), 102], np.int32) for n in LENGTHS]


def _made(bundle: Bundle) -> Path:
    (folder,) = bundle.machine_folder.glob("*-packed-*")
    return folder


def test_vectors_are_bit_identical_to_those_of_weights_packed_in_memory(bundle):
    encoding = candidate_encodings(bundle)[0]
    mapped, in_memory = TextEncoder(bundle, encoding, packed=True), TextEncoder(bundle, encoding)
    for ids in _texts():
        assert mapped.embed(ids).tobytes() == in_memory.embed(ids).tobytes()
    assert mapped.mapped_bytes > 8 << 20
    assert in_memory.mapped_bytes == 0


def test_they_take_no_anonymous_memory(bundle):
    model = bundle.encoding_path(encoding := candidate_encodings(bundle)[0])
    mapped = packed_model(model, bundle.encoding_sha256(encoding), bundle.machine_folder)
    program = (
        "import sys; from pathlib import Path; from runtime.models.session import create_session; "
        "from bench.process_memory import read_process_memory as read; import os; "
        "before = read(os.getpid()).anonymous_mib; session = create_session(Path(sys.argv[1]), optimised=True); "
        "print(read(os.getpid()).anonymous_mib - before)"
    )
    taken_mib = {
        file: float(subprocess.run([sys.executable, "-c", program, file], cwd=ROOT, capture_output=True,
                                   check=True).stdout)
        for file in (mapped, model)
    }  # fmt: skip
    assert taken_mib[mapped] < taken_mib[model] - 7


def test_they_are_made_once_and_those_for_another_cpu_go(bundle, monkeypatch):
    load_encoder(bundle, packed=True)
    first = _made(bundle)
    before = (first / WEIGHTS).stat()
    load_encoder(bundle, packed=True)
    assert (first / WEIGHTS).stat().st_ino == before.st_ino
    monkeypatch.setattr(packed, "cpu_flags", lambda: frozenset({"another"}))
    load_encoder(bundle, packed=True)
    assert _made(bundle) != first
    assert not (bundle.machine_folder / ".packing").exists()


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, "digests.json"])
def test_a_damaged_file_is_made_again(bundle, name):
    load_encoder(bundle, packed=True)
    file = _made(bundle) / name
    whole = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(whole[: len(whole) // 2])
    load_encoder(bundle, packed=True)
    assert file.read_bytes() == whole


def test_what_a_killed_process_left_half_written_is_written_over(bundle):
    left = bundle.machine_folder / ".packing" / "old"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    load_encoder(bundle, packed=True)
    assert not left.exists()
    assert (_made(bundle) / WEIGHTS).exists()


def test_weights_that_compute_something_else_are_not_used(bundle, caplog):
    load_encoder(bundle, packed=True)
    weights, digests = _made(bundle) / WEIGHTS, _made(bundle) / "digests.json"
    for file in (weights, digests):
        file.chmod(0o644)
    content = np.fromfile(weights, np.uint8)
    content[len(content) // 2 :] ^= 0x55
    weights.write_bytes(content.tobytes())
    digests.write_text(json.dumps({name: sha256_file(weights.with_name(name)) for name in (MODEL, WEIGHTS)}))
    encoder, test = load_encoder(bundle, packed=True)
    assert test.min_cosine_to_recorded > 0.9999
    assert encoder.mapped_bytes == 0
    assert "without the weights that were packed" in caplog.text


def test_a_folder_that_cannot_be_written_leaves_them_in_memory(bundle, tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    encoder, _ = load_encoder(replace(bundle, private=tmp_path / "file" / "folder"), packed=True)
    assert encoder.mapped_bytes == 0
    assert "packed weights take memory" in caplog.text


def test_no_file_is_made_where_files_take_memory(bundle):
    shared_memory = Path("/dev/shm")
    if not (os.access(shared_memory, os.W_OK) and lies_in_memory(shared_memory)):
        pytest.skip("there is no /dev/shm that can be written")
    folder = shared_memory / f"vows-test-{os.getpid()}" / "machine"
    encoder, _ = load_encoder(replace(bundle, private=folder), packed=True)
    made = list(folder.glob("*packed*"))
    shutil.rmtree(folder.parent, ignore_errors=True)
    assert (encoder.mapped_bytes, made) == (0, [])


def test_a_model_that_cannot_be_packed_says_why(tmp_path):
    (tmp_path / "model.s8.ort").write_bytes(b"no model")
    with pytest.raises(CannotPack, match="ended with 1"):
        packed_model(tmp_path / "model.s8.ort", "0", tmp_path)
    assert [file.name for file in tmp_path.iterdir() if "pack" in file.name] == [".packing.lock"]


def test_the_page_cache_keeps_room_for_them():
    held = Held(scratches=1, mapped_bytes=10 << 20)
    for available in (120 << 20, 160 << 20):
        assert size(Settings(), available, held).budget.reserve == RESERVE_BYTES + held.mapped_bytes
        assert (
            size(Settings(), available, held).settings
            == size(Settings(), available - held.mapped_bytes, Held(scratches=1)).settings
        )
