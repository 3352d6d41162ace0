"""The runtime's own text encoder in a process of its own, timed on request: JSON lines in, JSON lines out.

`python -m bench.in_process MODELS CORE`. The request `{"roofline": true}` returns the core's matrix-product
rate; `{"texts": [...]}` returns the milliseconds each text took from text to vector and in the model alone.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.machine import ROOT
from bench.roofline import sgemm_flops_per_s
from bench.suite import Conditions


class EncoderProcess:
    """The client of the process. Raises RuntimeError when the process has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.encoding: str = self._read()["encoding"]

    def flops_per_s(self) -> float:
        """The best matrix-product rate of its core, now."""
        return float(self._request({"roofline": True})["flops_per_s"])

    def embed_ms(self, texts: list[str]) -> tuple[list[float], list[float]]:
        """Milliseconds a text, from text to vector, and of these in the model."""
        answer = self._request({"texts": texts})
        return answer["text_ms"], answer["model_ms"]

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the in-process encoder ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def encoder_process(conditions: Conditions) -> Iterator[EncoderProcess]:
    """An encoder on the server's core; its process ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.in_process", str(conditions.models), str(conditions.server_core)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield EncoderProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(models: Path, core: int) -> None:
    """Answer requests until the input ends."""
    os.sched_setaffinity(0, {core})
    from runtime.models.bundle import Bundle
    from runtime.models.text_encoder import load_encoder

    bundle = Bundle.load(models / "minilm", kind="text-encoder")
    encoder, _ = load_encoder(bundle)
    print(json.dumps({"encoding": encoder.encoding}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "roofline" in request:
            print(json.dumps({"flops_per_s": sgemm_flops_per_s()}), flush=True)
            continue
        text_ms: list[float] = []
        model_ms: list[float] = []
        for text in request["texts"]:
            start = time.perf_counter_ns()
            tokens = encoder.tokenize(text)
            tokenized = time.perf_counter_ns()
            encoder.embed(tokens.ids)
            end = time.perf_counter_ns()
            text_ms.append((end - start) / 1e6)
            model_ms.append((end - tokenized) / 1e6)
        print(json.dumps({"text_ms": text_ms, "model_ms": model_ms}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
