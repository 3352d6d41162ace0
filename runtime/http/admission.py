"""How many requests are served at once."""

from collections.abc import Set

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.http.errors import ApiError


class Admission:
    """ASGI middleware: beyond `max_requests` that are served, 503 with Retry-After before anything is read.

    A request is not being served while it waits for its client: for a part of its body, or for the client to read a
    part of the answer. Clients that make it wait take no place from others; the limit of connections bounds them.
    Requests for `exempt` paths always go through.
    """

    def __init__(self, app: ASGIApp, max_requests: int, exempt: Set[str] = frozenset()) -> None:
        self._app = app
        self._max_requests = max_requests
        self._exempt = exempt
        self._served = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") in self._exempt:
            await self._app(scope, receive, send)
            return
        if self._served >= self._max_requests:
            refusal = ApiError(
                503,
                "overloaded",
                f"{self._served} requests are being served, the limit; try again",
                retry_after_s=1,
                reason="requests_full",
            )
            await refusal.response()(scope, receive, send)
            return

        waits = 0  # a stream listens for its client while it sends

        def aside(step: int) -> None:
            nonlocal waits
            self._served += waits > 0
            waits += step
            self._served -= waits > 0

        async def receive_aside() -> Message:
            aside(+1)
            try:
                return await receive()
            finally:
                aside(-1)

        async def send_aside(message: Message) -> None:
            aside(+1)
            try:
                await send(message)
            finally:
                aside(-1)

        self._served += 1
        try:
            await self._app(scope, receive_aside, send_aside)
        finally:
            self._served -= 1
