"""Text vectors from the runtime's own model bundle, cached on disk outside the repository."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

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


def text_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit rows float32 [texts, 384]; a blank text has a row of zeros.

    One cache file per list of texts, named by the digest of the bundle and of the texts. Raises BundleError where there
    is no usable bundle.
    """
    loaded = Bundle.load(BUNDLE, kind="text-encoder")
    digest = hashlib.sha256(loaded.digest.encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    file = cache_dir() / f"{digest.hexdigest()[:32]}.npy"
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
    for text, places in tqdm(rows.items(), "embedding texts", unit="text", delay=2, mininterval=2, leave=False):
        vectors[places] = encoder.embed(encoder.tokenize(text).ids)
    return vectors
