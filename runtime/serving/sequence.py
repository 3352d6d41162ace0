"""The sequence model that is served, if there is one: its item vectors, its thread, and the switch to another.

The model is a part that may be absent. A bundle that appears, or replaces another, is taken over within seconds: loaded
and tested beside the old one, then put in its place in one assignment. A request keeps the model it started with. Item
vectors are not kept twice: the old ones go, and the new ones are computed as they are asked for and in the background.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.catalog.item_vectors import ItemVectors, Kept
from runtime.models.bundle import MANIFEST, Bundle, BundleError
from runtime.models.scheduler import QueueFull
from runtime.models.sequence_model import History, SequenceModel, UserNow, load_sequence_model
from runtime.personalization.ranking import cosine_scores
from runtime.personalization.sequence_features import device_code
from runtime.serving.candidates import Candidate, Candidates, find
from runtime.store import UserHistory

log = logging.getLogger("vows")

KIND = "sequence"
LOOK_EVERY_S = 2.0  # at the folder, for another bundle
MAX_WAITING = 64  # runs that wait for the thread; beyond it: 503
_ITEMS_AT_ONCE = 256  # about two milliseconds, so that a request never waits long behind a refill

Vector = NDArray[np.float32]
T = TypeVar("T")


class NotInstalled(Exception):
    """There is no sequence model to ask; the message says how to get one."""


@dataclass(frozen=True, eq=False)
class Served:
    """A model and its item vectors."""

    model: SequenceModel
    items: ItemVectors


class _Context(msgspec.Struct):
    days_to_wedding: float | str | bool | None = None


_decode_context = msgspec.json.Decoder(_Context).decode


class SequenceServing:
    """Event-loop thread only. `served` is what answers now, None where there is no bundle; `problem` says why a bundle
    that is there is not served."""

    def __init__(self, folders: Sequence[Path], content_model_version: str) -> None:
        """folders: where the bundle is looked for, first to last."""
        self.served: Served | None = None
        self.problem: str | None = None
        self._folders = folders
        self._catalog: Catalog  # from `start` on
        self._content_model_version = content_model_version
        self._seen = _stamp(self._folder)
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sequence")
        self._turn = asyncio.Lock()
        self._in_line = 0

    def load_at_start(self) -> SequenceModel | None:
        """The model of the bundle that is there. One that cannot be served is logged, and everything else works."""
        return None if self._seen is None else self._load()

    def start(self, catalog: Catalog, model: SequenceModel | None) -> None:
        """Serve this catalogue, with the model that `load_at_start` found: the room for its items follows from what
        the models leave."""
        self._catalog = catalog
        self.served = None if model is None else self._beside_catalog(model)

    def require(self) -> Served:
        """What is served. Raises NotInstalled."""
        if self.served is None:
            why = f"the bundle cannot be served: {self.problem}" if self.problem else "no sequence model is installed"
            raise NotInstalled(
                f"{why}; make one with `vows-edge export sequence`, and serve it with `vows-edge models install`"
            )
        return self.served

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold it from reading a history until the answer: one thread runs the model anyway, and so the memory of one
        request's vectors is all that many need. Raises QueueFull."""
        if self._in_line >= MAX_WAITING:
            raise QueueFull(f"{self._in_line} requests wait for the sequence model, the limit; try again")
        self._in_line += 1
        try:
            async with self._turn:
                yield
        finally:
            self._in_line -= 1

    @property
    def item_vectors(self) -> int:
        """Items of the catalogue that have their vector."""
        if self.served is None:
            return 0
        rows = self._catalog.lookup(self._catalog.all_ids()).rows
        return len(rows) - int(self.served.items.missing(rows, self._catalog.versions(rows)).sum())

    @property
    def _folder(self) -> Path:
        return next((folder for folder in self._folders if (folder / MANIFEST).exists()), self._folders[-1])

    async def history(self, served: Served, stored: UserHistory) -> History:
        """The events of a stored history whose content is in the catalogue, with their vectors. Raises QueueFull."""
        found = find(self._catalog, [Candidate(id) for id in stored.content_ids])
        known, kept = found.known, served.items.read(found.rows, found.versions)
        metadata = await found.metadata(self._catalog)
        return History(
            content=served.model.learned(found.ids, metadata),
            item=await self._complete(served, found, kept, metadata[kept.missing]),
            action=stored.action[known],
            device=np.array([device_code(device) for device in stored.device], np.int8)[known],
            time_us=stored.time_us[known],
            duration_ms=stored.duration_ms[known],
            days_to_wedding=np.array([_days_to_wedding(one) for one in stored.context], np.float32)[known],
        )

    async def user(
        self, served: Served, history: History, now_us: int, device: str | None, stated: Vector | None
    ) -> UserNow:
        """The user now, on a device or else the last one. Raises QueueFull."""
        code = device_code(device) if device is not None else int(history.device[-1]) if len(history) else 0
        return await self._run(served.model.user, history, now_us, code, stated)

    async def scores(self, served: Served, user: Vector, candidates: Candidates) -> Vector:
        """Cosine of a user's vector [128] and each candidate's, float32 [k]. Raises QueueFull."""
        kept = served.items.read(candidates.rows, candidates.versions)
        metadata = await candidates.metadata(self._catalog, kept.missing)
        return cosine_scores(user, await self._complete(served, candidates, kept, metadata))

    async def _complete(self, served: Served, candidates: Candidates, kept: Kept, metadata: Vector) -> Vector:
        """Float32 [k, 128]: what is kept, and the missing ones computed from their metadata; kept where they have a
        row."""
        vectors, missing = kept
        if missing.any():
            ids = [id for id, is_missing in zip(candidates.ids, missing.tolist(), strict=True) if is_missing]
            vectors[missing] = await self._run(_item_vectors, served.model, ids, metadata)
            fresh = missing & (candidates.rows >= 0)
            served.items.put(candidates.rows[fresh], candidates.versions[fresh], vectors[fresh])
        return vectors

    async def actions(self, served: Served, user: UserNow, candidates: Candidates) -> Vector:
        """Probabilities float32 [k, 4] of skip, view, save, share. Raises QueueFull."""
        learned = served.model.learned(candidates.ids, await candidates.metadata(self._catalog))
        return await self._run(served.model.actions, user, learned)

    async def fill(self, ids: Sequence[str], served: Served | None = None) -> None:
        """Compute the vectors that these items lack. What cannot be computed now is computed when it is ranked."""
        served = served or self.served
        if served is None:
            return
        with contextlib.suppress(QueueFull):
            for start in range(0, len(ids), _ITEMS_AT_ONCE):
                found = self._catalog.lookup(ids[start : start + _ITEMS_AT_ONCE])
                versions = self._catalog.versions(found.rows)
                missing = served.items.missing(found.rows, versions)
                if not missing.any():
                    continue
                some = [id for id, is_missing in zip(found.ids, missing.tolist(), strict=True) if is_missing]
                rows, versions = found.rows[missing], versions[missing]
                metadata = await self._catalog.gather(rows)
                vectors = await self._run(_item_vectors, served.model, some, metadata)
                served.items.put(rows, versions, vectors)

    async def watch(self) -> None:
        """Until cancelled: complete the item vectors, and take over another bundle when one appears."""
        await self.fill(self._catalog.all_ids())
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            stamp = _stamp(self._folder)
            if stamp is None or stamp == self._seen:
                continue
            self._seen = stamp
            loop = asyncio.get_running_loop()
            async with self._turn:  # requests wait for a moment, so that loading and answering need not fit together
                # Not in the model's own thread, which computes the vectors of new content meanwhile.
                if (model := await loop.run_in_executor(None, self._load)) is None:
                    continue
                before, self.served = self.served, self._beside_catalog(model)
                if before is not None:
                    before.items.release()  # both do not fit; the new ones take two milliseconds for 256 items
            log.info("%s of bundle %s is served", model.model_version, model.bundle.digest[:12])
            del before, model
            await self.fill(self._catalog.all_ids())

    def close(self) -> None:
        self._thread.shutdown()

    def _beside_catalog(self, model: SequenceModel) -> Served:
        return Served(model, ItemVectors(self._catalog.capacity, model.dimensions))

    def _load(self) -> SequenceModel | None:
        try:
            bundle = Bundle.load(self._folder.resolve(), kind=KIND)
            model = load_sequence_model(bundle, self._content_model_version)
        except BundleError as error:
            self.problem = str(error)
            kept = "the bundle before it is still served" if self.served else "no sequence model is served"
            log.error("%s; %s", error, kept)
            return None
        self.problem = None
        return model

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        if self._waiting >= MAX_WAITING:
            raise QueueFull(f"{self._waiting} requests wait for the sequence model, the limit; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
        finally:
            self._waiting -= 1


def _item_vectors(model: SequenceModel, ids: Sequence[str], metadata: Vector) -> Vector:
    return model.items(model.learned(ids, metadata))


def _stamp(folder: Path) -> tuple[object, ...] | None:
    """What changes when another bundle takes the folder's place; None while there is none."""
    with contextlib.suppress(OSError):
        found = (folder / MANIFEST).stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    return None


def _days_to_wedding(context: bytes | None) -> float:
    """The number under that name in an event's context; NaN for none, or for one that cannot be."""
    if context is None:
        return math.nan
    days = _decode_context(context).days_to_wedding
    is_number = isinstance(days, float) and abs(days) < 36_500
    return float(days) if is_number else math.nan  # type: ignore[arg-type]
