"""The server of this project, as the image starts it, answering with JSON."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.http_client import HOST, build_request
from bench.server import IMAGE_ENVIRONMENT


def command(python: Path, model: Path, port: int) -> list[str]:
    """How it is started."""
    return [str(python), "-m", "runtime"]


def environment(model: Path, port: int, folder: Path) -> dict[str, str]:
    """Its settings; `folder` is fresh and its own."""
    return IMAGE_ENVIRONMENT | {
        "VOWS_HOST": HOST,
        "VOWS_PORT": str(port),
        "VOWS_DATA_DIR": str(folder / "data"),
        "VOWS_MODELS_DIR": str(model.parent),
    }


def request(texts: list[str]) -> bytes:
    """The request that embeds them."""
    items = [{"type": "content", "text": text} for text in texts]
    if len(items) == 1:
        return build_request("POST", "/embed", items[0])
    return build_request("POST", "/embed/batch", {"items": items})


def vectors(body: bytes) -> NDArray[np.float32]:
    """float32 [n, 384] of an answer."""
    answer = json.loads(body)
    return np.asarray([result["embedding"] for result in answer.get("results", [answer])], np.float32)
