"""What is stored is looked at again and again, so that damage is reported before somebody relies on it."""

import asyncio
import logging

from runtime.store import Store, StoreClosed, StoreError

log = logging.getLogger("vows")

_EVERY_S = 0.25
_AFTER_ERROR_S = 60.0


async def check_rows(store: Store, rows_per_s: float) -> None:
    """Until cancelled. 0 rows a second: not at all."""
    while rows_per_s:
        await asyncio.sleep(max(_EVERY_S, 1 / rows_per_s))
        try:
            await store.check_some(max(1, round(rows_per_s * _EVERY_S)))
        except StoreClosed:
            return
        except StoreError as error:
            log.error("looking for damage: %s", error)
            await asyncio.sleep(_AFTER_ERROR_S)
