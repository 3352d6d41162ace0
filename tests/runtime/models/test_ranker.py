"""Ranker bundles: which sequence model their second set of weights was fitted beside; older ones still load."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.ranker_bundle import models_with_ranker
from runtime.models.bundle import MANIFEST, RANKER, Bundle, BundleError
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
