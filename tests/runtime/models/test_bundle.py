"""A bundle is refused when it is not what its manifest says, with a message that says which file and why."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from runtime.models import text_encoder
from runtime.models.bundle import Bundle, BundleError
from runtime.models.text_encoder import candidate_encodings, load_encoder


@pytest.fixture
def copy(bundle_path: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(bundle_path, tmp_path / "minilm"))


def edit(bundle: Path, **changes: object) -> None:
    manifest = bundle / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_the_exported_bundle_is_accepted(bundle_path):
    bundle = Bundle.load(bundle_path, kind="text-encoder", dimensions=384)
    assert bundle.manifest.model_version == "sentence-bert-v1"
    assert bundle.manifest.max_tokens == 256
    assert bundle.golden()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "sequence"}, "kind is 'sequence', expected 'text-encoder'"),
        ({"dimensions": 768}, "dimensions is 768, expected 384"),
        ({"format": 99}, "format is 99, expected 1"),
        ({"kind": "image"}, "not a bundle manifest"),
        ({"derived": {}}, "does not list model.u8.ort"),
        ({"files": {"../../etc/passwd": {"sha256": "0", "bytes": 1}}}, "does not list"),
    ],
)
def test_a_wrong_manifest_is_refused(copy, changes, says):
    edit(copy, **changes)
    with pytest.raises(BundleError, match=says):
        Bundle.load(copy, kind="text-encoder", dimensions=384)


def test_a_file_outside_the_folder_is_refused(copy):
    files = json.loads((copy / "manifest.json").read_text())["files"]
    edit(copy, files={**files, "../outside": {"sha256": "0", "bytes": 1}})
    with pytest.raises(BundleError, match="leaves the folder"):
        Bundle.load(copy, kind="text-encoder")


@pytest.mark.parametrize("name", ["tokenizer.json", "golden.json"])
def test_a_changed_byte_is_found(copy, name):
    flip_a_bit(copy / name)
    with pytest.raises(BundleError, match=f"SHA-256 of {name}"):
        Bundle.load(copy, kind="text-encoder")


def test_a_changed_byte_of_the_model_is_found_before_it_is_opened_and_no_other_encoding_is_taken(copy):
    bundle = Bundle.load(copy, kind="text-encoder")
    flip_a_bit(copy / "model.s8.ort")
    (copy / "model.u8.ort").unlink(missing_ok=True)  # made of it
    with pytest.raises(BundleError, match=r"SHA-256 of model\.s8\.ort"):
        load_encoder(bundle)


def test_a_cut_file_and_a_missing_file_are_found(copy):
    tokenizer = copy / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"tokenizer\.json has \d+ bytes, the manifest says"):
        Bundle.load(copy, kind="text-encoder")
    tokenizer.unlink()
    with pytest.raises(BundleError, match=r"tokenizer\.json is missing"):
        Bundle.load(copy, kind="text-encoder")


def test_no_bundle_at_all_says_how_to_make_one(tmp_path):
    with pytest.raises(BundleError, match="vows-edge export minilm"):
        Bundle.load(tmp_path / "nothing", kind="text-encoder")


def test_the_self_test_catches_an_encoding_that_computes_something_else(copy):
    golden = json.loads((copy / "golden.json").read_text())
    golden[0]["quantised"] = golden[1]["quantised"]
    (copy / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(BundleError, match="lowest cosine to the recorded vectors is 0") as error:
        load_encoder(_resealed(copy, "golden.json"))
    for encoding in json.loads((copy / "manifest.json").read_text())["encodings"]:
        assert f"encoding {encoding}" in str(error.value)  # every one was tried


def test_an_encoding_that_does_not_work_here_gives_way_to_another(copy, monkeypatch):
    """u8 is exact on every CPU, s8 on some: as if this were one of those, with a damaged s8."""
    monkeypatch.setattr(text_encoder, "integer_encoding", lambda: "s8")
    bundle = Bundle.load(copy, kind="text-encoder")
    assert candidate_encodings(bundle) == ["s8", "u8"]
    bundle.encoding_path("u8")
    name = bundle.manifest.encodings["s8"]
    (copy / name).write_bytes(b"not a model")
    encoder, _ = load_encoder(_resealed(copy, name))
    assert encoder.encoding == "u8"


def _resealed(path: Path, name: str) -> Bundle:
    """The bundle with the manifest's digest of one file set to what the file now is."""
    content = (path / name).read_bytes()
    files = json.loads((path / "manifest.json").read_text())["files"]
    edit(path, files={**files, name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}})
    return Bundle.load(path, kind="text-encoder")
