"""Request bodies and large answers, bounded one by one and all together."""

from starlette.requests import ClientDisconnect, Request

from runtime.http.errors import ApiError


class BodyBudget:
    """Bytes that requests in flight may hold together. Event-loop thread only."""

    def __init__(self, *, max_body_bytes: int, total_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.total_bytes = total_bytes
        self.held_bytes = 0


class HeldBytes:
    """One request's share of the budget, from the first byte of its body to the last of its answer."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._bytes = 0

    async def read(self, request: Request) -> bytes:
        """The whole body, counted by its declared length before any of it is read, or as it arrives without one.

        Raises ApiError: 413 for a body over the limit, 503 when the budget is spent, 400 when the client left.
        """
        declared = int(request.headers.get("content-length", "0"))  # digits only: the HTTP parser checks them
        self._reserve_body(declared)
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > declared:
                    self._reserve_body(size)
                chunks.append(chunk)
        except ClientDisconnect:
            raise ApiError(400, "client_disconnected", "the client left before the body was complete") from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def grow_by(self, size: int) -> None:
        """Hold `size` more bytes. Raises ApiError 503 when the budget is spent."""
        budget = self._budget
        if budget.held_bytes + size > budget.total_bytes:
            raise ApiError(
                503,
                "overloaded",
                f"requests in flight hold {budget.held_bytes} bytes and {size} more do not fit (limit "
                f"{budget.total_bytes}); try again",
                retry_after_s=1,
                reason="bodies_full",
            )
        budget.held_bytes += size
        self._bytes += size

    def release(self) -> None:
        self._budget.held_bytes -= self._bytes
        self._bytes = 0

    def _reserve_body(self, size: int) -> None:
        if size > self._budget.max_body_bytes:
            limit = self._budget.max_body_bytes
            raise ApiError(413, "body_too_large", f"the body has {size} bytes or more, the limit is {limit}")
        if size > self._bytes:
            self.grow_by(size - self._bytes)
