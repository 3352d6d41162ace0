"""Text vectors by the runtime's own bundle, kept on disk outside the repository: a text is embedded once."""

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import Bundle
from runtime.models.installed import PACKAGED, TEXT_ENCODER
from runtime.models.text_encoder import load_encoder

BUNDLE = PACKAGED / TEXT_ENCODER
CACHE_VARIABLE = "VOWS_CACHE_DIR"


def cache_dir() -> Path:
    """`$VOWS_CACHE_DIR`, or the user's cache folder."""
    base = (
        os.environ.get(CACHE_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vows-edge"
    )
    return Path(base) / "vectors"


def text_vectors(texts: Sequence[str], bundle: Path = BUNDLE, cache: Path | None = None) -> NDArray[np.float32]:
    """Unit rows float32 [texts, 384]; a blank text has a row of zeros.

    The same text gives the same vector whatever it is embedded with, so one file per list of texts is enough; its name
    is the digest of the bundle and of the texts. Raises BundleError where there is no usable bundle.
    """
    loaded = Bundle.load(bundle, kind="text-encoder")
    digest = hashlib.sha256(loaded.digest.encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    file = (cache or cache_dir()) / f"{digest.hexdigest()[:32]}.npy"
    if file.exists():
        stored: NDArray[np.float32] = np.load(file)
        return stored
    vectors = _embed(texts, loaded)
    file.parent.mkdir(parents=True, exist_ok=True)
    half_written = file.with_suffix(f".{os.getpid()}.tmp")
    with half_written.open("wb") as out:
        np.save(out, vectors)
    half_written.replace(file)
    return vectors


def _embed(texts: Sequence[str], bundle: Bundle) -> NDArray[np.float32]:
    encoder, _ = load_encoder(bundle)
    vectors = np.zeros((len(texts), encoder.dimensions), np.float32)
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if text.strip():
            rows.setdefault(text, []).append(row)
    shown = start = time.monotonic()
    for done, (text, places) in enumerate(rows.items(), start=1):
        vectors[places] = encoder.embed(encoder.tokenize(text).ids)
        if (now := time.monotonic()) - shown > 2:
            shown = now
            left_s = (now - start) / done * (len(rows) - done)
            print(f"\r      embedding texts {done}/{len(rows)}, {left_s:.0f} s left ", end="", file=sys.stderr)
    if shown > start:
        print(file=sys.stderr)
    return vectors
