"""OpenVINO on one thread, with the precision of its other products left to its default."""

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from bench.peers.front import Embed
from bench.peers.pooling import load_tokenizer, padded, pool, token_ids


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(model / "model.xml"), "CPU", options).create_infer_request()
    tokenizer = load_tokenizer(model)
    takes_types = any("token_type_ids" in entry.names for entry in request.model_inputs)

    def embed(texts: list[str]) -> NDArray[np.float32]:
        ids, mask = padded(token_ids(tokenizer, texts))
        feeds = {"input_ids": ids, "attention_mask": mask}
        if takes_types:
            feeds["token_type_ids"] = np.zeros_like(ids)
        request.infer(feeds, share_inputs=True)
        return pool(request.get_output_tensor(0).data, mask)

    return embed
