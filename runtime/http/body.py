"""Request bodies and large answers, bounded one by one and all together."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from runtime.http.errors import ApiError

# A request that holds more than this is large. Large ones leave an eighth of the budget to the others.
SMALL_BYTES = 64 * 1024
ROOM_WAIT_S = 2.0  # for others to end, before a request is refused
_LOOK_EVERY_S = 0.1
_MAX_WAITING = 16  # requests; each takes a place among those that are served


class BodyBudget:
    """Bytes that requests in flight may hold together. Event-loop thread only.

    `make_room` closes the connection of a client that is late with its body or with reading its answer, if there is
    one, and returns whether it did.
    """

    def __init__(self, *, max_body_bytes: int, total_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.total_bytes = total_bytes
        self.held_bytes = 0
        self.make_room: Callable[[], bool] = lambda: False
        self.large_bytes = total_bytes - min(total_bytes // 8, total_bytes - max_body_bytes)
        self.waiting = 0  # requests, for room
        self.growing = False  # a request that holds bytes waits for more
        self._released: asyncio.Future[None] | None = None

    def released(self, size: int) -> None:
        """Count `size` bytes as free again and wake those that wait for room."""
        self.held_bytes -= size
        if self._released is not None and size:
            self._released.set_result(None)
            self._released = None

    async def release_or_pause(self) -> None:
        """Wait until something is given back, for a moment at most."""
        if self._released is None:
            self._released = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._released], timeout=_LOOK_EVERY_S)


class HeldBytes:
    """One request's share of the budget, from the first byte of its body until its answer is written."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._bytes = 0

    async def read(self, request: Request) -> bytes:
        """The whole body, counted as it arrives: what is declared and does not come keeps nobody out.

        Raises ApiError: 413 for a body over the limit, 503 when the budget is spent, 400 when the client left.
        """
        for name, value in request.scope["headers"]:
            if name == b"content-length":
                self._check_body(int(value))  # digits only: the HTTP parser checks them
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ApiError(400, "client_disconnected", "the client disconnected before the body was complete")
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            self._check_body(size)
            if size > self._bytes:
                await self.grow_by(size - self._bytes)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def grow_by(self, size: int) -> None:
        """Hold `size` more bytes. Raises ApiError: 413 for more than there can ever be, 503 when the budget is spent
        and stays so for ROOM_WAIT_S."""
        if not self._take(size):
            await self._wait_for(size)

    async def become(self, size: int) -> None:
        """Hold `size` bytes from now on. Raises as `grow_by`."""
        if size > self._bytes:
            await self.grow_by(size - self._bytes)
        else:
            self._give_back(self._bytes - size)

    def release(self) -> None:
        """Give everything back; it may be called again."""
        self._give_back(self._bytes)

    def _give_back(self, size: int) -> None:
        self._bytes -= size
        self._budget.released(size)

    def _take(self, size: int) -> bool:
        budget, needed = self._budget, self._bytes + size
        limit = budget.large_bytes if SMALL_BYTES < needed <= budget.large_bytes else budget.total_bytes
        if budget.held_bytes + size > limit:
            return False
        budget.held_bytes += size
        self._bytes += size
        return True

    async def _wait_for(self, size: int) -> None:
        budget, needed = self._budget, self._bytes + size
        if needed > budget.total_bytes:
            parts = -(-needed // budget.total_bytes)
            raise ApiError(
                413,
                "too_large",
                f"the request and its response need {needed} bytes, the limit is {budget.total_bytes}: send it in "
                f"{parts} parts or more, or raise VOWS_BODY_BUDGET_BYTES",
            )
        # Of several that wait for more with something in hand, each waits for what the others hold: one waits longest.
        first = self._bytes > 0 and not budget.growing
        budget.growing = budget.growing or first
        budget.waiting += 1
        try:
            within_s = ROOM_WAIT_S if first or not self._bytes else ROOM_WAIT_S / 2
            if budget.waiting <= _MAX_WAITING and await self._got(size, within_s):
                return
        finally:
            budget.waiting -= 1
            if first:
                budget.growing = False
        raise ApiError(
            503,
            "overloaded",
            f"requests in flight hold {budget.held_bytes} bytes and {size} more do not fit (limit "
            f"{budget.total_bytes}); try again",
            retry_after_s=1,
            reason="bodies_full",
        )

    async def _got(self, size: int, within_s: float) -> bool:
        """Wait for room. False where there is none in time."""
        budget, loop = self._budget, asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while loop.time() < deadline:
            budget.make_room()
            await budget.release_or_pause()
            if self._take(size):
                return True
        return False

    def _check_body(self, size: int) -> None:
        if size > self._budget.max_body_bytes:
            limit = self._budget.max_body_bytes
            raise ApiError(413, "body_too_large", f"the body has {size} bytes or more, the limit is {limit}")
