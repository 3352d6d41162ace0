"""Text → unit vector: one path, one text a run, at its exact length."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import TOKENIZER, Bundle, BundleError, DamagedFile
from runtime.models.packed import CannotPack, packed_bytes, packed_model
from runtime.models.session import create_session
from runtime.models.tokenizer import Tokenizer, Tokens
from runtime.system.host import integer_encoding, lies_in_memory

# Agreement with the vectors recorded at export. The graph is the same, so only the CPU's float rounding may differ; a
# kernel that saturates falls far below. To fp32 the mean must hold what export's gate demands of held-out texts.
MIN_COSINE_TO_RECORDED = 0.9999
MIN_MEAN_COSINE_TO_FP32 = 0.998

# The longest recorded text that a start looks at. The kernels and their remainders are the same in longer ones, which
# would take most of the test's time, and that is a third of the start; `vows-edge doctor` looks at all.
TESTED_AT_START_TOKENS = 64

log = logging.getLogger("vows")

# Scratch memory of one run of the longest text, which the session keeps for the next one: 6.3 MiB, measured by
# `python -m bench.memory_parts text_scratch`.
SCRATCH_BYTES = 13 << 19


class SelfTest(NamedTuple):
    """How the recorded texts came out on this CPU."""

    texts: int
    min_cosine_to_recorded: float
    mean_cosine_to_fp32: float


def candidate_encodings(bundle: Bundle, wanted: str = "auto") -> list[str]:
    """The encodings to try, best first: the wanted one, or for "auto" this CPU's and then the bundle's others."""
    if wanted != "auto":
        return [wanted]
    wanted = integer_encoding()
    return sorted(bundle.manifest.encodings, key=lambda encoding: (encoding != wanted, encoding))


def load_encoder(
    bundle: Bundle, wanted: str = "auto", *, longest: int | None = TESTED_AT_START_TOKENS, packed: bool = False
) -> tuple["TextEncoder", SelfTest]:
    """The first encoding that reproduces the recorded vectors on this CPU, and how well it does.

    longest: tokens of the longest recorded text that is looked at, None for all. packed: with weights from a file that
    is packed for this CPU (`runtime/models/packed.py`), where there is a place for one.

    Raises BundleError, saying what each encoding got wrong, when none does, or that a file is damaged.
    """
    failures: list[str] = []
    for encoding in candidate_encodings(bundle, wanted):
        try:
            return _load(bundle, encoding, longest, packed=packed)
        except DamagedFile:  # no reason to take another encoding: something is wrong with the disk or whoever copied
            raise
        except BundleError as error:
            log.warning("%s", error)
            failures.append(str(error))
    raise BundleError("; ".join(failures))


def _load(bundle: Bundle, encoding: str, longest: int | None, *, packed: bool) -> tuple["TextEncoder", SelfTest]:
    if packed:
        try:
            encoder = TextEncoder(bundle, encoding, packed=True)
            return encoder, encoder.self_test(longest)
        except DamagedFile:
            raise
        except (BundleError, ModelFailed) as error:
            log.warning("without the weights that were packed in %s: %s", bundle.machine_folder, error)
    encoder = TextEncoder(bundle, encoding)
    return encoder, encoder.self_test(longest)


class ModelFailed(Exception):
    """A run of the model failed. Others are not touched by it."""


class TextEncoder:
    """The model of one bundle in one encoding. Safe to call from several threads at once.

    Raises BundleError when the bundle was compiled by another onnxruntime, cannot be loaded, or does not reproduce
    the vectors that were recorded when it was made.

    mapped_bytes: weights that are mapped in the order of this CPU's kernels, which without `packed`, or where there is
    no place for them, are in memory.
    """

    def __init__(self, bundle: Bundle, encoding: str, *, packed: bool = False) -> None:
        self.bundle = bundle
        self.encoding = encoding
        self.dimensions = bundle.manifest.dimensions
        self.max_tokens = bundle.manifest.max_tokens
        self.model_version = bundle.manifest.model_version
        model = bundle.encoding_path(encoding)
        mapped = self._packed(model) if packed else None
        self.mapped_bytes = 0 if mapped is None else packed_bytes(mapped, model)
        try:
            self._session = create_session(mapped or model, optimised=True)
        except Exception as error:  # onnxruntime raises its own unexported types, some straight from Exception
            raise BundleError(
                f"onnxruntime cannot load {model} (compiled by {bundle.manifest.onnxruntime}): {error}. "
                "Export the bundle again with the installed onnxruntime"
            ) from error
        try:
            self.tokenizer = Tokenizer(bundle.file(TOKENIZER), max_tokens=self.max_tokens)
        except ValueError as error:
            raise BundleError(f"bundle {bundle.path}: {error}") from None

    def _packed(self, model: Path) -> Path | None:
        """None where it cannot be made, or would take memory itself: the session packs for itself then."""
        folder = self.bundle.machine_folder
        if folder is None or lies_in_memory(folder):
            return None
        try:
            return packed_model(model, self.bundle.encoding_sha256(self.encoding), folder)
        except (OSError, CannotPack) as error:
            log.warning("packed weights take memory, no file of them can be made in %s: %s", folder, error)
            return None

    def tokenize(self, text: str) -> Tokens:
        """As `tokenizer.tokenize`."""
        return self.tokenizer.tokenize(text)

    def embed(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Unit vector float32 [dimensions] of token ids int32 [n], 1 ≤ n ≤ max_tokens. Raises ModelFailed."""
        try:
            (output,) = self._session.run(None, {"input_ids": ids.reshape(1, -1)})
        except Exception as error:  # as above: onnxruntime's own types
            raise ModelFailed(
                f"the model could not run {ids.size} tokens: {error}; try again, and if that does not help look at the "
                "machine's memory and export the bundle anew"
            ) from error
        # A copy: onnxruntime's own array would keep a piece of its arena for as long as the vector lives.
        vector: NDArray[np.float32] = np.array(output, np.float32).reshape(-1)
        if not np.isfinite(vector).all():
            raise ModelFailed(f"the model made of {ids.size} tokens what is no number; export the bundle anew")
        return vector

    def self_test(self, longest: int | None = None) -> SelfTest:
        """Embed the recorded texts, those of at most `longest` tokens, and compare. Raises BundleError when they are
        not what was recorded."""
        recorded: list[float] = []
        fp32: list[float] = []
        for golden in self.bundle.golden():
            if longest is not None and len(golden.input_ids) > longest:
                continue
            tokens = self.tokenize(golden.text)
            if tokens.ids.tolist() != golden.input_ids:
                raise BundleError(
                    f"bundle {self.bundle.path}: the tokenizer splits {golden.text[:40]!r} differently than at export; "
                    "export the bundle again with the installed tokenizers"
                )
            vector = self.embed(tokens.ids)
            recorded.append(float(vector @ np.asarray(golden.quantised, np.float32)))
            fp32.append(float(vector @ np.asarray(golden.fp32, np.float32)))
        if not recorded:
            raise BundleError(f"bundle {self.bundle.path} has no recorded vectors; export the bundle again")
        result = SelfTest(len(recorded), min(recorded), sum(fp32) / len(fp32))
        if (
            result.min_cosine_to_recorded < MIN_COSINE_TO_RECORDED
            or result.mean_cosine_to_fp32 < MIN_MEAN_COSINE_TO_FP32
        ):
            raise BundleError(
                f"bundle {self.bundle.path}, encoding {self.encoding}: over {result.texts} recorded texts the lowest "
                f"cosine to the recorded vectors is {result.min_cosine_to_recorded:.6f} (at least "
                f"{MIN_COSINE_TO_RECORDED}), the mean to fp32 {result.mean_cosine_to_fp32:.6f} (at least "
                f"{MIN_MEAN_COSINE_TO_FP32}): this CPU does not compute this encoding exactly"
            )
        return result
