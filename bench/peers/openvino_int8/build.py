"""NNCF's post-training quantisation, transformer preset, calibrated on 300 texts.

`python -m bench.peers.openvino_int8.build PREPARED OUT`.
"""

import json
import shutil
import sys
from pathlib import Path

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray

from bench.peers.pooling import load_tokenizer, token_ids


def main(prepared: Path, out: Path) -> None:
    """Write the quantised model and the tokenizer."""
    model = openvino.convert_model(str(prepared / "onnx" / "model.onnx"))
    texts: list[str] = json.loads((prepared.parent / "texts.json").read_text(encoding="utf-8"))["calibration"]
    tokenizer = load_tokenizer(prepared / "weights")
    names = {name for entry in model.inputs for name in entry.names}

    def feeds(text: str) -> dict[str, NDArray[np.int64]]:
        ids = np.asarray(token_ids(tokenizer, [text]), np.int64)
        all_feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return {name: value for name, value in all_feeds.items() if name in names}

    data = nncf.Dataset(texts, feeds)
    quantised = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts))
    openvino.save_model(quantised, out / "model.xml")
    shutil.copy(prepared / "weights" / "tokenizer.json", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
