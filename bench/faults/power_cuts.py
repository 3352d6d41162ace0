"""Simulated power cuts: what a store asked of the system is played back up to a moment, and what was not synced then is
dropped, torn at sectors and reordered. Whatever the disk made of it, everything acknowledged before has to be there."""

import os
import random
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.blocking_store import BlockingStore
from bench.faults import shim
from bench.machine import ROOT
from runtime.store import StoreError
from runtime.store.sqlite.store import SqliteStore

_SECTOR = 512
_HEAD = struct.Struct("=4q")


class Operation(NamedTuple):
    """kind: W (write), S (sync), T (truncation to `offset`), U (removal), A (`offset` was acknowledged)."""

    kind: str
    name: str
    offset: int
    data: bytes


@dataclass
class Cuts:
    """What became of the cuts: `lost` had fewer events than were acknowledged, `broken` did not open or had damage."""

    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    broken: int = 0
    first: str = field(default="")


def cut_power(folder: Path, cuts: int, seed: int, program: str = "note_acknowledgements") -> Cuts:
    """Run a program of `store_programs` once, and cut its power at `cuts` moments. Raises NotMeasured without a
    compiler, and RuntimeError where the program fails."""
    operations = _recorded(folder, program)
    draw = random.Random(seed)
    notes = [number for number, one in enumerate(operations) if one.kind == "A"]
    found = Cuts()
    for _ in range(cuts):
        # Half of them right behind an acknowledgement, where a sync that is missing tells.
        moment = draw.choice(notes) + 1 if draw.random() < 0.5 else draw.randrange(len(operations))
        image = folder / "image"
        shutil.rmtree(image, ignore_errors=True)
        image.mkdir()
        for name, content in _after_cut(operations[:moment], draw).items():
            (image / name).write_bytes(content)
        acknowledged = {str(one.offset) for one in operations[:moment] if one.kind == "A"}
        _look(image, acknowledged, found, f"operation {moment} of {len(operations)}")
    return found


def _look(image: Path, acknowledged: set[str], found: Cuts, where: str) -> None:
    found.cuts += 1
    found.acknowledged += len(acknowledged)
    try:
        store = BlockingStore(SqliteStore(image, dimensions=4))
    except StoreError as error:
        found.broken += 1
        found.first = found.first or f"{where}: {error}"
        return
    stored = {entry.event_id for entry in store.log(limit=100_000)[0]}
    problems = store.check()
    store.close()
    kept = {id for id in acknowledged if int(id) % 7}  # the others' user was deleted now and then
    if kept - stored or problems:
        found.lost += bool(kept - stored)
        found.broken += bool(problems)
        found.first = found.first or f"{where}: {sorted(kept - stored)[:3]} {problems[:2]}"


def _after_cut(operations: list[Operation], draw: random.Random) -> dict[str, bytes]:
    """The files as the disk may hold them."""
    durable: dict[str, bytearray] = {}
    pending: dict[str, list[Operation]] = {}
    for one in operations:
        if one.kind == "A":
            continue
        if one.kind == "U":  # SQLite syncs the directory before it relies on this
            durable.pop(one.name, None)
            pending.pop(one.name, None)
            continue
        file = durable.setdefault(one.name, bytearray())
        if one.kind == "S":
            for waiting in pending.pop(one.name, []):
                _apply(file, waiting, 0, len(waiting.data))
        else:
            pending.setdefault(one.name, []).append(one)
    for name, waiting_here in pending.items():
        for one in _reordered([one for one in waiting_here if draw.random() < 0.5], draw):
            first, last = 0, len(one.data)
            if draw.random() < 0.3:
                sectors = len(one.data) // _SECTOR
                first = _SECTOR * draw.randint(0, sectors)
                last = min(len(one.data), _SECTOR * draw.randint(first // _SECTOR, sectors + 1))
            _apply(durable[name], one, first, last)
    return {name: bytes(content) for name, content in durable.items()}


def _reordered(operations: list[Operation], draw: random.Random) -> list[Operation]:
    """Writes in any order, but none across a truncation: file systems keep a size in order with what follows."""
    ordered: list[Operation] = []
    between: list[Operation] = []
    for one in operations:
        if one.kind == "T":
            draw.shuffle(between)
            ordered += [*between, one]
            between = []
        else:
            between.append(one)
    draw.shuffle(between)
    return ordered + between


def _apply(file: bytearray, one: Operation, first: int, last: int) -> None:
    if one.kind == "T":
        del file[one.offset :]
        file.extend(bytes(one.offset - len(file)))
        return
    end = one.offset + last
    file.extend(bytes(max(0, end - len(file))))
    file[one.offset + first : end] = one.data[first:last]


def _recorded(folder: Path, program: str) -> list[Operation]:
    record = folder / "record"
    record.unlink(missing_ok=True)
    environment = {**os.environ, "LD_PRELOAD": str(shim.build(folder)), "FAULTS_RECORD": str(record)}
    command = [sys.executable, "-m", "bench.faults.store_programs", program, str(folder / program)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr[-400:]}")
    data = record.read_bytes()
    operations: list[Operation] = []
    at = 0
    while at < len(data):
        kind, offset, size, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        name = data[at : at + length].decode()
        at += length
        stored = size if chr(kind) == "W" else 0
        operations.append(Operation(chr(kind), name, offset, data[at : at + stored]))
        at += stored
    return operations
