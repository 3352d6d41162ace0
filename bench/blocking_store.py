"""A store for programs without an event loop: benches, fault programs and tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from inspect import isasyncgen, iscoroutine
from typing import Any, TypeVar

from runtime.store import Store

T = TypeVar("T")


class BlockingStore:
    """The methods of a store, each run to its end on an event loop of its own; an iterator becomes a list.

    `store` is the store itself, whose other attributes are here too.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.store, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            result = member(*arguments, **options)
            if isasyncgen(result):
                return asyncio.run(_listed(result))
            return asyncio.run(result) if iscoroutine(result) else result

        return call


async def _listed(values: AsyncIterator[T]) -> list[T]:
    return [value async for value in values]
