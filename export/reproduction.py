"""Is a bundle that was just made the one that is committed? Byte for byte, or within limits that are stated here.

The same versions on the same kind of CPU give the same bytes. On another CPU the sums of calibration are rounded
otherwise, and so are some weights that lie between two integers: the vectors then agree within `Limits`.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from export.corpus import held_out_texts
from export.encoder_metrics import Cosines, cosines
from runtime.models.bundle import MANIFEST, TOKENIZER, Bundle
from runtime.models.sequence_model import SequenceModel, recorded
from runtime.models.text_encoder import TextEncoder, candidate_encodings

# What a manifest says about the making itself, whatever the CPU.
_SAME_EVERYWHERE = ("kind", "model_version", "dimensions", "max_tokens", "encodings", "graphs", "source", "recipe")


@dataclass(frozen=True)
class Limits:
    """Of a bundle made on another CPU. A weight rounded to the neighbouring integer moves a vector by far less than
    quantisation does, whose mean cosine to fp32 is 0.9988: so the vectors have to be nearer to each other than that."""

    min_cosine: float = 0.999
    min_mean_cosine: float = 0.9998
    min_sequence_cosine: float = 0.9999
    max_probability_difference: float = 0.001


LIMITS = Limits()


def byte_differences(made: Path, committed: Path) -> list[str]:
    """One line for each file that is not the same in both folders; derived files are left out, and so is what the
    manifest says of quality: it is measured against libraries whose sums depend on how many threads they take."""
    lines = []
    manifest = msgspec.json.decode((committed / MANIFEST).read_bytes())
    again = msgspec.json.decode((made / MANIFEST).read_bytes())
    for name in sorted({MANIFEST, *manifest["files"], *again["files"]}):
        first, second = (folder / name for folder in (made, committed))
        if not (first.exists() and second.exists()):
            lines.append(f"{name} is in one of the two alone")
        elif name == MANIFEST:
            fields = {field for field in (manifest | again) if manifest.get(field) != again.get(field)}
            lines += [f"{name} differs in {field!r}" for field in sorted(fields - {"quality"})]
        elif first.read_bytes() != second.read_bytes():
            where = _positions(first.read_bytes(), second.read_bytes())
            lines.append(f"{name} differs in {len(where)} bytes, the first at {where[0]}")
    return lines


def _positions(first: bytes, second: bytes) -> list[int]:
    """Where two byte strings differ; what one of them has more differs."""
    common = min(len(first), len(second))
    apart = np.frombuffer(first, np.uint8, common) != np.frombuffer(second, np.uint8, common)
    return [*np.flatnonzero(apart).tolist(), *range(common, max(len(first), len(second)))]


def differences_beyond(made: Path, committed: Path, kind: str, limits: Limits = LIMITS) -> list[str]:
    """One line for each way in which two bundles differ more than two CPUs explain. Raises BundleError for what is no
    bundle."""
    bundles = [Bundle.load(folder, kind=kind) for folder in (made, committed)]
    first, second = (msgspec.to_builtins(bundle.manifest) for bundle in bundles)
    lines = [
        f"{name} is {first.get(name)!r}, committed is {second.get(name)!r}"
        for name in _SAME_EVERYWHERE
        if first.get(name) != second.get(name)
    ]
    if lines:
        return lines
    return _text_differences(bundles, limits) if kind == "text-encoder" else _sequence_differences(bundles, limits)


def _text_differences(bundles: list[Bundle], limits: Limits) -> list[str]:
    tokenizers = {(bundle.path / TOKENIZER).read_bytes() for bundle in bundles}
    lines = [] if len(tokenizers) == 1 else [f"{TOKENIZER} differs"]
    encoders = [TextEncoder(bundle, candidate_encodings(bundle)[0]) for bundle in bundles]
    texts = held_out_texts()
    found: Cosines = cosines(*(
        np.stack([encoder.embed(encoder.tokenize(text).ids) for text in texts]) for encoder in encoders
    ))  # fmt: skip
    if not (found.min >= limits.min_cosine and found.mean >= limits.min_mean_cosine):
        lines.append(
            f"vectors of {found.texts} texts have a cosine to the committed bundle's of {found.mean:.6f} in the mean "
            f"(at least {limits.min_mean_cosine}) and {found.min:.6f} at the lowest (at least {limits.min_cosine})"
        )
    return lines


def _sequence_differences(bundles: list[Bundle], limits: Limits) -> list[str]:
    models = [SequenceModel(bundle) for bundle in bundles]
    lines = []
    for events in (0, 5, 64):
        first, second = (recorded(model, events) for model in models)
        cosine = min(float(np.dot(first.user, second.user)), float(np.dot(first.item, second.item)))
        apart = float(np.abs(np.subtract(first.probabilities, second.probabilities)).max())
        if not (cosine >= limits.min_sequence_cosine and apart <= limits.max_probability_difference):
            lines.append(
                f"over {events} events the lowest cosine to the committed bundle is {cosine:.6f} (at least "
                f"{limits.min_sequence_cosine}), probabilities are {apart:.6f} apart (at most "
                f"{limits.max_probability_difference})"
            )
    return lines
