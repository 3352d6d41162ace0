"""CTranslate2's own converter with its int8 weights: `python -m bench.peers.ctranslate2_int8.build PREPARED OUT`."""

import shutil
import sys
from pathlib import Path

from ctranslate2.converters import TransformersConverter


def main(prepared: Path, out: Path) -> None:
    """Write the converted model and the tokenizer."""
    TransformersConverter(str(prepared / "weights")).convert(str(out), quantization="int8", force=True)
    shutil.copy(prepared / "weights" / "tokenizer.json", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
