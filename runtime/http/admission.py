"""How many requests are served at once."""

from collections.abc import Set

from starlette.types import Scope

from runtime.http.errors import ApiError


class Admission:
    """Beyond `max_requests` that are served, 503 with Retry-After before anything is read.

    A request is not being served while it waits for its client: for a part of its body, or for the client to read a
    part of the answer (see `Front`). Clients that make it wait take no place from others; the limit of connections
    bounds them. Requests for `exempt` paths always go through, and are not counted.
    """

    def __init__(self, max_requests: int, exempt: Set[str] = frozenset()) -> None:
        self.served = 0
        self._max_requests = max_requests
        self._exempt = exempt

    def counts(self, scope: Scope) -> bool:
        """Whether a request takes a place."""
        return scope["path"].rstrip("/") not in self._exempt

    def refusal(self) -> ApiError | None:
        """What one more request is answered; None where there is a place."""
        if self.served < self._max_requests:
            return None
        return ApiError(
            503,
            "overloaded",
            f"{self.served} requests are being served, the limit; try again",
            retry_after_s=1,
            reason="requests_full",
        )
