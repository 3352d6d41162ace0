"""An application behind uvicorn, and what the terminal shows."""

import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

import uvicorn
import uvloop
from starlette.types import ASGIApp

from runtime.http.protocol import BoundedHttpProtocol
from runtime.system.allocator import give_back_freed

log = logging.getLogger("vows")


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to listen and how to stop.

    open_to_all: serve a port that others can reach although there are no keys. text: announce the address for a
    terminal. shutdown_s: time that requests in flight get after SIGTERM.
    """

    host: str
    port: int
    open_to_all: bool
    text: bool
    shutdown_s: int


class Application(NamedTuple):
    """`max_connections`: beyond it: 503. What is beyond the requests that it takes at once, it refuses itself."""

    app: ASGIApp
    max_connections: int


def serve(create_app: Callable[[], Awaitable[Application]], options: Options) -> None:
    """Serve until SIGINT or SIGTERM, then exit with 0: see docs/durability.md for what that waits for.

    The application is made once the address is bound, in the event loop that then serves it. Raises StartError when the
    address cannot be bound, and whatever `create_app` raises.
    """
    # uvicorn listens for these while it serves, and raises the one that stopped it once more when it has shut down.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _exit)
    listener = _listen(options.host, options.port)
    _check_reach(listener, options)
    uvloop.run(_serve(create_app, options, listener))


async def _serve(create_app: Callable[[], Awaitable[Application]], options: Options, listener: socket.socket) -> None:
    app, max_connections = await create_app()
    give_back_freed()
    gc.freeze()  # what was loaded stays, and no collection has to walk through it
    gc.enable()
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # an address that the client may write itself is no address
        limit_concurrency=max_connections,
        timeout_graceful_shutdown=options.shutdown_s,
    )
    host, port = listener.getsockname()[:2]
    _announce(f"http://{f'[{host}]' if ':' in host else host}:{port}", text=options.text)
    await uvicorn.Server(config).serve(sockets=[listener])


def _exit(*_: object) -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}; set VOWS_PORT to another port") from error
    return listener


def _check_reach(listener: socket.socket, options: Options) -> None:
    """Nothing has been accepted yet. Raises StartError where others could reach a server that asks for no key."""
    address = listener.getsockname()[0]
    if options.open_to_all or ip_address(address).is_loopback:
        return
    listener.close()
    raise StartError(
        f"{address} can be reached from outside and there are no API keys. `vows-edge key` makes one for "
        "VOWS_API_KEYS; or listen on VOWS_HOST=127.0.0.1; or, if anyone who reaches this port may read and write "
        "everything, set VOWS_AUTH=disabled"
    )


def _announce(url: str, *, text: bool) -> None:
    """Where the server is: a line in the log, or for a terminal commands that can be copied."""
    if not text:
        log.info("vows-edge on %s", url)
        return
    print(
        f"""vows-edge on {url}  (API: {url}/docs). Try:
  curl {url}/embed -H 'Content-Type: application/json' -d '{{"text":"a rustic barn with string lights"}}'
  curl -X PUT {url}/content/barn -H 'Content-Type: application/json' -d '{{"title":"Oak Barn"}}'
  curl {url}/rank -H 'Content-Type: application/json' -d '{{"user_id":"ada","candidates":["barn"]}}'""",
        flush=True,
    )
