"""How close the quantised vectors are to the float32 ones, and what that does to semantic similarity."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.case_result import Series
from bench.machine import ROOT
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite, difference, raw
from export.stsb import INSTALL, Pairs, load_stsb, spearman

Split = Literal["dev", "test"]
SPLITS: tuple[Split, ...] = ("dev", "test")
REFERENCE = ROOT / "models/minilm-fp32"  # 90 MB, and no part of the package
Embed = Callable[[str], NDArray[np.float32]]


def read_pairs(split: Split) -> Pairs:
    """STS-B (Cer et al. 2017). Raises NotMeasured, saying how to install it, when it is absent."""
    pairs = load_stsb(split)
    if pairs is None:
        raise NotMeasured(f"STS-B is absent: {INSTALL}")
    return pairs


def reference_bundle() -> Path:
    """The float32 bundle, exported when it is not there.

    Raises NotMeasured when it cannot be made (the export's requirements are not installed).
    """
    path = REFERENCE
    if not (path / "manifest.json").exists():
        command = [sys.executable, "-m", "export", "minilm", "--recipe", "fp32", "--out", str(path)]
        if importlib.util.find_spec("torch") is None:
            raise NotMeasured(
                "the float32 bundle is absent and needs the export extra: python " + " ".join(command[1:])
            )
        subprocess.run(command, cwd=ROOT, check=True, stdout=2)
    return path


def load_encoder(folder: Path) -> tuple[str, Embed]:
    """The runtime's encoder of a bundle: its encoding, and a function from text to unit vector float32 [384]."""
    from runtime.models import text_encoder
    from runtime.models.bundle import Bundle

    encoder, _ = text_encoder.load_encoder(Bundle.load(folder, kind="text-encoder"))
    return encoder.encoding, lambda text: encoder.embed(encoder.tokenize(text).ids)


def measure(conditions: Conditions, samples: Samples) -> None:
    """Embed every sentence with ours and with float32; cosine between the two, and each one's Spearman on the pairs."""
    most = conditions.rounds(full=10_000, quick=40)
    pairs = {split: read_pairs(split) for split in SPLITS}
    sentences = sorted({text for known in pairs.values() for text in known.first[:most] + known.second[:most]})
    samples.note("data", f"STS-B dev and test, up to {most} pairs each")
    samples.note("sentences", len(sentences))
    vectors: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, folder in (("ours", conditions.models / "minilm"), ("fp32", reference_bundle())):
        encoding, embed = load_encoder(folder)
        samples.note(f"encoding.{name}", encoding)
        vectors[name] = {text: embed(text) for text in sentences}
    samples.add("cosine", *(float(vectors["ours"][text] @ vectors["fp32"][text]) for text in sentences))
    for split, known in pairs.items():
        both = list(zip(known.first[:most], known.second[:most], strict=True))
        for name, of in vectors.items():
            cosines = np.asarray([float(of[first] @ of[second]) for first, second in both])
            samples.add(f"spearman_{name}_{split}", 100 * spearman(cosines, known.scores[:most]))


def mean_cosine(series: Series) -> list[float]:
    """Mean cosine over all sentences."""
    cosines = series.get("cosine", ())
    return [float(np.mean(cosines))] if cosines else []


SUITE = Suite(
    name="quality",
    purpose="cosine to float32 and Spearman on STS-B dev and test",
    reading="Cosine between ours and the float32 model for every sentence of STS-B dev and test; Spearman x 100 "
    "between the cosine of a pair and people's judgement of it.",
    cases=(Case("ours", measure, limit_s=900),),
    metrics=(
        Metric("quality.cosine_mean", "ours", "cosine", "lower", mean_cosine),
        Metric("quality.cosine_min", "ours", "cosine", "lower", raw("cosine"), "min"),
        *(
            Metric(f"quality.spearman_{name}_{split}", "ours", "points", "lower", raw(f"spearman_{name}_{split}"))
            for split in SPLITS
            for name in ("ours", "fp32")
        ),
        *(
            Metric(
                f"quality.spearman_loss_{split}",
                "ours",
                "points",
                "higher",
                difference(f"spearman_fp32_{split}", f"spearman_ours_{split}"),
            )
            for split in SPLITS
        ),
    ),
)
