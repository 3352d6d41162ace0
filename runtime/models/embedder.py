"""Texts in, vectors out, for many clients at once: tokenise, queue, run, give up on clients that left."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from runtime.models.bulk_room import BulkRoom
from runtime.models.disconnection import (
    CHECK_CLIENT_EVERY_S,
    ClientDisconnected,
    Disconnected,
    never_disconnected,
    watched,
)
from runtime.models.text_encoder import TextEncoder
from runtime.models.tokenizer import MAX_TOKENS_PER_CHAR, PIECE_CHARS, Tokens
from runtime.models.vector_cache import VectorCache
from runtime.models.worker_pool import DeadlineExceeded, Embedded, Vector, WorkerPool
from runtime.system.trace import spent

# A batch is tokenised and queued slice by slice, so that batches of several clients take turns. While one slice runs
# the next is made ready.
_SLICE_TOKENS = 4096
_SLICES_UNDER_WAY = 2


class BatchTooLarge(Exception):
    """The batch alone takes longer than the deadline of batches. The message says how many of its texts would not."""


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """`vector`: unit float32 [dimensions]. `tokens` counts the whole text; beyond the model's maximum it is truncated.
    `unknown` counts those of them that are [UNK].

    Times in seconds: tokenising, waiting for a worker, running the model.
    """

    vector: Vector
    tokens: int
    unknown: int
    truncated: bool
    tokenize_s: float
    queue_s: float
    infer_s: float


@dataclass(frozen=True, slots=True)
class _Slice:
    """Texts under way: their tokens, the vectors found in the cache, and a future for each of the others, in order."""

    texts: list[Tokens]
    cached: list[Vector | None]
    futures: "list[asyncio.Future[Embedded]]"
    tokenize_s: float


class Embedder:
    """The text encoder behind its cache and its scheduler. Owns the worker threads; `close` ends them."""

    def __init__(
        self,
        encoder: TextEncoder,
        pool: WorkerPool,
        cache: VectorCache,
        *,
        timeout_s: float,
        batch_timeout_s: float,
    ) -> None:
        self.encoder = encoder
        self.pool = pool
        self.cache = cache
        self.truncated = 0  # texts so far that were longer than the model reads
        self.unknown = 0  # tokens so far that were [UNK]
        self._timeout_s = timeout_s
        self._batch_timeout_s = batch_timeout_s
        self._room = BulkRoom(pool.bulk_tokens)
        self._slice_tokens = min(_SLICE_TOKENS * max(1, pool.workers // 4), pool.bulk_tokens // _SLICES_UNDER_WAY)
        # Batches have a thread of their own: a single text never waits for theirs.
        self._threads = {bulk: ThreadPoolExecutor(1, thread_name_prefix="tokenize") for bulk in (False, True)}

    async def embed(self, text: str, disconnected: Disconnected = never_disconnected) -> EmbeddedText:
        """One text, ahead of batches. Raises QueueFull, DeadlineExceeded or ClientDisconnected."""
        started = time.monotonic()
        tokens = await self.tokenize(text)
        return await self._embed_one(tokens, disconnected, tokenize_s=time.monotonic() - started)

    async def embed_batch(
        self, texts: Sequence[str], disconnected: Disconnected = never_disconnected
    ) -> list[EmbeddedText]:
        """Many texts, each run alone, interleaved with other clients' work. Waits for its turn, until the deadline of
        batches. Raises DeadlineExceeded, BatchTooLarge or ClientDisconnected."""
        return await self._embed_bulk(texts, disconnected)

    async def embed_tokens(
        self, texts: Sequence[Tokens], disconnected: Disconnected = never_disconnected
    ) -> list[EmbeddedText]:
        """Texts that were tokenised before: one goes ahead of batches, several are a batch. Raises as these do."""
        if len(texts) == 1:
            return [await self._embed_one(texts[0], disconnected, tokenize_s=0.0)]
        return await self._embed_bulk(texts, disconnected)

    @property
    def lined_up_tokens(self) -> int:
        """Tokens of batches that wait for room in the queue."""
        return self._room.lined_up

    async def tokenize(self, text: str) -> Tokens:
        """The tokens of one text."""
        if len(text) <= PIECE_CHARS:  # well under a millisecond; longer ones would hold up the event loop
            return self.encoder.tokenize(text)
        return (await self._tokenize_all([text], bulk=False))[0]

    def evict(self, text: str) -> None:
        """Take a text's vector out of the cache."""
        self.cache.evict(self.encoder.tokenize(text).ids)

    def close(self) -> None:
        """End the threads for tokenising and the worker pool; texts that still wait fail."""
        for thread in self._threads.values():
            thread.shutdown()
        self.pool.close()

    async def _embed_one(self, tokens: Tokens, disconnected: Disconnected, *, tokenize_s: float) -> EmbeddedText:
        """As a slice of one, without the lists: most requests come here."""
        spent("tokenise", tokenize_s)
        vector = self.cache.get(tokens.ids)
        if vector is not None:
            return self._embedded(tokens, Embedded(vector, 0.0, 0.0), tokenize_s)
        (future,) = self.pool.submit([tokens.ids], bulk=False, timeout_s=self._timeout_s)
        result = await watched(future, disconnected)
        self.cache.put(tokens.ids, result.vector)
        spent("queue", result.queue_s)
        spent("infer", result.infer_s)
        return self._embedded(tokens, result, tokenize_s)

    def _embedded(self, text: Tokens, result: Embedded, tokenize_s: float) -> EmbeddedText:
        """Counted, as it is answered."""
        self.truncated += text.truncated
        self.unknown += text.unknown
        return EmbeddedText(
            result.vector, text.count, text.unknown, text.truncated, tokenize_s, result.queue_s, result.infer_s
        )

    async def _embed_bulk(
        self, texts: Sequence[str] | Sequence[Tokens], disconnected: Disconnected
    ) -> list[EmbeddedText]:
        # Here by a wide margin, since the machine may be slower than usual just now; once it was too late, exactly.
        self._check_size(texts, 2 * self._batch_timeout_s)
        deadline = time.monotonic() + self._batch_timeout_s
        under_way: deque[_Slice] = deque()
        done: list[EmbeddedText] = []
        try:
            for part in self._slices(texts):
                if len(under_way) == _SLICES_UNDER_WAY:
                    done += await self._finished(under_way[0], disconnected)
                    under_way.popleft()
                under_way.append(await self._begin(part, disconnected, deadline, left=len(texts) - len(done)))
            while under_way:
                done += await self._finished(under_way[0], disconnected)
                under_way.popleft()
            return done
        except DeadlineExceeded:
            self._check_size(texts, self._batch_timeout_s)
            raise
        finally:
            for one in under_way:
                _abandon(one.futures)

    def _check_size(self, texts: Sequence[str] | Sequence[Tokens], most_s: float) -> None:
        """Raises BatchTooLarge for texts that take longer than that, by the times of the last runs."""
        takes_s = self.pool.seconds_for(sum(map(self._most_tokens, texts)))
        if takes_s > most_s:
            fit = max(1, int(len(texts) * self._batch_timeout_s / takes_s))
            raise BatchTooLarge(
                f"{len(texts)} texts take about {takes_s:.0f} s here, and a batch may take {self._batch_timeout_s:g} s "
                f"(VOWS_BATCH_TIMEOUT_S); send about {fit} at a time"
            )

    def _slices(self, texts: "Sequence[str | Tokens]") -> "Iterator[list[str | Tokens]]":
        some: list[str | Tokens] = []
        size = 0
        for text in texts:
            tokens = self._most_tokens(text)
            if some and size + tokens > self._slice_tokens:
                yield some
                some, size = [], 0
            some.append(text)
            size += tokens
        if some:
            yield some

    def _most_tokens(self, text: str | Tokens) -> int:
        """What the model may read of a text, before it is tokenised."""
        if isinstance(text, Tokens):
            return int(text.ids.size)
        return min(self.encoder.max_tokens, len(text) * MAX_TOKENS_PER_CHAR + 2)

    async def _begin(
        self, part: "Sequence[str | Tokens]", disconnected: Disconnected, deadline: float, *, left: int
    ) -> _Slice:
        """Tokenise and queue a slice, once there is room for it. `left`: texts that the batch still has to do."""
        tokens = sum(map(self._most_tokens, part))
        admitted = self._room.take(tokens)
        try:
            if not admitted.done():
                await self._until_admitted(admitted, disconnected, deadline, left=left * tokens // len(part))
            started = time.monotonic()
            texts = [text for text in part if isinstance(text, Tokens)]
            if not texts:
                texts = await self._tokenize_all([text for text in part if isinstance(text, str)], bulk=True)
            tokenize_s = (time.monotonic() - started) / len(part)
            one = self._submit(texts, tokenize_s, bulk=True, timeout_s=max(deadline - started, 0.0))
        except BaseException:
            if not admitted.cancel():
                self._room.give_back(tokens)
            raise
        missing = [text.ids.size for text, vector in zip(one.texts, one.cached, strict=True) if vector is None]
        for size, future in zip(missing, one.futures, strict=True):
            future.add_done_callback(partial(self._give_back, size))
        self._room.give_back(tokens - sum(missing))
        return one

    def _give_back(self, tokens: int, _: "asyncio.Future[Embedded]") -> None:
        self._room.give_back(tokens)

    async def _until_admitted(
        self, admitted: "asyncio.Future[None]", disconnected: Disconnected, deadline: float, *, left: int
    ) -> None:
        started = time.monotonic()
        while not (await asyncio.wait([admitted], timeout=CHECK_CLIENT_EVERY_S))[0]:
            if await disconnected():
                raise ClientDisconnected
            if time.monotonic() > deadline:
                before = self._room.held + self._room.lined_up
                raise DeadlineExceeded(
                    f"the batch waited {self._batch_timeout_s:g} s (VOWS_BATCH_TIMEOUT_S) behind {before} tokens of "
                    f"other batches, about {left} of its own still to do; try again later, or send less at once",
                    self.pool.seconds_for(before),
                )
        spent("queue", time.monotonic() - started)

    async def _tokenize_all(self, texts: list[str], *, bulk: bool) -> list[Tokens]:
        """Step by step, so that everybody's long texts take turns on the thread."""
        loop, steps = asyncio.get_running_loop(), self.encoder.tokenizer.in_steps(texts)
        done: list[Tokens] = []
        while len(done) < len(texts):
            done += await loop.run_in_executor(self._threads[bulk], next, steps)
        return done

    def _submit(self, texts: list[Tokens], tokenize_s: float, *, bulk: bool, timeout_s: float) -> _Slice:
        cached = [self.cache.get(text.ids) for text in texts]
        missing = [text.ids for text, vector in zip(texts, cached, strict=True) if vector is None]
        futures = self.pool.submit(missing, bulk=bulk, timeout_s=timeout_s) if missing else []
        return _Slice(texts, cached, futures, tokenize_s)

    async def _finished(self, one: _Slice, disconnected: Disconnected) -> list[EmbeddedText]:
        """The vectors of a slice. Raises what the model or the queue raised, or ClientDisconnected."""
        while one.futures and (await asyncio.wait(one.futures, timeout=CHECK_CLIENT_EVERY_S))[1]:
            if await disconnected():
                raise ClientDisconnected
        ran = iter([future.result() for future in one.futures])
        done = [next(ran) if vector is None else Embedded(vector, 0.0, 0.0) for vector in one.cached]
        for text, result in zip(one.texts, done, strict=True):
            self.cache.put(text.ids, result.vector)
        spent("tokenise", one.tokenize_s * len(one.texts))
        if one.futures:
            spent("queue", max(result.queue_s for result in done))
            spent("infer", sum(result.infer_s for result in done))
        return [self._embedded(text, result, one.tokenize_s) for text, result in zip(one.texts, done, strict=True)]


def _abandon(futures: "Sequence[asyncio.Future[Embedded]]") -> None:
    """Take out of the queue what has not run."""
    for future in futures:
        if not future.done():
            future.cancel()
        elif not future.cancelled():
            future.exception()  # marks it as seen: the first failure already answers for all
