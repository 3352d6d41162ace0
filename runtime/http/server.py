"""An application behind uvicorn, and what the terminal shows."""

import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

import uvicorn
import uvloop
from starlette.types import ASGIApp

from runtime.http.connections import Connections
from runtime.http.listener import ListenError, listen
from runtime.http.protocol import HttpProtocol
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
    """`connections`: those that it will be served on, with their limits."""

    app: ASGIApp
    connections: Connections


def serve(create_app: Callable[[], Awaitable[Application]], options: Options) -> None:
    """Serve until SIGINT or SIGTERM, then exit with 0: see docs/durability.md for what that waits for.

    The application is made once the address is bound, in the event loop that then serves it. Raises StartError when the
    address cannot be bound, and whatever `create_app` raises.
    """
    # uvicorn listens for these while it serves, and raises the one that stopped it once more when it has shut down.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _exit)
    try:
        listeners = listen(options.host, options.port)
    except ListenError as error:
        raise StartError(str(error)) from error
    _check_reach(listeners, options)
    uvloop.run(_serve(create_app, options, listeners))


async def _serve(
    create_app: Callable[[], Awaitable[Application]], options: Options, listeners: list[socket.socket]
) -> None:
    app, connections = await create_app()
    give_back_freed()
    gc.freeze()  # what was loaded stays, and no collection has to walk through it
    gc.enable()
    config = uvicorn.Config(
        app,
        http=partial(HttpProtocol, connections=connections),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # an address that the client may write itself is no address
        timeout_graceful_shutdown=options.shutdown_s,
    )
    host, port = listeners[0].getsockname()[:2]
    _announce(f"http://{f'[{host}]' if ':' in host else host}:{port}", text=options.text)
    await uvicorn.Server(config).serve(sockets=listeners)


def _exit(*_: object) -> None:
    raise SystemExit(0)


def _check_reach(listeners: Sequence[socket.socket], options: Options) -> None:
    """Nothing has been accepted yet. Raises StartError where others could reach a server that asks for no key."""
    addresses = [listener.getsockname()[0] for listener in listeners]
    reachable = [address for address in addresses if not ip_address(address).is_loopback]
    if options.open_to_all or not reachable:
        return
    for listener in listeners:
        listener.close()
    raise StartError(
        f"{reachable[0]} can be reached from outside and there are no API keys. `vows-edge key` makes one for "
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
