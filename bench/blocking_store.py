"""A store for programs without an event loop: benches, fault programs and tests."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from inspect import isasyncgen, iscoroutine
from typing import Any, TypeVar

from runtime.store import Store

T = TypeVar("T")


class BlockingStore:
    """The methods of a store, each run to its end on an event loop; an iterator becomes a list.

    `store` is the store itself, whose other attributes are here too. runner: the loop that the store's connections
    belong to, which `close` ends; without one every call has a loop of its own.
    """

    def __init__(self, store: Store, runner: asyncio.Runner | None = None) -> None:
        self.store = store
        self._runner = runner

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """What a coroutine that uses `store` returns."""
        return asyncio.run(call) if self._runner is None else self._runner.run(call)

    def close(self) -> None:
        """Close the store, and the event loop that ran it."""
        self.run(self.store.close())

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.store, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            result = member(*arguments, **options)
            if isasyncgen(result):
                return self.run(_listed(result))
            return self.run(result) if iscoroutine(result) else result

        return call


async def _listed(values: AsyncIterator[T]) -> list[T]:
    return [value async for value in values]
