"""A folder of models with a ranker beside the sequence model, for measuring what it costs: its weights mean nothing."""

import hashlib
import json
from pathlib import Path

import msgspec

from runtime.models import bundle
from runtime.models.ranker import RankerFile, RankerLog, SequenceFile
from runtime.personalization.hybrid import PRIOR
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.personalization.ranking_features import HISTORY_EVENTS, NAMES, SEQUENCE

_SEQUENCE_WEIGHT = 3.0


def models_with_ranker(models: Path, folder: Path) -> Path:
    """`folder` with the text encoder and the sequence model of `models` and a ranker that reads the latter's score."""
    for kind in ("minilm", "sequence"):
        (folder / kind).symlink_to((models / kind).resolve())
    manifest = json.loads((models / "sequence" / bundle.MANIFEST).read_bytes())
    lineage = manifest["recipe"].get("lineage") or [""]
    file = RankerFile(
        weights=dict(PRIOR),
        half_lives_hours=HALF_LIVES_HOURS,
        history_events=HISTORY_EVENTS,
        log=RankerLog(name="bench", events=0, users=0, items=0, first="", last=""),
        sequence=SequenceFile(
            model_version=manifest["model_version"], run=lineage[-1], weights={**PRIOR, SEQUENCE: _SEQUENCE_WEIGHT}
        ),
    )
    write_ranker(folder / "ranker", file, "bench")
    return folder


def write_ranker(folder: Path, file: RankerFile, model_version: str) -> None:
    """A bundle in a new folder, of weights alone: without neighbours and a model of the next action."""
    folder.mkdir(parents=True)
    raw = msgspec.json.encode(file)
    (folder / bundle.RANKER).write_bytes(raw)
    manifest = bundle.Manifest(
        format=bundle.FORMAT, kind="ranker", model_version=model_version, dimensions=len(NAMES), max_tokens=0,
        files={bundle.RANKER: bundle.FileEntry(hashlib.sha256(raw).hexdigest(), len(raw))}, encodings={},
        source=bundle.Source(id=file.log.name, license="none", files={}), onnxruntime="", opset=0, recipe={},
        quality={},
    )  # fmt: skip
    (folder / bundle.MANIFEST).write_bytes(msgspec.json.encode(manifest))
