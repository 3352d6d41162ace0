"""The sequence model that is served, if there is one, and the switch to another.

The model is a part that may be absent. A bundle that appears, or replaces another, is taken over within seconds: loaded
and tested beside the old one, then put in its place in one assignment. A request keeps the model it started with. Item
vectors are not kept twice: the old ones go, and the new ones are computed as they are needed and in the background.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.catalog.item_vectors import ItemVectors
from runtime.models.sequence_model import History, SequenceModel, UserNow
from runtime.personalization.sequence_features import device_code
from runtime.serving import sequence_items
from runtime.serving.candidates import Candidates
from runtime.serving.kept_users import KeptUser, KeptUsers
from runtime.serving.known_items import KnownItems
from runtime.serving.sequence_bundle import SequenceBundle
from runtime.serving.sequence_history import ReadHistory, model_history
from runtime.serving.sequence_items import Served
from runtime.serving.sequence_thread import SequenceThread
from runtime.serving.turns import TIMEOUT_S
from runtime.store import UserHistory, UserState

log = logging.getLogger("vows")

LOOK_EVERY_S = 2.0  # at the folder, for another bundle
MOST_LACKING = 64  # item vectors that one search computes itself: half a millisecond
ITEMS_LOOKED_AT_ONCE = 256  # for whether the model knows them: less than a millisecond
# In the background: half a millisecond, which a request that comes meanwhile waits for. In steps of 256 such waits were
# much of the 95th percentile of a search (docs/decisions/008).
ITEMS_FILLED_AT_ONCE = 64
_STEPS_A_RELEASE = 16  # of 96 KiB each; rankings map again what they read

Vector = NDArray[np.float32]


class NotInstalled(Exception):
    """There is no sequence model to use; the message says how to get one."""


class SequenceServing:
    """Event-loop thread only. `served` is what answers now, None where there is no bundle."""

    def __init__(
        self,
        folders: Sequence[Path],
        content_model_version: str,
        *,
        copies: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """folders: where the bundle is looked for, first to last. copies: see `Bundle.load`. timeout_s: of one wait for
        the model."""
        self.served: Served | None = None
        self.users: KeptUsers  # from `start` on
        self._bundle = SequenceBundle(folders, content_model_version, copies)
        self._thread = SequenceThread(timeout_s)
        self._looking = asyncio.Lock()
        self._filled = False  # whether all that is kept of the items was computed since the last switch
        self._catalog: Catalog  # from `start` on

    @property
    def problem(self) -> str | None:
        """Why the bundle that is there is not served."""
        return self._bundle.problem

    def load_at_start(self) -> SequenceModel | None:
        """The model of the bundle that is there. One that cannot be served is logged, and everything else works."""
        return self._bundle.load(otherwise="no sequence model is served") if self._bundle.changed() else None

    def start(self, catalog: Catalog, model: SequenceModel | None, kept_bytes: int) -> None:
        """Serve this catalogue, with the model that `load_at_start` found: the room for its items, and for what is kept
        of users, follows from what the models leave."""
        self._catalog = catalog
        self.users = KeptUsers(kept_bytes)
        self.served = None if model is None else self._beside_catalog(model)

    def require(self) -> Served:
        """What is served. Raises NotInstalled."""
        if self.served is None:
            why = f"the bundle cannot be served: {self.problem}" if self.problem else "no sequence model is installed"
            raise NotInstalled(
                f"{why}; make one with `vows-edge export sequence`, and serve it with `vows-edge models install`"
            )
        return self.served

    def turn(self) -> AbstractAsyncContextManager[None]:
        """See `SequenceThread.turn`."""
        return self._thread.turn()

    @property
    def item_vectors(self) -> int:
        """Items of the catalogue that have their vector."""
        return 0 if self.served is None else sequence_items.count(self._catalog, self.served)

    @property
    def known_items(self) -> int:
        """Items of the catalogue that the model was trained on."""
        return 0 if self.served is None else self.served.known.count()

    async def history(self, served: Served, stored: UserHistory) -> ReadHistory:
        """The events of a stored history whose content is in the catalogue, with their vectors. Raises QueueFull or
        DeadlineExceeded."""
        return await model_history(self._thread, self._catalog, served, stored)

    async def user(
        self, served: Served, history: History, *, now_us: int, device: str | None, preferred: Vector | None
    ) -> UserNow:
        """The user now, on a device or else the last one. `preferred`: the vector of their onboarding preferences.

        Raises QueueFull or DeadlineExceeded.
        """
        code = device_code(device) if device is not None else int(history.device[-1]) if len(history) else 0
        return await self._thread.run(served.model.user, history, now_us, code, preferred)

    def kept(self, user_id: str, state: UserState | None) -> KeptUser | None:
        """What is known of the history of a user who is in this state, if it was read before."""
        return None if self.served is None else self.users.get(user_id, state, self.served, self._catalog)

    def read_out(self, kept: KeptUser, *, now_us: int, device: str | None, preferred: Vector | None) -> Vector:
        """The vector that `user` gives, of a history that is kept: too quick to wait for the thread."""
        code = kept.encoded.device if device is None else device_code(device)
        return kept.served.model.read_out(kept.encoded, now_us, code, preferred)

    async def scores(self, served: Served, user: Vector, candidates: Candidates) -> Vector:
        """Cosine of a user's vector [128] and each known candidate's, float32 [k]. It waits for a turn where not all
        candidates have their vector. Raises QueueFull or DeadlineExceeded."""
        return await sequence_items.scores(self._thread, self._catalog, served, user, candidates)

    def covers_catalogue(self) -> bool:
        """Whether every item of the catalogue has its vector, but for a few."""
        return self.served is not None and sequence_items.lacking(self._catalog, self.served) <= MOST_LACKING

    @property
    def catalogue_lacks(self) -> str | None:
        """Why the whole catalogue cannot be ranked by the model; None where it can."""
        if self.served is None or self.covers_catalogue():
            return None
        room, rows = self.served.items.capacity, self._catalog.rows
        if room < rows:
            return f"vectors of {room:,} items are kept, the catalogue has {rows:,}"
        return "the vectors of new items are being computed"

    async def actions(self, served: Served, user: UserNow, ids: Sequence[str], metadata: Vector) -> Vector:
        """Probabilities float32 [k, 4] of skip, view, save, share for items with these ids and content vectors
        [k, 384]. Raises QueueFull."""
        learned = served.model.learned(ids, metadata)
        return await self._thread.run(served.model.actions, user, learned)

    async def fill(self, ids: Sequence[str]) -> None:
        """Compute the vectors that these items lack. What cannot be computed now is computed when it is ranked."""
        if self.served is not None:
            self.served.known.look_at(ids)
            await sequence_items.fill(self._thread, self._catalog, self.served, ids)

    async def watch(self) -> None:
        """Until cancelled: complete what is known of items, and take over another bundle when one appears. Survives
        every bundle, and says what it refused."""
        while True:
            try:
                if not self._filled:
                    self._filled = True
                    await self._fill_all()
                await asyncio.sleep(LOOK_EVERY_S)
                self.users.drop_idle(time.monotonic())
                await self.take_over()
            except Exception:
                log.exception("this is a bug: looking for another sequence bundle goes on")
                await asyncio.sleep(LOOK_EVERY_S)

    async def take_over(self) -> None:
        """Serve the bundle that is there, if it is another one than before and can be served: see `problem`."""
        async with self._looking:
            if self._bundle.changed() and await self._switch():
                self._filled = False

    def close(self) -> None:
        """End its thread."""
        self._thread.close()

    async def _fill_all(self) -> None:
        """Count the known items, and compute as many vectors as are kept."""
        if (served := self.served) is not None:
            started = time.monotonic()
            for ids in self._catalog.pages(ITEMS_LOOKED_AT_ONCE):
                served.known.look_at(ids)
                await _rest_after(started)
                started = time.monotonic()
            served.known.complete = True
        left = 0 if self.served is None else self.served.items.capacity
        for step, ids in enumerate(self._catalog.pages(ITEMS_FILLED_AT_ONCE), 1):
            if left <= 0 or self.served is None:
                break
            started = time.monotonic()
            await sequence_items.fill(self._thread, self._catalog, self.served, ids)
            if step % _STEPS_A_RELEASE == 0:
                self._catalog.release()
            await _rest_after(started)
            left -= ITEMS_FILLED_AT_ONCE
        self._catalog.release()

    async def _switch(self) -> bool:
        """Serve the bundle that is there now; False where it cannot be served."""
        kept = "the bundle before it is still served" if self.served else "no sequence model is served"
        # Requests wait, so that loading and answering need not fit into the memory together.
        async with self._thread.turns:
            # Not in the model's own thread, which computes the vectors of new content meanwhile.
            if (model := await asyncio.to_thread(self._bundle.load, otherwise=kept)) is None:
                return False
            if self.served is not None and self.served.model.bundle.digest == model.bundle.digest:
                return False  # the same once more: its item vectors stay
            before, self.served = self.served, self._beside_catalog(model)
            self.users.clear()
            if before is not None:
                before.items.release()  # both do not fit; the new ones take two milliseconds for 256 items
        log.info("%s of bundle %s is served", model.model_version, model.bundle.digest[:12])
        return True

    def _beside_catalog(self, model: SequenceModel) -> Served:
        return Served(
            model, ItemVectors(self._catalog.kept_item_vectors, model.dimensions), KnownItems(model, self._catalog)
        )


async def _rest_after(started: float) -> None:
    """Leave others nine times as long as a step of background work took: a search of a million items has 120 steps, and
    with one of these after each of its own it took ten times as long; with as much time as that half as long again."""
    await asyncio.sleep(9 * (time.monotonic() - started))
