"""A folder is written completely or not at all."""

from pathlib import Path

import pytest

from export.bundle_files import folder_in_place_of


def test_the_finished_folder_replaces_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "bundle"
    for content in ("first", "second"):
        with folder_in_place_of(out) as folder:
            (folder / content).write_text(content)
            assert folder.parent == out.parent
        assert [file.name for file in out.iterdir()] == [content]
    assert [file.name for file in out.parent.iterdir()] == ["bundle"]


def test_other_users_may_read_the_folder(tmp_path: Path) -> None:
    with folder_in_place_of(tmp_path / "bundle"):
        pass
    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "old").write_text("old")

    def fail_halfway() -> None:
        with folder_in_place_of(out) as folder:
            (folder / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert [file.name for file in out.iterdir()] == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]
