"""schemathesis over the OpenAPI document of a running server, with every check."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.http_client import HOST
from bench.suite import NotMeasured

CONFIG = Path(__file__).with_name("schemathesis.toml")


class Outcome(NamedTuple):
    """Requests made, failures found, and the end of what schemathesis printed."""

    requests: int
    failures: int
    report: str


def check_document(port: int, *, examples: int, seed: int) -> Outcome:
    """At most `examples` a kind of request. Raises NotMeasured where schemathesis is not installed."""
    program = shutil.which("st", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if program is None:
        raise NotMeasured("needs schemathesis: pip install '.[test]'")
    command = [program, "--config-file", str(CONFIG), "run", f"http://{HOST}:{port}/openapi.json", "--no-color"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CONFIG.parent)
    report = done.stdout[done.stdout.find("FAILURES") :][-4000:] if done.returncode else done.stdout[-400:]
    cases = re.search(r"(\d[\d,]*) generated(?:, (\d+) found)?", done.stdout)
    if cases is None:
        raise RuntimeError(f"schemathesis ended with {done.returncode}: {(done.stdout + done.stderr)[-1000:]}")
    return Outcome(int(cases[1].replace(",", "")), int(cases[2] or 0) or int(done.returncode != 0), report)
