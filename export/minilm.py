"""`vows-edge export minilm`: all-MiniLM-L6-v2, or a BERT encoder like it, to a text-encoder bundle."""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.bundle_files import folder_in_place_of, spread_by_length, write_golden, write_manifest, write_tokenizer
from export.calibration import activation_ranges, gelu_inputs
from export.corpus import calibration_texts, held_out_texts
from export.detector_neurons import with_calm_detectors
from export.encoder import OPSET, export_with_optimum, fuse, pool_one_text
from export.encoder_metrics import Encoder
from export.encodings import as_u8, compile_ort, derivation
from export.equalise import equalised
from export.errors import ExportError, GateError
from export.layer_norms import with_light_norms
from export.progress import Progress
from export.quality_gates import Findings, check_fp32, check_held_out, check_stsb
from export.quantise import quantised
from export.recipes import INT8, RECIPES, Recipe
from export.source import PACKAGE, SourceWeights, find_source
from export.tokens import MAX_TOKENS, TokenIds, load_tokenizer, token_ids
from runtime.models import bundle
from runtime.models.derived import DerivedFile
from runtime.models.installed import PACKAGED, TEXT_ENCODER
from runtime.models.session import onnxruntime_version
from runtime.models.text_encoder import TextEncoder
from runtime.system.host import cpu_model

KIND = "text-encoder"
MODEL_VERSION = "sentence-bert-v1"
GOLDEN_TEXTS = 16

DESCRIPTION = """\
Export a sentence encoder to a text-encoder bundle: find the weights, trace them with optimum, fuse for BERT, pool and
normalise inside the graph, quantise, compile to memory-mapped .ort files, verify against the fp32 model, write.

The folder gets manifest.json, model.s8.ort (with --recipe fp32, model.fp32.ort), tokenizer.json and golden.json; the
manifest says how the server makes model.u8.ort of model.s8.ort. It replaces an older bundle in one move; when the gate
refuses, whatever was there stays as it was."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "minilm",
        help="sentence encoder (all-MiniLM-L6-v2) to a text-encoder bundle",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", metavar="ID_OR_PATH", help=f"folder or hub id (default: the package {PACKAGE})")
    parser.add_argument("--out", type=Path, default=PACKAGED / TEXT_ENCODER, help="default: %(default)s")
    parser.add_argument(
        "--recipe", choices=sorted(RECIPES), default=INT8.name, help="how to quantise (default: %(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    export_text_encoder(options.model, options.out, RECIPES[options.recipe])
    return 0


@dataclass(frozen=True)
class Graphs:
    """The fp32 reference on disk, and the graphs to ship by encoding name."""

    fp32_file: Path
    shipped: dict[str, onnx.ModelProto]


def export_text_encoder(model: str | None, out: Path, recipe: Recipe) -> bundle.Manifest:
    """Make the bundle at `out`; `model` as in `find_source`. Raises ExportError, and then `out` is as it was."""
    progress = Progress(8 if recipe.quantise else 7)
    with progress.step("find the weights"):
        source = find_source(model)
    progress.note(f"{source.manifest.id}, {source.manifest.license}, {source.dimensions} dimensions")
    with tempfile.TemporaryDirectory() as scratch, folder_in_place_of(out) as folder:
        graphs = _make_graphs(source, recipe, Path(scratch), progress)
        with progress.step("compile to .ort"):
            encodings, derived = _write_graphs(graphs, folder, Path(scratch))
            tokenizer = load_tokenizer(source.folder / bundle.TOKENIZER)
            write_tokenizer(tokenizer, folder / bundle.TOKENIZER)
        fp32 = Encoder(graphs.fp32_file, tokenizer, MAX_TOKENS)
        encoders = {
            name: Encoder((Path(scratch) if file in derived else folder) / file, tokenizer, MAX_TOKENS)
            for name, file in encodings.items()
        }
        # The encoding that is exact on every CPU speaks for the bundle.
        exact = encoders["u8" if recipe.quantise else "fp32"]
        golden = spread_by_length(held_out_texts(), fp32, GOLDEN_TEXTS)
        findings = _verify(source, recipe, fp32, encoders, exact, golden, progress)
        findings.misses += _size_misses(folder, recipe)
        if findings.misses:
            raise GateError(f"recipe {recipe.name} misses its gate\n  " + "\n  ".join(findings.misses))
        with progress.step("write the manifest"):
            write_golden(folder / bundle.GOLDEN, golden, fp32, exact)
            write_manifest(folder, _manifest_fields(source, recipe, encodings, findings) | {"derived": derived})
            loaded = _load_as_runtime(folder, source, encodings, findings)
    progress.note(f"wrote {out} ({_megabytes(loaded)})")
    return loaded.manifest


def _make_graphs(source: SourceWeights, recipe: Recipe, scratch: Path, progress: Progress) -> Graphs:
    with progress.step("export with optimum"):
        exported = export_with_optimum(source, scratch)
    with progress.step("fuse for BERT, pool and normalise inside the graph"):
        fp32 = with_light_norms(pool_one_text(fuse(exported, source), MAX_TOKENS, source.dimensions))
        fp32_file = scratch / "fp32.onnx"
        onnx.save(fp32, fp32_file)
    if not recipe.quantise:
        return Graphs(fp32_file, {"fp32": fp32})
    with progress.step(f"calibrate and quantise ({recipe.name})"):
        tokenizer = load_tokenizer(source.folder / bundle.TOKENIZER)
        s8 = quantised_by(fp32, recipe, [token_ids(tokenizer, text) for text in calibration_texts()])
    return Graphs(fp32_file, {"s8": s8, "u8": as_u8(s8)})


def quantised_by(fp32: onnx.ModelProto, recipe: Recipe, calibration: list[TokenIds]) -> onnx.ModelProto:
    """The s8 graph a recipe makes of an fp32 one."""
    if recipe.equalise_alpha is not None:
        ranges = activation_ranges(fp32, calibration)
        if recipe.calm_detectors:
            fp32, ranges = with_calm_detectors(fp32, ranges, gelu_inputs(fp32, calibration))
        fp32 = equalised(fp32, ranges, recipe.equalise_alpha, recipe.split_neurons, outgoing=not recipe.calm_detectors)
    return quantised(fp32, recipe.per_channel)


def _write_graphs(graphs: Graphs, folder: Path, scratch: Path) -> tuple[dict[str, str], dict[str, DerivedFile]]:
    """Compile every encoding: the first into the bundle's folder, others, which follow from it, into `scratch`.

    Returns encoding → file name, and file name → how it follows.
    """
    encodings = {name: f"model.{name}.ort" for name in graphs.shipped}
    first, *others = encodings.values()
    derived = {}
    for name, file in encodings.items():
        compile_ort(graphs.shipped[name], (folder if file == first else scratch) / file)
    for file in others:
        derived[file] = derivation(folder / first, scratch / file)
    return encodings, derived


def _verify(
    source: SourceWeights,
    recipe: Recipe,
    fp32: Encoder,
    encoders: dict[str, Encoder],
    exact: Encoder,
    golden: list[str],
    progress: Progress,
) -> Findings:
    findings = Findings()
    with progress.step("verify the fp32 graph against PyTorch"):
        check_fp32(findings, source, fp32, golden)
    with progress.step("verify the encodings against fp32"):
        check_held_out(findings, fp32, encoders, recipe.gate, progress)
        check_stsb(findings, fp32, exact, recipe.gate, progress)
    return findings


def _size_misses(folder: Path, recipe: Recipe) -> list[str]:
    limit = recipe.gate.max_model_bytes
    sizes = {file.name: file.stat().st_size for file in folder.iterdir() if file.suffix in (".onnx", ".ort")}
    return [
        f"{name} has {size} bytes, the gate is {limit}: {size - limit} too many"
        for name, size in sorted(sizes.items())
        if limit is not None and size > limit
    ]


def _manifest_fields(
    source: SourceWeights, recipe: Recipe, encodings: dict[str, str], findings: Findings
) -> dict[str, Any]:
    return {
        "kind": KIND,
        "model_version": MODEL_VERSION,
        "dimensions": source.dimensions,
        "max_tokens": MAX_TOKENS,
        "encodings": encodings,
        "source": source.manifest,
        "onnxruntime": onnxruntime_version(),
        "opset": OPSET,
        "recipe": recipe.parameters(),
        "quality": findings.quality,
        "exported_on": cpu_model(),
    }


def _load_as_runtime(
    folder: Path, source: SourceWeights, encodings: dict[str, str], findings: Findings
) -> bundle.Bundle:
    """Load the finished folder the way the server does, self-test included, for each encoding exact on this CPU."""
    same = findings.quality.get("s8_and_u8_bit_identical")
    s8_exact = same is None or same["identical"] == same["texts"]
    try:
        loaded = bundle.Bundle.load(folder, kind=KIND, dimensions=source.dimensions)
        for encoding in encodings:
            if encoding != "s8" or s8_exact:
                TextEncoder(loaded, encoding).self_test()
        for name in loaded.manifest.derived:
            (folder / name).unlink(missing_ok=True)  # it was made only to be tested
    except bundle.BundleError as error:
        raise ExportError(f"the runtime refuses the bundle that was just made: {error}") from error
    return loaded


def _megabytes(loaded: bundle.Bundle) -> str:
    sizes = (f"{name} {entry.bytes / 1e6:.1f} MB" for name, entry in loaded.manifest.files.items())
    return ", ".join(sizes)
