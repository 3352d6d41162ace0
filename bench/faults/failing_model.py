"""The server with a model whose N-th run fails: `python -m bench.faults.failing_model`, controlled by a file.

FAULTS_DIR/run holds "N" or "N for good"; whenever the file changes, runs are counted from 1 again. FAULTS_DIR/fired
gets a byte for each run that failed.
"""

import os
from pathlib import Path
from typing import Any

from runtime.cli.main import main
from runtime.models import text_encoder
from runtime.models.session import create_session

_FOLDER = Path(os.environ["FAULTS_DIR"])


class FailingSession:
    """A session of onnxruntime that raises, as the real one does when it cannot allocate, on the requested run."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._request = ""
        self._runs = 0

    def run(self, outputs: Any, inputs: Any) -> Any:
        """The real run's outputs, or RuntimeError."""
        requested = (_FOLDER / "run").read_text() if (_FOLDER / "run").exists() else ""
        if requested != self._request:
            self._request, self._runs = requested, 0
        self._runs += 1
        if requested:
            nth = int(requested.split()[0])
            if self._runs == nth or ("for good" in requested and self._runs > nth):
                with (_FOLDER / "fired").open("a") as fired:
                    fired.write("x")
                raise RuntimeError("this run was made to fail")
        return self._session.run(outputs, inputs)


if __name__ == "__main__":
    vars(text_encoder)["create_session"] = lambda model, **options: FailingSession(create_session(model, **options))
    raise SystemExit(main(["serve"]))
