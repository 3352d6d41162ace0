"""Where a bundle is looked for, and which sequence bundle is served."""

import os
from pathlib import Path

import pytest

from runtime.models import installed
from runtime.models.bundle import BundleError
from runtime.models.installed import PACKAGED, SwitchError, back, find_bundle, found_bundles, install


def test_switching_and_back(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "sequences" / name).mkdir(parents=True)
        (tmp_path / "sequences" / name / "manifest.json").write_text('{"kind": "sequence"}')
        install(tmp_path, tmp_path / "sequences" / name)
    assert os.readlink(tmp_path / "sequence") == "sequences/two"
    assert back(tmp_path) == tmp_path / "sequences" / "one"
    assert os.readlink(tmp_path / "sequence") == "sequences/one"
    assert back(tmp_path).name == "two"
    with pytest.raises(SwitchError, match="not a bundle"):
        install(tmp_path, tmp_path)
    with pytest.raises(SwitchError, match="no other bundle"):
        back(tmp_path / "models")


def test_back_from_the_first_one_installed_is_the_package_and_forth_again(tmp_path: Path) -> None:
    (tmp_path / "sequences" / "one").mkdir(parents=True)
    (tmp_path / "sequences" / "one" / "manifest.json").write_text('{"kind": "sequence"}')
    install(tmp_path, tmp_path / "sequences" / "one")
    assert back(tmp_path) is None
    assert not (tmp_path / "sequence").exists()
    assert back(tmp_path) == tmp_path / "sequences" / "one"
    assert os.readlink(tmp_path / "sequence") == "sequences/one"


def test_what_is_found_is_listed_once_with_its_part(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / "sequences" / name).mkdir(parents=True)
        (tmp_path / "sequences" / name / "manifest.json").write_text(
            f'{{"kind": "sequence", "model_version": "{name}"}}'
        )
        install(tmp_path, tmp_path / "sequences" / name)
    (tmp_path / "sequences" / "broken").mkdir()
    (tmp_path / "sequences" / "broken" / "manifest.json").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "sequences" / "fifo")
    found = found_bundles(tmp_path, "sequence")
    listed = [(one.model_version, one.installed, one.before) for one in found]
    assert listed == [("three", True, False), ("two", False, True), ("one", False, False)]
    assert found_bundles(tmp_path, "ranker") == []


def test_a_bundle_is_looked_for_in_the_setting_alone_or_else_here_and_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_bundle(None, "minilm") == PACKAGED / "minilm"
    (tmp_path / "models" / "minilm").mkdir(parents=True)
    (tmp_path / "models" / "minilm" / "manifest.json").write_text('{"kind": "sequence"}')
    assert find_bundle(None, "minilm") == Path("models/minilm")
    assert find_bundle(tmp_path / "models", "minilm") == tmp_path / "models" / "minilm"
    with pytest.raises(BundleError, match=f"no model bundle at {tmp_path}/else/minilm: .*without VOWS_MODELS_DIR"):
        find_bundle(tmp_path / "else", "minilm")
    monkeypatch.setattr(installed, "PACKAGED", tmp_path / "nothing")
    with pytest.raises(BundleError, match=f"{tmp_path}/models/sequence or {tmp_path}/nothing/sequence: .*vows-edge"):
        find_bundle(None, "sequence")
