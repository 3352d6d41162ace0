"""The folder that fastembed reads a custom model from: `python -m bench.peers.fastembed_fp32.build PREPARED OUT`."""

import shutil
import sys
from pathlib import Path

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def main(prepared: Path, out: Path) -> None:
    """Copy the float32 export and what describes the tokenizer."""
    shutil.copy(prepared / "onnx" / "model.onnx", out)
    for name in FILES:
        shutil.copy(prepared / "weights" / name, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
