"""One virtual machine: its disks, its emulator, its readings."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.http_client import HOST, Connection, build_request
from bench.process_memory import MiB
from bench.server import ServerError, end, free_port
from bench.suite import NotMeasured
from bench.vm.initramfs import initramfs
from bench.vm.parts import CACHE, GuestParts
from bench.vm.readings import GuestLog, parse_log
from bench.vm.root import Service

QEMU = "qemu-system-x86_64"
VOLUME_MIB = 64
_POLL_S = 0.5
_TAIL_LINES = 25
# Without a timer to calibrate by, the kernel takes the emulated clock as it is.
KERNEL_OPTIONS = "console=ttyS0 loglevel=4 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable no_timer_check"


@dataclass(frozen=True)
class Hardware:
    """Memory of the machine in MiB, and its one CPU, by the name the emulator has for it.

    cpu: "max" is all that software emulation offers (up to AVX2, so no VNNI).
    """

    memory_mib: int = 256
    cpu: str = "max"

    def options(self) -> list[str]:
        """The emulator's options for it: emulated in software, so that it is the same machine everywhere."""
        cpu = "max,la57=off" if self.cpu == "max" else self.cpu  # 5-level page tables cost a level and gain nothing
        return ["-machine", "pc", "-accel", "tcg", "-cpu", cpu, "-smp", "1", "-m", str(self.memory_mib)]


@dataclass(frozen=True)
class Guest:
    """A machine that is on. `port` is the service's, on this machine's loopback address."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def connect(self, timeout_s: float = 3600.0) -> Connection:
        """A new keep-alive connection to the service."""
        return Connection(self.port, timeout_s)

    def log(self) -> GuestLog:
        """All readings so far."""
        return parse_log((self.folder / "readings").read_text(encoding="ascii", errors="replace"))

    def until_ready(self, limit_s: float) -> float:
        """Seconds of this machine until `/readyz` answered 200. Raises ServerError when it does not in time."""
        start = time.monotonic()
        while time.monotonic() - start < limit_s:
            if self.process.poll() is not None or self.log().ended is not None:
                break
            try:
                with self.connect(timeout_s=20) as connection:
                    if connection.send(build_request("GET", "/readyz"))[0] == 200:
                        return time.monotonic() - start
            except (OSError, ValueError):  # the emulator accepts before anybody listens in the guest
                pass
            time.sleep(_POLL_S)
        raise ServerError(f"not ready within {limit_s:g} s; {self.exit_report()}")

    def exit_report(self) -> str:
        """How the service and the emulator ended, with the end of what they wrote."""
        ended, code = self.log().ended, self.process.poll()
        how = "still runs" if ended is None else f"ended with {ended}"
        machine = "" if code is None else f", the emulator with {code}"
        written = [(self.folder / name).read_text(errors="replace") for name in ("emulator", "console")]
        lines = [line for line in "\n".join(written).replace("\r", "").split("\n") if line.strip()]
        return f"the service {how}{machine}:\n  " + "\n  ".join(lines[-_TAIL_LINES:])


@contextmanager
def booted(root: Path, service: Service, parts: GuestParts, hardware: Hardware) -> Iterator[Guest]:
    """A machine that boots `root` (read-only, unchanged) with an empty volume; switched off afterwards.

    Raises NotMeasured when a program that this needs is not installed.
    """
    require_programs()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="guest-") as name:
        folder, port = Path(name), free_port()
        make_disk(folder / "root.img", _disk_mib(root), root)
        make_disk(folder / "volume.img", VOLUME_MIB)
        (folder / "initramfs").write_bytes(initramfs(parts, service))
        for log in ("console", "readings"):
            (folder / log).touch()
        with (folder / "emulator").open("wb") as out:
            command = _command(folder, parts, hardware, port, service.port)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield Guest(process, port, folder)
        finally:
            end(process)


def require_programs() -> None:
    """Raises NotMeasured, naming the package, when the emulator or the maker of file systems is missing."""
    for program, package in ((QEMU, "qemu-system-x86"), ("mke2fs", "e2fsprogs")):
        if _program(program) is None:
            raise NotMeasured(f"{program} is not installed; on Debian or Ubuntu: apt-get install {package}")


def make_disk(image: Path, size_mib: int, content: Path | None = None) -> None:
    """An ext4 disk image, filled with the files under `content` with their owners. Raises NotMeasured if it fails."""
    command = [_program("mke2fs") or "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0"]
    if content is not None:
        command += ["-d", str(content)]
    done = subprocess.run([*command, str(image), f"{size_mib}M"], capture_output=True, text=True)
    if done.returncode:
        raise NotMeasured(f"mke2fs cannot make a disk of {content or 'nothing'}: {done.stderr.strip()[-300:]}")


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _disk_mib(root: Path) -> int:
    """Room for the files in blocks of 4 KiB, an eighth more for the file system's own, and 64 MiB."""
    files = [path for path in root.rglob("*") if not path.is_symlink() and path.is_file()]
    blocks = sum(-(-path.stat().st_size // 4096) for path in files)
    return blocks * 4096 * 9 // 8 // MiB + 64


def _command(folder: Path, parts: GuestParts, hardware: Hardware, port: int, guest_port: int) -> list[str]:
    """The emulator's command line: no display, no devices but two disks, two serial lines and a network of one port."""
    forward = f"user,id=net,ipv6=off,restrict=on,hostfwd=tcp:{HOST}:{port}-10.0.2.15:{guest_port}"
    command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *hardware.options()]
    command += ["-kernel", str(parts.kernel), "-initrd", str(folder / "initramfs"), "-append", KERNEL_OPTIONS]
    command += ["-serial", f"file:{folder / 'console'}", "-serial", f"file:{folder / 'readings'}"]
    for disk, options in (("root", ",readonly=on"), ("volume", ",cache=unsafe")):
        command += ["-drive", f"if=none,id={disk},format=raw,file={folder / disk}.img{options}"]
        command += ["-device", f"virtio-blk-pci,drive={disk}"]
    return [*command, "-netdev", forward, "-device", "virtio-net-pci,netdev=net,romfile="]
