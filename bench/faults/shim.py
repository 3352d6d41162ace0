"""The library that stands between a process and the system: see shim.c."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.suite import NotMeasured

SOURCE = Path(__file__).with_name("shim.c")


def build(folder: Path) -> Path:
    """Compile it into `folder`; the path to preload. Raises NotMeasured without a C compiler or on another system."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise NotMeasured("needs a C compiler and Linux, to stand between SQLite and the system")
    library = folder / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True, timeout=60)
    return library
