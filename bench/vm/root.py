"""The guest's root file system and the service in it: an unpacked image, or one made of what is installed here."""

import compileall
import json
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.machine import ROOT
from bench.server import IMAGE_ENVIRONMENT
from bench.suite import NotMeasured
from runtime.models.bundle import MANIFEST
from runtime.models.installed import PACKAGED, SEQUENCE, TEXT_ENCODER, make_derived

NOBODY = 65534
PACKAGES, APPLICATION, MODELS, VOLUME = "/opt/packages", "/opt/app", "/opt/models", "/data"
NOT_SERVED = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages"}
# Emulation is many times slower than the machine it stands for: deadlines that guard people's patience go up.
PATIENCE = {"VOWS_REQUEST_TIMEOUT_S": "300", "VOWS_BATCH_TIMEOUT_S": "3600"}
# Its network ends at this machine, and what is measured needs no key.
NO_KEYS = {"VOWS_AUTH": "disabled"}


@dataclass(frozen=True)
class Service:
    """What to run in the root file system, as which user, and where the volume goes. Paths are those of the guest."""

    command: tuple[str, ...]
    environment: dict[str, str]
    uid: int
    gid: int
    folder: str
    volume: str

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self.environment.get("VOWS_PORT", "8080"))

    @property
    def models(self) -> str:
        """The folder of its model bundles."""
        return self.environment.get("VOWS_MODELS_DIR", MODELS)


def image_service(root: Path, config: Path) -> Service:
    """The service that an image's configuration describes, its user looked up in the image.

    `config` is what `docker inspect`, `buildah inspect --type image` or an OCI configuration says (JSON). Raises
    NotMeasured when it names no command or a user the image does not have.
    """
    found = _configuration(json.loads(config.read_text(encoding="utf-8")))
    command = [*(found.get("Entrypoint") or ()), *(found.get("Cmd") or ())]
    if not command:
        raise NotMeasured(f"{config} names no command to run")
    uid, gid = _user(root, found.get("User") or "0")
    environment = dict(entry.split("=", 1) for entry in found.get("Env") or ())
    return Service(
        command=tuple(command),
        environment={**environment, **PATIENCE, **NO_KEYS},
        uid=uid,
        gid=gid,
        folder=found.get("WorkingDir") or "/",
        volume=next(iter(found.get("Volumes") or ()), VOLUME),
    )


def _configuration(document: Any) -> dict[str, Any]:
    """The run-time part, wherever the tool that wrote the document puts it."""
    while True:
        if isinstance(document, list) and document:
            document = document[0]
            continue
        inner = (document.get(name) for name in ("OCIv1", "Docker", "config", "Config"))
        found = next((value for value in inner if isinstance(value, dict)), None)
        if found is None:
            return dict(document)
        document = found


def _user(root: Path, text: str) -> tuple[int, int]:
    user, _, group = text.partition(":")
    uid, gid = _entry(root / "etc/passwd", user) or (user, "0")  # as container engines do for an unknown number
    if group:
        gid, *_ = _entry(root / "etc/group", group) or (group,)
    if not (uid.isdigit() and gid.isdigit()):
        raise NotMeasured(f"the image has no user {text}")
    return int(uid), int(gid)


def _entry(file: Path, wanted: str) -> list[str] | None:
    """The two numbers after the password of the line that has this name or number."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        fields = line.split(":")
        if wanted in (fields[0], fields[2]):
            return fields[2:4]
    return None


def assemble_root(root: Path, models: Path) -> Service:
    """Fill the empty folder `root` with what the image holds: Python, the locked packages, the runtime and the bundles
    of both models, from `models` or else from the package. Returns their service.

    Raises NotMeasured when a locked package is not installed here.
    """
    python, stdlib = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    # Both below one prefix, wherever links lead to: that is where Python looks for its library.
    home = Path(sys.base_prefix)
    command = home / "bin" / python.name
    _copy(python, root / str(command)[1:])
    shutil.copytree(stdlib, root / str(home / "lib" / stdlib.name)[1:], ignore=_not_served)
    packages = root / PACKAGES[1:]
    for file in _locked_files():
        _copy(Path(str(file.locate())), packages / file)
    ignored = shutil.ignore_patterns("__pycache__", "bundles")
    shutil.copytree(ROOT / "runtime", root / APPLICATION[1:] / "runtime", ignore=ignored)
    for name in (TEXT_ENCODER, SEQUENCE):
        found = next(folder for folder in (models / name, PACKAGED / name) if (folder / MANIFEST).exists())
        shutil.copytree(found, root / MODELS[1:] / name)
    make_derived(root / MODELS[1:] / TEXT_ENCODER)  # as in the image: the root file system is read-only
    for folder in (packages, root / APPLICATION[1:]):  # the root file system is read-only
        compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    loaded = [python, *stdlib.glob("lib-dynload/*.so"), *(Path(str(f.locate())) for f in _locked_files())]
    for library in _libraries(path for path in loaded if path == python or ".so" in path.name):
        _copy(library.resolve(), root / str(library)[1:])
    for name in ("proc", "sys", "dev", "tmp", VOLUME[1:]):
        (root / name).mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONHOME": str(home),
        "PYTHONPATH": f"{PACKAGES}:{APPLICATION}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "VOWS_HOST": "0.0.0.0",
        "VOWS_PORT": "8080",
        "VOWS_DATA_DIR": VOLUME,
        "VOWS_MODELS_DIR": MODELS,
    }
    return Service(
        command=(str(command), "-m", "runtime"),
        environment={**environment, **IMAGE_ENVIRONMENT, **PATIENCE, **NO_KEYS},
        uid=NOBODY,
        gid=NOBODY,
        folder="/",
        volume=VOLUME,
    )


def _locked_files() -> Iterator[metadata.PackagePath]:
    """The files of every package in requirements.lock, but not what they put outside site-packages."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for line in re.findall(r"^[a-z][\w.-]*==.*", lock, re.MULTILINE):
        name, marker = line.split("==")[0], line.partition(";")[2]
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            if marker:  # for another system
                continue
            raise NotMeasured(f"{name} is not installed in {sys.prefix}: make run installs it") from None
        yield from (file for file in files if ".." not in file.parts and file.suffix != ".pyc")


def _not_served(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in NOT_SERVED or name.startswith("config-")]


def _libraries(programs: Iterable[Path]) -> list[Path]:
    """Shared libraries outside the packages that `programs` load, as the loader names them, and the loader itself."""
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True)
    found = {Path(path) for path in re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", done.stdout, re.MULTILINE)}
    here = Path(sys.prefix).resolve()
    system = {path for path in found if not path.resolve().is_relative_to(here)}
    # glibc opens this one by name when a thread ends
    late = {path.with_name("libgcc_s.so.1") for path in system if path.name == "libc.so.6"}
    return sorted(system | {path for path in late if path.exists()})


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
