"""The sentences on which engines' vectors are compared, and what the float32 weights make of them."""

import json

import numpy as np
from numpy.typing import NDArray

from bench.peers.engines import Places
from bench.suite import NotMeasured


def read_reference(places: Places) -> tuple[list[str], NDArray[np.float32]]:
    """Sentences and their unit vectors float32 [n, 384]. Raises NotMeasured when nothing is prepared."""
    file = places.prepared / "reference.npy"
    if not file.exists():
        raise NotMeasured("nothing is prepared: python -m bench.peers")
    sentences: list[str] = json.loads(places.texts.read_text(encoding="utf-8"))["sentences"]
    return sentences, np.load(file)
