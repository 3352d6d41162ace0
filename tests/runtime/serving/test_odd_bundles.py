"""Whatever happens to a bundle's folder, the server serves on, says what it refused, and takes the next good one."""

import json
import os
import shutil

import pytest

from runtime.models.bundle import Bundle, BundleError
from runtime.models.text_encoder import load_encoder
from runtime.serving.sequence_bundle import SequenceBundle
from tests.waiting import until


@pytest.fixture
def good(bundle_path):
    return bundle_path.parent / "sequence"


@pytest.fixture
def content_version(good):
    return json.loads((good / "manifest.json").read_bytes())["recipe"]["content_model_version"]


def changed_manifest(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def a_folder(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def a_fifo(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def a_loop(folder):
    (folder / "user.ort").unlink()
    (folder / "user.ort").symlink_to("user.ort")


ODD = {
    "half of the manifest": lambda folder: os.truncate(folder / "manifest.json", 500),
    "an empty manifest": lambda folder: os.truncate(folder / "manifest.json", 0),
    "a manifest that is a folder": a_folder,
    "a manifest that is a fifo": a_fifo,
    "a manifest of deep JSON": lambda folder: (folder / "manifest.json").write_bytes(b"[" * 100_000),
    "a manifest of 40 MB": lambda folder: os.truncate(folder / "manifest.json", 40 << 20),
    "a manifest of bytes": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"),
    "no recipe": lambda folder: changed_manifest(folder, recipe={}),
    "a recipe of other types": lambda folder: changed_manifest(
        folder, recipe={"min_events": "three", "content_model_version": []}
    ),
    "no graphs": lambda folder: changed_manifest(folder, graphs={}),
    "a graph outside": lambda folder: changed_manifest(folder, graphs={"user": "../user.ort"}),
    "another format": lambda folder: changed_manifest(folder, format=99),
    "a missing file": lambda folder: (folder / "ids.npy").unlink(),
    "a link to itself": a_loop,
    "half of a file": lambda folder: os.truncate(folder / "user.ort", 1000),
    "a flipped bit": lambda folder: (folder / "item.ort").write_bytes(
        bytes([1]) + (folder / "item.ort").read_bytes()[1:]
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_bundle_is_refused_with_a_reason_and_the_next_good_one_is_found(
    good, content_version, tmp_path, what, caplog
):
    folder = tmp_path / "sequence"
    shutil.copytree(good, folder)
    ODD[what](folder)
    bundles = SequenceBundle([folder], content_version, tmp_path / "copies")
    assert bundles.changed()
    assert bundles.load(otherwise="none is served") is None
    assert bundles.problem
    assert "none is served" in caplog.text
    assert not bundles.changed()  # nothing new to look at
    shutil.rmtree(folder)
    shutil.copytree(good, folder)
    assert bundles.changed()
    assert bundles.load(otherwise="") is not None
    assert bundles.problem is None


@pytest.mark.parametrize("first", ["manifest.json", "user.ort"])
def test_a_bundle_that_is_copied_in_place_is_taken_once_it_is_whole(good, content_version, tmp_path, first):
    folder = tmp_path / "sequence"
    folder.mkdir()
    bundles = SequenceBundle([folder], content_version, tmp_path / "copies")
    names = sorted((file.name for file in good.iterdir()), key=lambda name: (name != first, name))
    loaded = []
    for name in names:
        content = (good / name).read_bytes()
        for part in (content[: len(content) // 2], content):
            (folder / name).write_bytes(part)
            if bundles.changed():
                loaded.append(bundles.load(otherwise="") is not None)
    assert loaded[-1]
    assert not any(loaded[:-1])


def test_what_was_verified_is_what_is_read_whatever_is_written_over_it(bundle_path, good, content_version, tmp_path):
    for source in (bundle_path, good):
        shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("*.onnx"))
    copies = tmp_path / "copies"
    encoder, _ = load_encoder(Bundle.load(tmp_path / "minilm", kind="text-encoder", copies=copies))
    bundles = SequenceBundle([tmp_path / "sequence"], content_version, copies)
    model = bundles.load(otherwise="")
    before = encoder.embed(encoder.tokenize("a barn by the sea").ids)
    for name in ("minilm", "sequence"):
        for file in (tmp_path / name).iterdir():
            os.truncate(file, 0)  # in place: the same inode
            file.write_bytes(b"\xff" * 100)
    assert (encoder.embed(encoder.tokenize("a barn by the sea").ids) == before).all()
    model.self_test()
    encoder.self_test()
    with pytest.raises(BundleError):
        Bundle.load(tmp_path / "minilm", kind="text-encoder", copies=copies)
    assert bundles.load(otherwise="") is None


def test_copies_of_earlier_bundles_go_and_the_packages_files_are_not_copied(bundle_path, good, tmp_path):
    copies = tmp_path / "copies"
    shutil.copytree(good, tmp_path / "sequence")
    first = Bundle.load(tmp_path / "sequence", kind="sequence", copies=copies)
    changed_manifest(tmp_path / "sequence", exported_on="another machine")
    second = Bundle.load(tmp_path / "sequence", kind="sequence", copies=copies)
    assert [file.name for file in copies.iterdir()] == [second.private.name] != [first.private.name]
    assert Bundle.load(bundle_path, kind="text-encoder", copies=copies).private is None


def test_a_running_server_survives_it_all(start_server, bundle_path, good, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(bundle_path, models / "minilm", ignore=shutil.ignore_patterns("*.onnx"))
    shutil.copytree(good, models / "sequence")
    server = start_server(models_dir=models)
    client = server.client
    assert client.put("/content/barn", json={"text": "a barn"}).status_code == 200
    for file in [*(models / "minilm").iterdir(), *(models / "sequence").iterdir()]:
        os.truncate(file, 0)
    until(lambda: "is still served" in server.log.read_text(), server.log.read_text)
    a_folder(models / "sequence")
    for n in range(5):
        event = {"user_id": "ada", "content_id": "barn", "type": "save", "event_id": str(n)}
        assert client.post("/interactions", json=event).status_code == 200
        assert client.post("/embed", json={"text": f"a barn {n}"}).status_code == 200
        ranking = {"user_id": "ada", "candidates": ["barn"], "model": "sequence"}
        assert client.post("/rank", json=ranking).status_code == 200
    assert server.stop() == 0
    assert not (server.data_dir / "vows.db-wal").exists()  # the store was closed
