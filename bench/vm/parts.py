"""What the guest boots with: a kernel, its virtio modules and a static busybox, from two Debian packages."""

import lzma
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.machine import ROOT
from bench.suite import NotMeasured

CACHE = ROOT / "build" / "vm"
KERNEL_PACKAGE = "linux-image-cloud-amd64"  # depends on the package of the current version
BUSYBOX_PACKAGE = "busybox-static"
# In the order in which they load. ext4 and the serial port are built into this kernel.
MODULES = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover", "net_failover",
    "virtio_blk", "virtio_net",
)  # fmt: skip
HOW = (
    f"in a folder of your own (--parts): vmlinuz, busybox (static) and modules/NAME.ko for {', '.join(MODULES)}; on "
    f"Debian or Ubuntu they are taken from the packages {KERNEL_PACKAGE} and {BUSYBOX_PACKAGE} by apt-get download"
)


@dataclass(frozen=True)
class GuestParts:
    """Files on this machine: kernel, busybox, and the modules there are (one that is missing counts as built in)."""

    kernel: Path
    busybox: Path
    modules: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> "GuestParts":
        """The parts that lie in `folder`. Raises NotMeasured naming what is missing and how to get it."""
        missing = [name for name in ("vmlinuz", "busybox") if not (folder / name).exists()]
        if missing:
            raise NotMeasured(f"{' and '.join(missing)} not in {folder}; needed {HOW}")
        modules = [folder / "modules" / f"{name}.ko" for name in MODULES]
        return cls(folder / "vmlinuz", folder / "busybox", tuple(path for path in modules if path.exists()))


def guest_parts(folder: Path | None) -> GuestParts:
    """The parts in `folder`, or those of the cache, which is filled once with packages of this machine's release.

    Raises NotMeasured when they are not there and cannot be had.
    """
    if folder is not None:
        return GuestParts.of(folder)
    parts = CACHE / "parts"
    if not (parts / "vmlinuz").exists():
        missing = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]
        if missing:
            raise NotMeasured(f"no {' or '.join(missing)} here to get a kernel with; needed {HOW}")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            _fetch(Path(name), parts)
    return GuestParts.of(parts)


def _fetch(work: Path, parts: Path) -> None:
    depends = _run("apt-cache", "depends", KERNEL_PACKAGE, cwd=work)
    kernel = re.search(r"Depends: (linux-image-\S+)", depends)
    if kernel is None:
        raise NotMeasured(f"apt knows no {KERNEL_PACKAGE} (try apt-get update); needed {HOW}")
    _run("apt-get", "download", kernel[1], BUSYBOX_PACKAGE, cwd=work)
    tree, made = work / "tree", work / "parts"
    for package in work.glob("*.deb"):
        _run("dpkg-deb", "--extract", str(package), str(tree), cwd=work)
    (made / "modules").mkdir(parents=True)
    shutil.copy(next(tree.glob("boot/vmlinuz-*")), made / "vmlinuz")
    shutil.copy(next(path for path in (tree / "bin/busybox", tree / "usr/bin/busybox") if path.exists()), made)
    for path in tree.rglob("*.ko*"):
        name = path.name.split(".")[0].replace("-", "_")
        if name in MODULES:
            data = path.read_bytes()
            (made / "modules" / f"{name}.ko").write_bytes(lzma.decompress(data) if path.suffix == ".xz" else data)
    made.rename(parts)


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise NotMeasured(f"{' '.join(command)} failed: {done.stdout.strip()[-300:]}; needed {HOW}")
    return done.stdout
