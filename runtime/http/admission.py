"""How many requests are served at once."""

from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.http.errors import ApiError

IDLE_CONNECTIONS = 64  # kept open beside those that are served


class Admission:
    """ASGI middleware: beyond `max_requests` in flight, 503 with Retry-After before anything is read."""

    def __init__(self, app: ASGIApp, max_requests: int) -> None:
        self._app = app
        self._max_requests = max_requests
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._max_requests:
            refusal = ApiError(
                503,
                "overloaded",
                f"{self._in_flight} requests are being served, the limit; try again",
                retry_after_s=1,
                reason="requests_full",
            )
            await refusal.response()(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1
