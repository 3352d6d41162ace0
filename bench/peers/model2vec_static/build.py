"""A vector for every token, distilled from the weights: `python -m bench.peers.model2vec_static.build PREPARED OUT`.

model2vec's method and its defaults (https://github.com/MinishLab/model2vec): each token alone through the model, the
256 principal components, weights against frequent tokens as if the vocabulary were ordered by frequency (Zipf).
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import AutoModel

COMPONENTS, SIF = 256, 1e-4
_BATCH = 512


def main(prepared: Path, out: Path) -> None:
    """Write the table and the tokenizer."""
    weights = prepared / "weights"
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    torch.set_num_threads(1)  # sequences of three tokens: threads would wait for each other
    model = AutoModel.from_pretrained(weights).eval()
    tokens = np.asarray([token for name, token in tokenizer.get_vocab().items() if not name.startswith("[unused")])
    tokens.sort()
    means = []
    with torch.inference_mode():
        for start in range(0, len(tokens), _BATCH):
            ids = torch.tensor([[first, token, last] for token in tokens[start : start + _BATCH].tolist()])
            means.append(model(input_ids=ids).last_hidden_state.mean(1).numpy())  # [batch, 384]
    vectors = np.concatenate(means).astype(np.float64)
    vectors -= vectors.mean(0)
    _, axes = np.linalg.eigh(np.cov(vectors.T))  # rising
    shares = 1 / np.arange(2, len(tokens) + 2)
    shares /= shares.sum()
    table = np.zeros((tokenizer.get_vocab_size(), COMPONENTS), np.float16)
    table[tokens] = vectors @ axes[:, : -COMPONENTS - 1 : -1] * (SIF / (SIF + shares))[:, np.newaxis]
    save_file({"embeddings": table}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps({"normalize": True}), encoding="ascii")
    shutil.copy(weights / "tokenizer.json", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
