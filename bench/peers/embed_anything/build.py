"""The folder of a model hub that embed_anything reads: `python -m bench.peers.embed_anything.build PREPARED OUT`."""

import shutil
import sys
from pathlib import Path

NAME, REVISION = "sentence-transformers/all-MiniLM-L6-v2", "main"


def main(prepared: Path, out: Path) -> None:
    """Copy the weights to where a download would have put them."""
    model = out / "hub" / f"models--{NAME.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(REVISION, encoding="ascii")
    shutil.copytree(prepared / "weights", model / "snapshots" / REVISION)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
