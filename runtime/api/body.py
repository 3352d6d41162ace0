"""Request bodies, bounded one by one and all together."""

from starlette.requests import ClientDisconnect, Request

from runtime.api.errors import ApiError


class BodyBudget:
    """Bytes of request bodies held at once. Event-loop thread only.

    A body counts by its declared length before any of it is read, or as it arrives where none is declared.
    """

    def __init__(self, *, max_body_bytes: int, total_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.total_bytes = total_bytes
        self.held_bytes = 0

    async def read(self, request: Request) -> "HeldBody":
        """The whole body; `release` it (or leave its `with`) when the request is answered.

        Raises ApiError 413 for a body over the limit, 503 when the budget is spent, 400 for a broken body.
        """
        held = HeldBody(self)
        try:
            declared = request.headers.get("content-length")
            if declared is not None:
                if not declared.isdigit():
                    raise ApiError(400, "bad_request", "Content-Length is not a number")
                held.grow_to(int(declared))
            chunks: list[bytes] = []
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                if size > held.bytes:
                    held.grow_to(size)
                chunks.append(chunk)
            held.content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except ClientDisconnect:
            held.release()
            raise ApiError(400, "client_disconnected", "the client left before the body was complete") from None
        except BaseException:
            held.release()
            raise
        return held


class HeldBody:
    """A body and its share of the budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.bytes = 0
        self.content = b""

    def grow_to(self, size: int) -> None:
        budget = self._budget
        if size > budget.max_body_bytes:
            raise ApiError(
                413, "body_too_large", f"the body has {size} bytes or more, the limit is {budget.max_body_bytes}"
            )
        if budget.held_bytes + size - self.bytes > budget.total_bytes:
            raise ApiError(
                503,
                "overloaded",
                f"request bodies in flight reach {budget.total_bytes} bytes; try again",
                retry_after_s=1,
            )
        budget.held_bytes += size - self.bytes
        self.bytes = size

    def release(self) -> None:
        self._budget.held_bytes -= self.bytes
        self.bytes = 0
        self.content = b""
