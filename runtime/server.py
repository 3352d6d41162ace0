"""The application behind uvicorn, and what the terminal shows."""

import logging
import signal
import socket

import uvicorn

from runtime.allocator import give_back_freed
from runtime.app import create_app
from runtime.catalog import CatalogFull
from runtime.http_protocol import BoundedHttpProtocol
from runtime.memory_budget import MemoryBudgetError
from runtime.models.bundle import BundleError
from runtime.settings import Settings
from runtime.store import StoreError

log = logging.getLogger("vows")


IDLE_CONNECTIONS = 64  # kept open beside those that are served


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises StartError when a part cannot be built or the address not be bound."""
    try:
        listener = _listen(settings.host, settings.port)
        app = create_app(settings)
    except (BundleError, CatalogFull, MemoryBudgetError, StoreError, OSError) as error:
        raise StartError(str(error)) from error
    give_back_freed()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Of connections; requests beyond max_requests are refused by the application.
        limit_concurrency=settings.max_requests + IDLE_CONNECTIONS,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _announce(url)
    # uvicorn raises the signal that stopped it once more when it has shut down; taken here, the exit status is 0.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])


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


def _announce(url: str) -> None:
    print(
        f"""vows-edge on {url}  (API: {url}/docs). Try:
  curl {url}/embed -H 'Content-Type: application/json' -d '{{"text":"a rustic barn with string lights"}}'
  curl -X PUT {url}/content/barn -H 'Content-Type: application/json' -d '{{"title":"Oak Barn"}}'
  curl {url}/rank -H 'Content-Type: application/json' -d '{{"user_id":"ada","candidates":["barn"]}}'""",
        flush=True,
    )
