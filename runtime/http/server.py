"""The application behind uvicorn, and what the terminal shows."""

import gc
import logging
import signal
import socket
from ipaddress import ip_address

import uvicorn

from runtime.app import create_app
from runtime.catalog.catalog import CatalogFull
from runtime.http.protocol import BoundedHttpProtocol
from runtime.models.bundle import BundleError
from runtime.settings import Settings
from runtime.store import StoreError
from runtime.system.allocator import give_back_freed
from runtime.system.logs import is_text
from runtime.system.memory_budget import MemoryBudgetError

log = logging.getLogger("vows")


IDLE_CONNECTIONS = 64  # kept open beside those that are served


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then exit with 0: see docs/durability.md for what that waits for.

    Raises StartError when a part cannot be built or the address not be bound.
    """
    # uvicorn listens for these while it serves, and raises the one that stopped it once more when it has shut down.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _exit)
    try:
        listener = _listen(settings.host, settings.port)
        _check_reach(listener, settings)
        app = create_app(settings)
    except (BundleError, CatalogFull, MemoryBudgetError, StoreError, OSError) as error:
        raise StartError(str(error)) from error
    give_back_freed()
    gc.freeze()  # what was loaded stays, and no collection has to walk through it
    gc.enable()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # an address that the client may write itself is no address
        # Of connections; requests beyond max_requests are refused by the application.
        limit_concurrency=app.state.settings.max_requests + IDLE_CONNECTIONS,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _announce(url, text=is_text(settings.log_format))
    uvicorn.Server(config).run(sockets=[listener])


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


def _check_reach(listener: socket.socket, settings: Settings) -> None:
    """Nothing has been accepted yet. Raises StartError where others could reach a server that asks for no key."""
    address = listener.getsockname()[0]
    if settings.api_keys or settings.auth == "disabled" or ip_address(address).is_loopback:
        return
    listener.close()
    raise StartError(
        f"{address} can be reached from outside and there are no API keys. `python -m runtime key` makes one for "
        "VOWS_API_KEYS; or listen on VOWS_HOST=127.0.0.1; or, if whoever reaches this port may read and write "
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
