"""Text → unit vector: one path, one text a run, at its exact length."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.machine import integer_encoding
from runtime.models.bundle import TOKENIZER, Bundle, BundleError
from runtime.models.session import create_session

# Read when the library loads. Its own thread pool would multiply by our worker threads and outlive every batch.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer

# Agreement with the vectors recorded at export. The graph is the same, so only the CPU's float rounding may differ.
MIN_COSINE_TO_RECORDED = 0.9999
MIN_COSINE_TO_FP32 = 0.99

# Scratch memory of one run of the longest text, which the session keeps for the next one.
SCRATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Tokens:
    """`ids`: int32 [n], n ≤ the model's maximum. `count`: tokens of the whole text, [CLS] and [SEP] included."""

    ids: NDArray[np.int32]
    count: int

    @property
    def truncated(self) -> bool:
        return self.count > self.ids.size


def choose_encoding(bundle: Bundle, asked: str = "auto") -> str:
    """The encoding asked for; for "auto" the one of this CPU, or the only one there is (an fp32 bundle)."""
    if asked != "auto":
        return asked
    encodings = bundle.manifest.encodings
    wanted = integer_encoding()
    return wanted if wanted in encodings else min(encodings)


class TextEncoder:
    """The model of one bundle in one encoding. Safe to call from several threads at once.

    Raises BundleError when the bundle was compiled by another onnxruntime, cannot be loaded, or does not reproduce
    the vectors that were recorded when it was made.
    """

    def __init__(self, bundle: Bundle, encoding: str) -> None:
        self.bundle = bundle
        self.encoding = encoding
        self.dimensions = bundle.manifest.dimensions
        self.max_tokens = bundle.manifest.max_tokens
        self.model_version = bundle.manifest.model_version
        model = bundle.encoding_path(encoding)
        try:
            self._session = create_session(model)
        except Exception as error:  # onnxruntime raises its own unexported types, some straight from Exception
            raise BundleError(
                f"onnxruntime cannot load {model} (compiled by {bundle.manifest.onnxruntime}): {error}. "
                "Export the bundle again with the installed onnxruntime"
            ) from error
        self._tokenizer: Any = Tokenizer.from_file(str(bundle.path / TOKENIZER))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._sep: int = self._tokenizer.token_to_id("[SEP]")

    def tokenize(self, text: str) -> Tokens:
        """Token ids of a text, cut to the model's maximum with [SEP] kept last. About 0.2 µs a character."""
        return self._cut(self._tokenizer.encode_batch_fast([text])[0].ids)

    def tokenize_batch(self, texts: list[str]) -> list[Tokens]:
        """As `tokenize`, for many; releases the interpreter lock meanwhile."""
        return [self._cut(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]

    def embed(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Unit vector float32 [dimensions] of token ids int32 [n], 1 ≤ n ≤ max_tokens."""
        (output,) = self._session.run(None, {"input_ids": ids.reshape(1, -1)})
        # A copy: onnxruntime's own array would keep a piece of its arena for as long as the vector lives.
        vector: NDArray[np.float32] = np.array(output, np.float32).reshape(-1)
        return vector

    def self_test(self) -> dict[str, float]:
        """Embed the recorded texts and compare. Returns the lowest cosines; raises BundleError below the limits."""
        lowest_recorded, lowest_fp32 = 1.0, 1.0
        for golden in self.bundle.golden():
            tokens = self.tokenize(golden.text)
            if tokens.ids.tolist() != golden.input_ids:
                raise BundleError(
                    f"bundle {self.bundle.path}: the tokenizer cuts {golden.text[:40]!r} otherwise than at export; "
                    "export the bundle again with the installed tokenizers"
                )
            vector = self.embed(tokens.ids)
            lowest_recorded = min(lowest_recorded, float(vector @ np.asarray(golden.quantised, np.float32)))
            lowest_fp32 = min(lowest_fp32, float(vector @ np.asarray(golden.fp32, np.float32)))
        if lowest_recorded < MIN_COSINE_TO_RECORDED or lowest_fp32 < MIN_COSINE_TO_FP32:
            raise BundleError(
                f"bundle {self.bundle.path}, encoding {self.encoding}: cosine to the recorded vectors is "
                f"{lowest_recorded:.6f} (at least {MIN_COSINE_TO_RECORDED}), to fp32 {lowest_fp32:.6f} (at least "
                f"{MIN_COSINE_TO_FP32}): this CPU does not compute this encoding exactly"
            )
        return {"cosine_to_recorded": lowest_recorded, "cosine_to_fp32": lowest_fp32}

    def _cut(self, ids: list[int]) -> Tokens:
        count = len(ids)
        if count > self.max_tokens:
            ids = [*ids[: self.max_tokens - 1], self._sep]
        return Tokens(ids=np.array(ids, np.int32), count=count)
