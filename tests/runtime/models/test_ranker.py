"""Ranker bundles: which sequence model their second set of weights was fitted beside; older ones still load."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from bench.ranker_bundle import models_with_ranker
from runtime.models.bundle import MANIFEST, NEIGHBOURS, RANKER, Bundle, BundleError
from runtime.models.ranker import FittedBeside, LoadedRanker, load_ranker


class Model(NamedTuple):
    """What is asked of a sequence model here."""

    model_version: str
    lineage: tuple[str, ...]


@pytest.fixture
def folder(bundle_path: Path, tmp_path: Path) -> Path:
    return models_with_ranker(bundle_path.parent, tmp_path) / "ranker"


def changed(folder: Path, **changes: Any) -> LoadedRanker:
    """Load it with other fields of ranker.json; None leaves a field out."""
    file = json.loads((folder / RANKER).read_bytes()) | changes
    raw = json.dumps({name: value for name, value in file.items() if value is not None}).encode()
    (folder / RANKER).write_bytes(raw)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][RANKER] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return load_ranker(Bundle.load(folder, kind="ranker"))


def test_both_sets_of_weights_are_read(folder: Path) -> None:
    found = load_ranker(Bundle.load(folder, kind="ranker"))
    assert found.sequence is not None
    assert found.sequence.model_version == "sequence-v1"
    assert "sequence" not in found.ranker.named_weights
    assert found.sequence.named_weights == pytest.approx(found.ranker.named_weights | {"sequence": 3.0})


def test_a_bundle_from_before_there_was_a_second_set_is_read(folder: Path) -> None:
    found = changed(folder, sequence=None)
    assert (found.sequence, len(found.ranker.named_weights) > 0) == (None, True)


def with_columns(folder: Path, columns: int) -> LoadedRanker:
    """Load it with a table of two items that are each other's neighbours, of so many columns."""
    arrays = (
        np.arange(2, dtype=np.uint64),
        np.arange(3),
        np.array([1, 0], np.int32),
        np.ones((2, columns), np.float16),
    )
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name, array in zip(NEIGHBOURS, arrays, strict=True):
        np.save(folder / name, array)
        raw = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return load_ranker(Bundle.load(folder, kind="ranker"))


def test_a_table_from_before_there_was_what_is_beside_is_read_and_another_refused(folder: Path) -> None:
    for columns in (3, 4):
        found = with_columns(folder, columns)
        assert found.table is not None
        assert found.table.values.shape[1] == columns
    with pytest.raises(BundleError, match="do not fit together"):
        with_columns(folder, 5)


def test_a_weight_of_no_feature_is_refused(folder: Path) -> None:
    beside = {"model_version": "ours", "run": "a", "weights": {"sequel": 1.0}}
    with pytest.raises(BundleError, match="sequel: no such ranking feature"):
        changed(folder, sequence=beside)


@pytest.mark.parametrize(
    ("run", "model", "same"),
    [
        ("a", Model("ours", ("a",)), True),
        ("a", Model("renamed", ("a",)), True),
        ("a", Model("fine-tuned", ("a", "b")), True),
        ("b", Model("the one before", ("a",)), False),
        ("a", Model("ours", ("c",)), False),
        ("a", Model("ours", ()), True),
        (None, Model("ours", ("c",)), True),
        (None, Model("theirs", ("c",)), False),
    ],
)
def test_the_model_it_was_fitted_beside_and_what_was_fine_tuned_from_it_are_recognised(
    run: str | None, model: Any, same: bool
) -> None:
    assert FittedBeside("ours", run, None).is_it(model) is same
