"""Where bundles are looked for, which sequence bundle and ranker are served, and back to the one before.

    models/minilm              a text encoder of your own
    models/sequence            link to the sequence bundle that is served; the server looks at it every few seconds
    models/sequence.previous   link to the one before
    models/sequences/          the bundles
    models/ranker              likewise the hybrid ranker, and models/ranker.previous

What is not there comes with the package. A link is replaced in one rename, so that a server that looks sees the old
bundle or the new one, whole.
"""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from runtime.models.bundle import MANIFEST, Bundle, BundleError, read_manifest

PACKAGED = Path(__file__).parents[1] / "bundles"
DEFAULT = Path("models")
TEXT_ENCODER = "minilm"
RANKER = "ranker"
SEQUENCE, BUNDLES = "sequence", "sequences"
MOST_LISTED = 64  # bundles of a kind


def bundle_folders(models_dir: Path | None, name: str) -> list[Path]:
    """Where a bundle is looked for, first to last: in `models_dir` alone when it is set, or else in `models` of the
    working directory and in the package."""
    folders = [DEFAULT, PACKAGED] if models_dir is None else [models_dir]
    return [folder / name for folder in folders]


def find_bundle(models_dir: Path | None, name: str) -> Path:
    """The first of `bundle_folders` that holds a bundle. Raises BundleError, saying where it looked."""
    folders = bundle_folders(models_dir, name)
    for folder in folders:
        if (folder / MANIFEST).exists():
            return folder
    looked = " or ".join(str(folder.absolute()) for folder in folders)
    unset = "" if models_dir is None else "; without VOWS_MODELS_DIR the bundle of the package is served"
    raise BundleError(f"no model bundle at {looked}: make one with `vows-edge export {name}`{unset}")


class SwitchError(Exception):
    """The bundle cannot be switched; the message says what to do."""


def make_derived(folder: Path, cache: Path | None = None) -> list[Path]:
    """Make every encoding of the text encoder in `folder` that follows from another, not only this CPU's: an image is
    built on one machine and runs on others. Returns their files. Raises BundleError."""
    bundle = Bundle.load(folder, kind="text-encoder", cache=cache)
    derived = bundle.manifest.derived
    return [bundle.encoding_path(name) for name, file in bundle.manifest.encodings.items() if file in derived]


def install(models: Path, folder: Path) -> str:
    """Serve the sequence or ranker bundle at `folder` from now on, and remember the one before. Returns its kind.
    Raises SwitchError."""
    kind = _kind(folder)
    models.mkdir(parents=True, exist_ok=True)
    current = models / kind
    if current.exists() and not current.is_symlink():
        raise SwitchError(f"{current} is a folder, not a link: move it to {models / f'{kind}s' / 'first'} and link it")
    before = os.readlink(current) if current.is_symlink() else None
    target = os.path.relpath(folder.resolve(), models.resolve())
    if before is not None and before != target:
        _link(_previous(current), before)
    _link(current, target)
    return kind


def back(models: Path, kind: str = SEQUENCE) -> Path | None:
    """Serve the bundle before the current one, which becomes the one before; None stands for what is served where no
    other was installed, such as the package's. Raises SwitchError without one before."""
    current, previous = models / kind, _previous(models / kind)
    if not current.is_symlink() and not previous.is_symlink():
        raise SwitchError(f"there is no {previous}: no other bundle was served before")
    if previous.is_symlink():
        folder = models / os.readlink(previous)
        if current.is_symlink():
            install(models, folder)
        else:
            os.replace(previous, current)
        return folder
    os.replace(current, previous)
    return None


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A bundle on the disk. `installed`: it is the one to serve; `before`: the one that `back` serves."""

    folder: Path
    model_version: str
    installed: bool
    before: bool

    def place(self, models_dir: Path | None) -> str:
        """Its folder in `models_dir`, or in the package; what is elsewhere in full."""
        real = self.folder.resolve()
        for parent, prefix in (((models_dir or DEFAULT).resolve(), ""), (PACKAGED.resolve(), "package/")):
            if real.is_relative_to(parent):
                return f"{prefix}{real.relative_to(parent)}"
        return str(real)


def found_bundles(models_dir: Path | None, name: str) -> list[FoundBundle]:
    """The bundles of a kind where it is looked for: first the one to serve, then the one before, then others beside
    them. Reads the manifests of at most MOST_LISTED."""
    served = next((folder for folder in bundle_folders(models_dir, name) if (folder / MANIFEST).exists()), None)
    before = folder_before(models_dir, name)
    beside = sorted(islice(((models_dir or DEFAULT) / f"{name}s").glob("*"), MOST_LISTED))
    found: dict[Path, FoundBundle] = {}
    for folder in [one for one in (served, before, *beside) if one is not None][:MOST_LISTED]:
        real = folder.resolve()
        if real not in found and (manifest := _manifest_or_none(real)) is not None:
            found[real] = FoundBundle(folder, manifest.model_version, folder is served, folder is before)
    return list(found.values())


def folder_before(models_dir: Path | None, name: str) -> Path | None:
    """The bundle that `back` serves; None where there is none, or what needs no bundle is served then."""
    first, *others = bundle_folders(models_dir, name)
    if _previous(first).is_symlink():
        return first.parent / os.readlink(_previous(first))
    return next((folder for folder in others if (folder / MANIFEST).exists()), None) if first.is_symlink() else None


def back_needs_no_bundle(models_dir: Path | None, name: str) -> bool:
    """Whether `back` takes away the only bundle of its kind."""
    first = bundle_folders(models_dir, name)[0]
    return first.is_symlink() and folder_before(models_dir, name) is None


def _kind(folder: Path) -> str:
    try:
        manifest = _manifest(folder)
    except _UNREADABLE as error:
        raise SwitchError(f"{folder} is not a bundle: {MANIFEST}: {error}") from error
    if manifest.kind not in (SEQUENCE, RANKER):
        raise SwitchError(f"{folder} is a {manifest.kind} bundle; {SEQUENCE} and {RANKER} bundles can be installed")
    return manifest.kind


def _manifest(folder: Path) -> "_Manifest":
    """Raises one of _UNREADABLE."""
    return msgspec.json.decode(read_manifest(folder / MANIFEST), type=_Manifest)


def _manifest_or_none(folder: Path) -> "_Manifest | None":
    try:
        return _manifest(folder)
    except _UNREADABLE:
        return None


def _previous(current: Path) -> Path:
    return current.with_name(f"{current.name}.previous")


_UNREADABLE = (OSError, BundleError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Manifest(msgspec.Struct, frozen=True):
    kind: str
    model_version: str = ""


def _link(link: Path, target: str) -> None:
    made = link.with_name(f".{link.name}-{os.getpid()}")
    made.symlink_to(target)
    os.replace(made, link)
