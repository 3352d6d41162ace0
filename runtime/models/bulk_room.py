"""How much bulk work is taken on at once: the rest waits in line, first come, first served."""

import asyncio
from collections import deque


class BulkRoom:
    """Room for bulk work, in tokens. Who finds none waits in line instead of being refused. Event-loop thread only.

    Room is taken before a slice of a batch is tokenised, for as many tokens as it can come to, so that what waits in
    line holds nothing but its place.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.held = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def lined_up(self) -> int:
        """Tokens that wait in line."""
        return sum(tokens for tokens, _ in self._line)

    def take(self, tokens: int) -> "asyncio.Future[None]":
        """Done once `tokens` are held; `give_back` them then. Cancel it to leave the line."""
        if tokens > self.tokens:
            raise ValueError(f"this is a bug: {tokens} tokens never fit in room for {self.tokens}")
        admitted = asyncio.get_running_loop().create_future()
        self._line.append((tokens, admitted))
        self._admit()
        return admitted

    def give_back(self, tokens: int) -> None:
        """Free the room of so many tokens, and admit those who waited for it in order."""
        self.held -= tokens
        self._admit()

    def _admit(self) -> None:
        while self._line:
            tokens, admitted = self._line[0]
            if not admitted.cancelled():
                if self.held + tokens > self.tokens:
                    return
                self.held += tokens
                admitted.set_result(None)
            self._line.popleft()
