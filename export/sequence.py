"""`vows-edge export sequence`: a checkpoint of the sequence model to a bundle of four graphs."""

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch

from export.bundle_files import folder_in_place_of, write_manifest
from export.encoder import TRACE_OPSET
from export.encodings import as_u8, compile_ort
from export.errors import ExportError, GateError, SourceError
from export.minilm import MODEL_VERSION as CONTENT_MODEL_VERSION
from export.progress import Progress
from export.quantise import quantised
from export.sequence_agreement import (
    LENGTHS,
    Agreement,
    Sample,
    SequenceGate,
    TorchModel,
    held_out_agreement,
    length_agreement,
)
from export.sequence_graphs import sequence_graphs
from runtime.models import bundle
from runtime.models.installed import BUNDLES, DEFAULT
from runtime.models.sequence_model import SequenceModel, golden_history, load_sequence_model, recorded
from runtime.models.session import onnxruntime_version
from runtime.personalization.item_identity import id_hash
from runtime.system.host import cpu_model
from training.checkpoint import CONFIG, WEIGHTS, Checkpoint
from training.errors import TrainingError

KIND = "sequence"
MODEL_VERSION = "sequence-v1"
MAX_EVENTS = 200  # the newest of a history that the server reads; scratch memory grows with their square
GOLDEN_EVENTS = (0, 1, 5, 64)
REFERENCE = Path("checkpoints/reference")
GATE = SequenceGate()

DESCRIPTION = f"""\
Export a checkpoint of the sequence model: trace the user encoder, the item head and the action head with dynamic
lengths, compile them to memory-mapped .ort files, compare with PyTorch over the checkpoint's held-out histories and at
{", ".join(map(str, LENGTHS))} events, and write. When the gate refuses, nothing is written.

`vows-edge models install FOLDER` serves the bundle, and a running server follows within seconds."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "sequence",
        help="a checkpoint of the sequence model to a bundle",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", type=Path, default=REFERENCE, help="folder (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help=f"the bundle's folder (default: {DEFAULT / BUNDLES} and the checkpoint's name and digest)",
    )  # fmt: skip
    parser.add_argument("--compare", action="store_true", help="only print what int8 would give and cost")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.compare:
        print(compared(options.checkpoint))
    else:
        out = export_sequence(options.checkpoint, options.out)
        print(f"serve it with: vows-edge models install {out}")
    return 0


def export_sequence(folder: Path, out: Path | None = None, gate: SequenceGate = GATE) -> Path:
    """Make a bundle of the checkpoint at `folder` in the folder `out`, or in one among `models/sequences` that is named
    for its weights. Returns the bundle's folder.

    Raises ExportError, and then nothing was written.
    """
    progress = Progress(4)
    checkpoint = _load(folder)
    if out is None:
        out = DEFAULT / BUNDLES / f"{_name(checkpoint)}-{bundle.sha256_file(folder / WEIGHTS)[:12]}"
    with folder_in_place_of(out) as made:
        with progress.step("trace and compile the graphs"):
            graphs = sequence_graphs(checkpoint.model)
            files = _write_graphs(graphs, made)
            _write_ids(checkpoint, made)
        with progress.step("record their answers to made-up histories"):
            (made / bundle.GOLDEN).write_bytes(b"[]")
            fields = _manifest_fields(folder, checkpoint, files, gate)
            write_manifest(made, fields)
            model = SequenceModel(bundle.Bundle.load(made, kind=KIND))
            golden = [recorded(model, events) for events in GOLDEN_EVENTS]
            (made / bundle.GOLDEN).write_bytes(msgspec.json.encode(golden))
        with progress.step("compare with PyTorch"):
            held_out, lengths = _compare(checkpoint, model)
        misses = held_out.misses("held-out histories", gate)
        for events, found in lengths.items():
            misses += found.misses(f"{events} events", gate)
        if misses:
            raise GateError(f"{folder} misses its gate\n  " + "\n  ".join(misses))
        with progress.step("write the manifest"):
            fields["quality"] = {
                "held_out": held_out.quality(),
                "lengths": {str(events): found.quality() for events, found in lengths.items()},
                "validation": _best(checkpoint),
            }
            (made / bundle.MANIFEST).unlink()
            write_manifest(made, fields)
            try:
                load_sequence_model(bundle.Bundle.load(made, kind=KIND), CONTENT_MODEL_VERSION)
            except bundle.BundleError as error:
                raise ExportError(f"the runtime refuses the bundle that was just made: {error}") from error
    progress.note(
        f"user vectors' cosine to PyTorch {held_out.user_cosine_p5:.6f} at the 5th percentile, probabilities within "
        f"{held_out.probability_difference:.6f}, NDCG@10 {held_out.ndcg:.4f} (PyTorch {held_out.ndcg_torch:.4f})"
    )
    progress.note(f"wrote {out}")
    return out


def compared(folder: Path) -> str:
    """fp32 beside int8 in Markdown: agreement with PyTorch, and milliseconds interleaved in this one process."""
    checkpoint = _load(folder)
    graphs = sequence_graphs(checkpoint.model)
    variants = {"fp32": graphs}
    for name in graphs:
        # u8: exact on every CPU, where s8 is so only with VNNI.
        variants[f"int8 {name}"] = graphs | {name: as_u8(quantised(graphs[name]))}
    with tempfile.TemporaryDirectory() as scratch:
        models = {}
        for name, some in variants.items():
            made = Path(scratch) / name.replace(" ", "-")
            made.mkdir()
            files = _write_graphs(some, made)
            _write_ids(checkpoint, made)
            (made / bundle.GOLDEN).write_bytes(b"[]")
            write_manifest(made, _manifest_fields(folder, checkpoint, files, GATE))
            models[name] = SequenceModel(bundle.Bundle.load(made, kind=KIND))
        times = _interleaved(models)
        lines = [
            "| graphs | cosine p5 | probabilities | NDCG@10 | 200 events, ms | 256 items, ms | 100 candidates, ms |",
            "|---" * 7 + "|",
        ]
        for name, model in models.items():
            found, _ = _compare(checkpoint, model, lengths=())
            cells = " | ".join(f"{value:.2f}" for value in times[name])
            lines.append(
                f"| {name} | {found.user_cosine_p5:.5f} | {found.probability_difference:.4f} | {found.ndcg:.4f} | "
                f"{cells} |"
            )
    return "\n".join(lines)


def _interleaved(models: dict[str, SequenceModel], rounds: int = 40) -> dict[str, list[float]]:
    """Medians in milliseconds of encoding 200 events, 256 items and 100 candidates."""
    history = golden_history(200)
    content = golden_history(256).content
    now_us = int(history.time_us[-1])
    users = {name: model.user(history, now_us, 1) for name, model in models.items()}
    samples: dict[str, list[list[float]]] = {name: [[], [], []] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            marks = [time.perf_counter()]
            model.user(history, now_us, 1)
            marks.append(time.perf_counter())
            model.items(content)
            marks.append(time.perf_counter())
            model.actions(users[name], content[:100])
            marks.append(time.perf_counter())
            for taken, start, end in zip(samples[name], marks, marks[1:], strict=False):
                taken.append((end - start) * 1e3)
    return {name: [statistics.median(taken) for taken in series] for name, series in samples.items()}


def _load(folder: Path) -> Checkpoint:
    try:
        checkpoint = Checkpoint.load(folder)
    except TrainingError as error:
        raise SourceError(str(error)) from error
    if not checkpoint.sample:
        raise SourceError(f"{folder} has no held-out histories to judge an export by; train with a validation set")
    return checkpoint


def _name(checkpoint: Checkpoint) -> str:
    """The owner's, or else the recipe's."""
    return str(checkpoint.data.get("model_name", checkpoint.recipe.name))


def _compare(
    checkpoint: Checkpoint, model: SequenceModel, lengths: tuple[int, ...] = LENGTHS
) -> tuple[Agreement, dict[int, Agreement]]:
    sample = Sample.of(checkpoint)
    reference = TorchModel(checkpoint, sample)
    by_length = {events: length_agreement(reference, model, sample, events) for events in lengths}
    return held_out_agreement(reference, model, sample), by_length


def _write_graphs(graphs: dict[str, onnx.ModelProto], folder: Path) -> dict[str, str]:
    """Compile every graph; returns name → file."""
    files = {name: f"{name}.ort" for name in graphs}
    for name, graph in graphs.items():
        compile_ort(graph, folder / files[name])
    return files


def _write_ids(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the id embeddings for `IdTable`: items of the training log, by the hash of their id, times their weight."""
    module = checkpoint.model.content_vector
    weight = module.id_weight.numpy()
    embeddings = module.scaled_ids(torch.arange(len(weight))).detach().numpy() * weight[:, np.newaxis]
    hashes = np.array([id_hash(id) for id in checkpoint.ids], np.uint64)
    order = np.argsort(hashes, kind="stable")
    order = order[weight[order] > 0]
    table = np.stack([hashes[order], checkpoint.signatures[order]])
    for name, array in zip(bundle.ID_TABLE, (table, embeddings[order], module.basis.detach().numpy()), strict=True):
        np.save(folder / name, np.ascontiguousarray(array))


def _best(checkpoint: Checkpoint) -> dict[str, Any]:
    """What validation said of the weights that were kept."""
    curve = [line["validation"] for line in checkpoint.metrics if line["epoch"] > 0]
    best: dict[str, Any] = min(curve, key=lambda line: line["loss"], default={})
    return best


def _of_the_run(checkpoint: Checkpoint) -> dict[str, Any]:
    """By which `vows-edge train ranker` and the server tell what a ranker was fitted beside."""
    return {"lineage": checkpoint.lineage, "trained_until_us": checkpoint.data["trained_until_us"]}


def _manifest_fields(folder: Path, checkpoint: Checkpoint, files: dict[str, str], gate: SequenceGate) -> dict[str, Any]:
    return {
        "kind": KIND,
        "model_version": checkpoint.data.get("model_name", MODEL_VERSION),
        "dimensions": checkpoint.model.config.output,
        "max_tokens": MAX_EVENTS,
        "encodings": {},
        "graphs": files,
        "source": bundle.Source(
            id=f"checkpoint:{_name(checkpoint)} trained on {checkpoint.data['name']}",
            license=checkpoint.data.get("licence") or "unknown",
            files={name: bundle.sha256_file(folder / name) for name in (WEIGHTS, CONFIG)},
        ),
        "onnxruntime": onnxruntime_version(),
        "opset": TRACE_OPSET,
        "recipe": {
            "encoding": "fp32",
            "content_model_version": CONTENT_MODEL_VERSION,
            "min_events": checkpoint.recipe.min_events,
            "training": checkpoint.recipe.parameters(),
            "gate": asdict(gate),
        }
        | (_of_the_run(checkpoint) if "model_name" in checkpoint.data else {})
        | {name: checkpoint.data[name] for name in ("days_to_event_key",) if name in checkpoint.data},
        "quality": {},
        "exported_on": cpu_model(),
    }
