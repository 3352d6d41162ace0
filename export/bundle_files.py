"""Write a bundle's folder atomically: files first, manifest last, then one rename."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from export.encoder_metrics import Encoder
from runtime.models import bundle

_TRIPLE = re.compile(rb"\[\s+(\d+),\s+(\d+),\s+(\d+)\s+\]")  # a run of flipped bits stays on its line


@contextmanager
def folder_in_place_of(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block succeeds, and is removed when it raises.

    A folder cannot replace a full one in a single rename: between the two renames `out` is absent for an instant.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield made
        made.chmod(0o755)  # mkdtemp's 0700 would hide the bundle from the server's own user
        old = made.with_name(made.name + ".old")
        if out.exists():
            os.rename(out, old)
        os.rename(made, out)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def write_tokenizer(tokenizer: Tokenizer, file: Path) -> None:
    """The tokenizer without truncation and padding: the runtime cuts by itself, and says so."""
    content = json.loads(tokenizer.to_str())
    file.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def write_golden(file: Path, texts: list[str], fp32: Encoder, quantised: Encoder) -> None:
    """Record what the fp32 graph and the quantised one make of a few texts, for the runtime's self-test at start."""
    records = [
        bundle.Golden(
            text=text,
            input_ids=fp32.ids(text)[0].tolist(),
            fp32=_shortest(fp32, text),
            quantised=_shortest(quantised, text),
        )
        for text in texts
    ]
    file.write_bytes(msgspec.json.encode(records))


def _shortest(encoder: Encoder, text: str) -> list[float]:
    # The shortest decimals that give the same float32 back: half the bytes of the float64 that JSON would print.
    return [float(str(value)) for value in encoder.embed_ids(encoder.ids(text))]


def spread_by_length(texts: list[str], encoder: Encoder, count: int) -> list[str]:
    """`count` of the texts, from the shortest to the longest in even steps of rank."""
    ordered = sorted(texts, key=lambda text: (encoder.ids(text).size, text))
    return [ordered[round(step * (len(ordered) - 1) / (count - 1))] for step in range(count)]


def write_manifest(folder: Path, fields: dict[str, Any]) -> None:
    """`manifest.json` over every file in the folder. No times and sorted keys: the same bytes from the same inputs."""
    files = {
        file.name: bundle.FileEntry(sha256=bundle.sha256_file(file), bytes=file.stat().st_size)
        for file in sorted(folder.iterdir())
    }
    manifest = bundle.Manifest(format=bundle.FORMAT, files=files, **fields)
    content = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2)
    content = _TRIPLE.sub(rb"[\1, \2, \3]", content)
    (folder / bundle.MANIFEST).write_bytes(content + b"\n")
