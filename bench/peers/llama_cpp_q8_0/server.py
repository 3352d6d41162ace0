"""llama.cpp's own server on one thread, eight texts at a time at most, answering with JSON."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.http_client import HOST, build_request

SLOTS, TOKENS = 8, 512  # texts at a time, and tokens that each may have


def command(python: Path, model: Path, port: int) -> list[str]:
    """How it is started."""
    options = {
        "--model": model / "model.gguf",
        "--host": HOST,
        "--port": port,
        "--pooling": "mean",
        "--parallel": SLOTS,
        "--ctx-size": SLOTS * TOKENS,
        "--batch-size": 2048,
        "--ubatch-size": 2048,
        "--threads": 1,
        "--threads-batch": 1,
        "--threads-http": 1 + SLOTS,
    }
    words = [str(word) for option in options.items() for word in option]
    return [str(model / "llama-server"), "--embedding", "--no-webui", *words]


def environment(model: Path, port: int, folder: Path) -> dict[str, str]:
    """It needs none."""
    return {}


def request(texts: list[str]) -> bytes:
    """The request that embeds them."""
    return build_request("POST", "/v1/embeddings", {"input": texts})


def vectors(body: bytes) -> NDArray[np.float32]:
    """float32 [n, 384] of an answer."""
    entries = sorted(json.loads(body)["data"], key=lambda entry: entry["index"])
    return np.asarray([entry["embedding"] for entry in entries], np.float32)
