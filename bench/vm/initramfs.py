"""The guest's initramfs: a cpio archive of busybox, the modules, the first process and the service's command."""

import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from bench.vm.parts import GuestParts
from bench.vm.root import Service

INIT = Path(__file__).with_name("init.sh")
_FOLDER, _FILE, _PROGRAM, _DEVICE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFREG | 0o755, stat.S_IFCHR
_CONSOLE = (5, 1)  # major and minor number of /dev/console


def initramfs(parts: GuestParts, service: Service) -> bytes:
    """The archive, uncompressed (the kernel reads it so)."""
    order = "\n".join(module.name for module in parts.modules)
    return archive(
        {
            "bin": (_FOLDER, b""),
            "dev": (_FOLDER, b""),
            "modules": (_FOLDER, b""),
            "dev/console": (_DEVICE | 0o600, b""),
            "bin/busybox": (_PROGRAM, parts.busybox.read_bytes()),
            "init": (_PROGRAM, INIT.read_bytes()),
            "modules/order": (_FILE, order.encode()),
            "volume": (_FILE, volume_script(service).encode()),
            "service": (_FILE, service_script(service).encode()),
            **{f"modules/{module.name}": (_FILE, module.read_bytes()) for module in parts.modules},
        }
    )


def archive(entries: Mapping[str, tuple[int, bytes]]) -> bytes:
    """A "newc" cpio archive of path → (mode, content): headers of thirteen 8-digit hexadecimal fields after a magic.

    Format: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.
    """
    out = bytearray()
    for number, (name, (mode, data)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], start=1):
        path = name.encode() + b"\0"
        device = _CONSOLE if stat.S_ISCHR(mode) else (0, 0)
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        for part in (b"070701" + "".join(f"{field:08X}" for field in fields).encode() + path, data):
            out += part + b"\0" * (-len(part) % 4)
    return bytes(out)


def service_script(service: Service) -> str:
    """Shell text that becomes the service: in the image's root, as its user, with its environment and nothing else."""
    environment = [f"{name}={value}" for name, value in service.environment.items()]
    enter = ["/bin/busybox", "nsenter", "-r/root", f"-w/root{service.folder}"]
    enter += ["-S", str(service.uid), "-G", str(service.gid)]
    return "exec " + shlex.join(["/bin/busybox", "env", "-i", *environment, *enter, *service.command]) + "\n"


def volume_script(service: Service) -> str:
    """Shell text that mounts the volume."""
    place = shlex.quote(f"/root{service.volume}")
    return f"mount -t ext4 /dev/vdb {place} && chown {service.uid}:{service.gid} {place}\n"
