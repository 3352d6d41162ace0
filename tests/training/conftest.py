"""Fixtures of the training tests. The trained checkpoint is in tests/conftest.py."""

from pathlib import Path

import pytest
import torch

from tests.small_world import small_world, split
from training.checkpoint import Checkpoint
from training.data.events import Dataset
from training.recipes import Recipe, tiny

torch.set_num_threads(1)  # two threads on a busy core take minutes for a tiny model


@pytest.fixture(scope="session")
def world() -> tuple[Dataset, Dataset]:
    return split(small_world())


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return tiny()


@pytest.fixture
def checkpoint(shared_checkpoint: Path) -> Checkpoint:
    return Checkpoint.load(shared_checkpoint)
