"""NNCF's weight compression to int8: `python -m bench.peers.openvino_int8_weights.build PREPARED OUT`."""

import shutil
import sys
from pathlib import Path

import nncf
import openvino


def main(prepared: Path, out: Path) -> None:
    """Write the compressed model and the tokenizer."""
    model = openvino.convert_model(str(prepared / "onnx" / "model.onnx"))
    openvino.save_model(nncf.compress_weights(model), out / "model.xml")
    shutil.copy(prepared / "weights" / "tokenizer.json", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
