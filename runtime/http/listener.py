"""Listening sockets: names resolved, and what every connection inherits from them."""

import contextlib
import errno
import socket

# A client whose machine went down sends nothing: the kernel probes it, and gives up after a minute and a half.
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_PROBES = 60, 10, 3
# What the kernel may hold of one connection in each direction; it would take megabytes from, and for, a slow client.
# At 50 ms to the client this carries more than a megabyte a second.
SOCKET_BUFFER_BYTES = 64 * 1024

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # such as ::1 of "localhost" where IPv6 is off


class ListenError(Exception):
    """The address cannot be listened on; the message says why and what to do."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Bound sockets, one for each address that the host has, on one port, IPv4 first. Nothing is accepted yet.

    Raises ListenError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(
            f"VOWS_HOST={host} cannot be resolved: {getattr(error, 'strerror', None) or error}. Set it to a name or an "
            "address of this machine: 127.0.0.1 for this machine alone, 0.0.0.0 or :: for every interface"
        ) from error
    with contextlib.ExitStack() as opened:
        listeners: list[socket.socket] = []
        failure: OSError | None = None
        for family, address in sorted({(family, address) for family, *_, address in found}):
            try:
                listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _configure(listener)
                listener.bind((address[0], port, *address[2:]))
            except OSError as error:
                failure = failure or error
                if error.errno not in _NO_SUCH_ADDRESS:
                    break
            else:
                listeners.append(listener)
                port = listener.getsockname()[1]  # where it was 0, the others take what the first got
        if failure is not None and (not listeners or failure.errno not in _NO_SUCH_ADDRESS):
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise ListenError(f"cannot listen on {where}: {failure.strerror}; {_advice(failure)}") from failure
        opened.pop_all()
        return listeners


def _configure(listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def _advice(error: OSError) -> str:
    if error.errno in _NO_SUCH_ADDRESS:
        return "set VOWS_HOST to an address of this machine, to 127.0.0.1, or to 0.0.0.0 or :: for all of its addresses"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need a privilege: set VOWS_PORT to 1024 or more"
    return "set VOWS_PORT to another port"
