"""What every engine starts from: `python -m bench.peers.prepare WEIGHTS OUT`, in the converters' environment.

It writes `weights/` (the published weights; their tokenizer file cuts and pads to 128 tokens, this one does neither),
`onnx/model.onnx` (the plain float32 export) and `reference.npy` (float32 [n, 384]: unit vectors of the comparison's
sentences from the float32 weights on torch, which every engine's are compared with).
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optimum.exporters.onnx import main_export
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer


def main(weights: Path, out: Path) -> None:
    """Write all three."""
    copy = out / "weights"
    shutil.copytree(weights, copy, dirs_exist_ok=True)
    tokenizer = Tokenizer.from_file(str(copy / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(copy / "tokenizer.json"))
    limits = json.loads((copy / "tokenizer_config.json").read_text(encoding="utf-8"))
    limits.update(model_max_length=256, max_length=256)
    (copy / "tokenizer_config.json").write_text(json.dumps(limits, indent=1), encoding="utf-8")
    main_export(str(copy), output=out / "onnx", task="feature-extraction")
    texts: list[str] = json.loads((out.parent / "texts.json").read_text(encoding="utf-8"))["sentences"]
    np.save(out / "reference.npy", reference(copy, texts))


def reference(weights: Path, texts: list[str]) -> np.ndarray:
    """Unit vectors float32 [n, 384], one text at a time."""
    tokenizer: Any = AutoTokenizer.from_pretrained(weights)  # type: ignore[no-untyped-call]
    model = AutoModel.from_pretrained(weights).eval()
    vectors = []
    with torch.inference_mode():
        for text in texts:
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state  # [1, tokens, 384]
            vectors.append(torch.nn.functional.normalize(hidden.mean(1))[0].numpy())
    return np.stack(vectors).astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
