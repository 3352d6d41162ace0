"""The model bundle: a folder of weights that says what it is, and is refused when it is not what it says."""

import hashlib
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from runtime.models.derived import DerivedFile, derived_file
from runtime.models.verified_copy import can_be_overwritten, remove_others, verified_copy

log = logging.getLogger("vows")

FORMAT = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.json"
TOKENIZER = "tokenizer.json"
# What a sequence model learned of single items, as arrays to map: hash and signature of each, code, and the basis.
ID_TABLE = ("ids.npy", "codes.npy", "basis.npy")

# A ranker: weights as JSON, and where it has them its neighbours, as arrays to map: hashes, starts, rows and values.
RANKER = "ranker.json"
NEIGHBOURS = ("items.npy", "starts.npy", "rows.npy", "values.npy")
# And where it predicts the next action what the log says of each item, in the same order, and of items it lacks.
ACTIONS = ("action_items.npy", "action_basis.npy")

_HASH_CHUNK_BYTES = 1 << 20
_MANIFEST_BYTES = 1 << 20  # the largest that is read; with its list of flips a real one has 100 KB
_COMMAND = {"text-encoder": "minilm", "sequence": "sequence"}
_REQUIRED = {"text-encoder": {TOKENIZER}, "sequence": {GOLDEN, *ID_TABLE}, "ranker": {RANKER}}
_MADE_BY = {kind: f"vows-edge export {name}" for kind, name in _COMMAND.items()} | {"ranker": "vows-edge train ranker"}


class BundleError(Exception):
    """A bundle cannot be used. The message says which folder, what was found, what was expected and what to do."""


class DamagedFile(BundleError):
    """A file of a bundle is not what the manifest says."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a bundle: SHA-256 in hex, and size in bytes."""

    sha256: str
    bytes: int


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the weights came from: a package, folder or hub id, and the digest of each file that was read."""

    id: str
    license: str
    files: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`manifest.json`. `encodings` maps an integer encoding (s8, u8, fp32) to the `.ort` file that carries it: one of
    `files`, or one of `derived`, which is made of one of them.

    A sequence model has one encoding and several graphs instead: `graphs` maps their names to files.
    `exported_on` is the processor that quantised and recorded: another one may round otherwise.
    """

    format: int
    kind: Literal["text-encoder", "sequence", "ranker"]
    model_version: str
    dimensions: int
    max_tokens: int
    files: dict[str, FileEntry]
    encodings: dict[str, str]
    source: Source
    onnxruntime: str
    opset: int
    recipe: dict[str, Any]
    quality: dict[str, Any]
    graphs: dict[str, str] = {}
    derived: dict[str, DerivedFile] = {}
    exported_on: str = ""


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recorded text: its token ids and what the fp32 model and the quantised graph made of it at export."""

    text: str
    input_ids: list[int]
    fp32: list[float]
    quantised: list[float]


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its manifest says. `digest` is the SHA-256 of the manifest, and so of every file it
    names. `cache`: the folder for derived files where `path` cannot be written. `private`: this bundle's folder of
    verified copies, None where its files are read where they are."""

    path: Path
    manifest: Manifest
    digest: str
    cache: Path | None = None
    private: Path | None = None

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        kind: str,
        dimensions: int | None = None,
        cache: Path | None = None,
        copies: Path | None = None,
    ) -> "Bundle":
        """Read the bundle at `path` and verify what is read from it; an encoding when it is loaded, since a server
        opens one of them, and reading another takes longer than opening it.

        copies: where a server keeps copies of files that could be overwritten while it reads them.

        Raises BundleError when anything does not match.
        """
        try:
            raw = read_manifest(path / MANIFEST)
        except OSError as error:
            raise BundleError(
                f"no model bundle at {path}: {error.strerror}. Make one with `{_MADE_BY[kind]}`"
            ) from error
        try:
            manifest = msgspec.json.decode(raw, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"{path / MANIFEST} is not a bundle manifest: {error}") from error
        _expect(path, "format", manifest.format, FORMAT)
        _expect(path, "kind", manifest.kind, kind)
        if dimensions is not None:
            _expect(path, "dimensions", manifest.dimensions, dimensions)
        encodings = set(manifest.encodings.values()) - manifest.derived.keys()
        encodings |= {entry.source for entry in manifest.derived.values()}
        required = encodings | set(manifest.graphs.values())
        required |= _REQUIRED[kind]
        read_now = required - encodings | {GOLDEN, *NEIGHBOURS, *ACTIONS}
        for name in sorted(required - manifest.files.keys()):
            raise BundleError(f"{path / MANIFEST} does not list {name}, which it needs; export the bundle again")
        for name, entry in manifest.files.items():
            if _is_whole(path, name, entry, required=name in required) and name in read_now:
                _verify(path, name, entry)
        for name in manifest.derived:
            _stays_inside(path, name)
        digest = hashlib.sha256(raw).hexdigest()
        private = copies / f"{kind}-{digest[:16]}" if copies is not None and can_be_overwritten(path) else None
        bundle = cls(path=path, manifest=manifest, digest=digest, cache=cache, private=private)
        for name in sorted(read_now & manifest.files.keys()):
            bundle._copy(path / name, manifest.files[name].sha256)
        if private is not None:
            remove_others(private)
        return bundle

    def file(self, name: str) -> Path:
        """Where to read a file of the bundle: the verified copy, if there is one."""
        return self.path / name if self.private is None or not (self.private / name).exists() else self.private / name

    def _copy(self, source: Path, sha256: str) -> Path:
        """The verified copy of a file, made if need be; the file itself where none is wanted or can be made. Raises
        DamagedFile."""
        if self.private is None:
            return source
        try:
            if verified_copy(source, sha256, self.private / source.name):
                return self.private / source.name
        except OSError as error:
            log.warning("%s is read where it is, no copy of it can be made: %s. Do not write over it", source, error)
            return source
        raise DamagedFile(f"bundle {self.path}: {source.name} changed while it was read; export the bundle again")

    @property
    def machine_folder(self) -> Path | None:
        """Where to keep what is made of it and fits this kind of machine alone; None where there is no such place."""
        if self.private is not None:
            return self.private
        return self.path.resolve().parent / ".packed" if os.access(self.path, os.W_OK) else self.cache

    def encoding_sha256(self, encoding: str) -> str:
        """Of the file that `encoding_path` returns."""
        name = self.manifest.encodings[encoding]
        return (self.manifest.derived.get(name) or self.manifest.files[name]).sha256

    def encoding_path(self, encoding: str) -> Path:
        """The `.ort` file of an encoding, verified; a derived one is made the first time. Raises BundleError when the
        bundle does not carry it whole, or it cannot be made."""
        name = self.manifest.encodings.get(encoding)
        if name is None:
            known = ", ".join(sorted(self.manifest.encodings))
            raise BundleError(f"bundle {self.path} has no encoding {encoding!r}; it has: {known}")
        if (entry := self.manifest.derived.get(name)) is not None:
            return self._copy(self._derived(name, entry), entry.sha256)
        _verify(self.path, name, self.manifest.files[name])
        return self._copy(self.path / name, self.manifest.files[name].sha256)

    def _derived(self, name: str, entry: DerivedFile) -> Path:
        try:
            return derived_file(self.path / entry.source, entry, name, self.cache)
        except ValueError as error:
            _verify(self.path, entry.source, self.manifest.files[entry.source])
            raise DamagedFile(f"bundle {self.path}: {error}; export the bundle again") from error
        except OSError as error:
            place = f" or in {self.cache}" if self.cache else ""
            raise BundleError(
                f"{name} cannot be made beside {self.path / entry.source}{place}: {error}. Make room for "
                f"{entry.bytes / 1e6:.0f} MB, or set VOWS_MODEL_CACHE_DIR to a folder that can be written"
            ) from error

    def golden(self) -> list[Golden]:
        """The recorded texts of the start-up self-test; empty when the bundle carries none."""
        if GOLDEN not in self.manifest.files:
            return []
        try:
            return msgspec.json.decode(self.file(GOLDEN).read_bytes(), type=list[Golden])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"bundle {self.path}: {GOLDEN} cannot be read: {error}; export it again") from error


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces so that a model never passes through the heap whole."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read_manifest(file: Path) -> bytes:
    """Raises OSError, or BundleError for what is no plain file of a reasonable size."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MANIFEST_BYTES:
        raise BundleError(
            f"{file} is not a bundle manifest: a plain file of at most {_MANIFEST_BYTES} bytes was expected, this has "
            f"{found.st_size} and mode {stat.filemode(found.st_mode)}"
        )
    return file.read_bytes()


def _expect(path: Path, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise BundleError(f"bundle {path}: {what} is {found!r}, expected {expected!r}; export the bundle again")


def _is_whole(path: Path, name: str, entry: FileEntry, *, required: bool) -> bool:
    """Whether a file is there with the bytes it should have, False where it need not be. Raises BundleError."""
    _stays_inside(path, name)
    file = path / name
    if not file.is_file():
        if required:
            raise DamagedFile(f"bundle {path}: {name} is missing; export the bundle again")
        return False
    size = file.stat().st_size
    if size != entry.bytes:
        raise DamagedFile(f"bundle {path}: {name} has {size} bytes, the manifest says {entry.bytes}; export again")
    return True


def _stays_inside(path: Path, name: str) -> None:
    if Path(name).name != name:
        raise BundleError(f"bundle {path}: file name {name!r} leaves the folder")


def _verify(path: Path, name: str, entry: FileEntry) -> None:
    found = sha256_file(path / name)
    if found != entry.sha256:
        raise DamagedFile(
            f"bundle {path}: SHA-256 of {name} is {found}, the manifest says {entry.sha256}; export the bundle again"
        )
