"""HTTP on a bare socket, for what no client library would send."""

import socket

from tests.conftest import Server
from tests.waiting import WAIT_S


def connect(server: Server, *, receive_buffer: int | None = None) -> socket.socket:
    """A connection to the server. `receive_buffer`: bytes that the kernel takes for a client that does not read."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(WAIT_S)
    connection.connect((host, int(port)))
    return connection


def request(method: str, path: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """A request as bytes. `length`: the content-length it declares where that is not the body's."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body or length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(connection: socket.socket) -> tuple[int, bytes, bytes]:
    """Status, head and body of the next answer, which has a content-length. (0, …) where the connection ended."""
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            received += more(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += more(connection)
    except ConnectionError:
        return 0, received, b""
    assert len(body) == length, "two answers at once: read them with answers()"
    return int(head.split(b" ")[1]), head, body


def answers(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionError:
        pass
    return received


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed by now, or does within the connection's timeout. Reads what still comes."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def more(connection: socket.socket, *, most: int = 65_536) -> bytes:
    """The next bytes. Raises ConnectionError where the server has closed."""
    chunk = connection.recv(most)
    if not chunk:
        raise ConnectionError
    return chunk
