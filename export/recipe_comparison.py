"""`vows-edge export compare`: the effect of each step of the recipe, in cosine to fp32 and in milliseconds."""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from export.corpus import calibration_texts, held_out_texts
from export.encoder import export_with_optimum, fuse, pool_one_text
from export.encoder_metrics import Encoder, cosines
from export.encodings import as_u8
from export.layer_norms import with_light_norms
from export.minilm import quantised_by
from export.operator_profile import operator_times
from export.progress import Progress
from export.recipes import INT8, STEPS_TO_INT8
from export.source import SourceWeights, find_source
from export.tokens import MAX_TOKENS, load_tokenizer, token_ids
from runtime.models import bundle

LENGTHS = (16, 32, 128, 256)  # tokens

DESCRIPTION = """\
Quantise one model in several ways, each adding one thing to the one before, and print the cosine to the fp32 graph over
the held-out texts and the milliseconds per text. Variants alternate text by text in one process, on one thread; times
are medians. Compare ratios: the machine and its load change all times. Writes nothing."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "compare",
        help="the effect of each step of the int8 recipe on quality and time",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", metavar="ID_OR_PATH", help="as for minilm")
    parser.add_argument("--rounds", type=int, default=40, help="timed runs a length and variant (default: %(default)s)")
    parser.add_argument("--operators", action="store_true", help="also print time by operator, before and after")
    parser.set_defaults(run=_run)


@dataclass(frozen=True)
class Variant:
    """`milliseconds[i]` is the median for a text of `LENGTHS[i]` tokens."""

    name: str
    mean_cosine: float
    min_cosine: float
    milliseconds: list[float]


def _run(options: argparse.Namespace) -> int:
    progress = Progress(4)
    with progress.step("find the weights"):
        source = find_source(options.model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with progress.step("export and quantise"):
            files = _variants(source, folder)
        tokenizer = load_tokenizer(source.folder / bundle.TOKENIZER)
        encoders = {name: Encoder(file, tokenizer, MAX_TOKENS) for name, file in files.items()}
        with progress.step("measure quality"):
            texts = held_out_texts()
            reference = next(iter(encoders.values())).embed(texts)
            quality = {name: cosines(reference, encoder.embed(texts)) for name, encoder in encoders.items()}
        with progress.step("measure time"):
            times = _interleaved(encoders, options.rounds, tokenizer.get_vocab_size())
        rows = [Variant(name, quality[name].mean, quality[name].min, times[name]) for name in files]
        print(_table(rows))
        if options.operators:
            for name in ("fp32, fused norms", "fp32", INT8.name):
                print(f"\nmilliseconds by operator, {LENGTHS[2]} tokens, {name}")
                for operator, count, total in operator_times(files[name], LENGTHS[2]):
                    print(f"  {operator:28s} × {count:3d} {total:8.3f}")
    return 0


def _variants(source: SourceWeights, folder: Path) -> dict[str, Path]:
    """Graph files by name, the reference first."""
    fused = pool_one_text(fuse(export_with_optimum(source, folder), source), MAX_TOKENS, source.dimensions)
    light = with_light_norms(fused)
    tokenizer = load_tokenizer(source.folder / bundle.TOKENIZER)
    calibration = [token_ids(tokenizer, text) for text in calibration_texts()]
    graphs = {"fp32, fused norms": fused, "fp32": light}
    graphs |= {recipe.name: quantised_by(light, recipe, calibration) for recipe in STEPS_TO_INT8}
    graphs[f"{INT8.name}, as u8"] = as_u8(graphs[INT8.name])
    files = {}
    for index, (name, graph) in enumerate(graphs.items()):
        files[name] = folder / f"variant-{index}.onnx"
        onnx.save(graph, files[name])
    return files


def _interleaved(encoders: dict[str, Encoder], rounds: int, vocabulary: int) -> dict[str, list[float]]:
    """Median milliseconds by variant, one figure a length. Token ids are random: time does not depend on them."""
    medians: dict[str, list[float]] = {name: [] for name in encoders}
    draw = np.random.default_rng(0)
    for length in LENGTHS:
        ids = draw.integers(0, vocabulary, (1, length)).astype(np.int32)
        samples: dict[str, list[float]] = {name: [] for name in encoders}
        for _ in range(rounds):
            for name, encoder in encoders.items():
                start = time.perf_counter()
                encoder.embed_ids(ids)
                samples[name].append((time.perf_counter() - start) * 1e3)
        for name, taken in samples.items():
            medians[name].append(statistics.median(taken))
    return medians


def _table(rows: list[Variant]) -> str:
    lengths = " | ".join(str(length) for length in LENGTHS)
    lines = [f"| graph | mean cosine | min cosine | {lengths} tokens, ms |", "|---" * (3 + len(LENGTHS)) + "|"]
    for row in rows:
        times = " | ".join(f"{value:.2f}" for value in row.milliseconds)
        lines.append(f"| {row.name} | {row.mean_cosine:.5f} | {row.min_cosine:.5f} | {times} |")
    return "\n".join(lines)
