"""Copies of model files: whole or not there, whoever else makes them, and nothing is left of one that was killed."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.models.verified_copy import verified_copy
from tests.waiting import WAIT_S, until

CONTENT = b"weights" * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()

KILLED = """
import sys
from pathlib import Path
from runtime.models.verified_copy import verified_copy
verified_copy(Path(sys.argv[1]), "", Path(sys.argv[2]))
"""


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "model"
    file.write_bytes(CONTENT)
    return file


def test_nothing_is_left_of_a_copy_that_was_killed(source, tmp_path):
    """Else every start that is killed, as where memory is short, takes the room of a model."""
    os.mkfifo(tmp_path / "pipe")
    to = tmp_path / "copies" / "model"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "pipe"), str(to)])
    until(lambda: to.parent.exists() and list(to.parent.iterdir()))
    child.kill()
    child.wait(WAIT_S)
    assert not to.exists()
    assert verified_copy(source, SHA256, to)
    assert list(to.parent.iterdir()) == [to]
    assert (to.read_bytes(), to.stat().st_mode & 0o777) == (CONTENT, 0o400)


def test_several_who_copy_at_once_leave_one_whole_file(source, tmp_path):
    to = tmp_path / "copies" / "model"
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: verified_copy(source, SHA256, to), range(32)))
    assert list(to.parent.iterdir()) == [to]
    assert to.read_bytes() == CONTENT


def test_a_file_of_another_digest_is_not_copied_and_one_that_was_damaged_is_made_again(source, tmp_path):
    to = tmp_path / "copies" / "model"
    assert not verified_copy(source, "0" * 64, to)
    assert list(to.parent.iterdir()) == []
    to.write_bytes(b"damaged")
    assert verified_copy(source, SHA256, to)
    assert to.read_bytes() == CONTENT
    with pytest.raises(FileNotFoundError):
        verified_copy(tmp_path / "none", "0" * 64, to)
    assert list(to.parent.iterdir()) == [to]
