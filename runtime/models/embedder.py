"""Texts in, vectors out, for many clients at once: tokenise, queue, run, give up on clients that left."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from runtime.models.text_encoder import TextEncoder, Tokens
from runtime.models.vector_cache import VectorCache
from runtime.models.worker_pool import Embedded, Vector, WorkerPool
from runtime.system.trace import spent

# A text this long takes about a millisecond to tokenise; longer ones, and batches, would hold up the event loop.
_LOOP_TEXT_CHARS = 4096
_CHECK_CLIENT_EVERY_S = 0.05

Gone = Callable[[], Awaitable[bool]]


class ClientGone(Exception):
    """Nobody waits for the answer any more; its texts were taken out of the queue."""


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """`vector`: unit float32 [dimensions]. `tokens` counts the whole text; beyond the model's maximum it is truncated.

    Times in seconds: tokenising, waiting for a worker, running the model.
    """

    vector: Vector
    tokens: int
    truncated: bool
    tokenize_s: float
    queue_s: float
    infer_s: float


async def never_disconnected() -> bool:
    return False


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
        self._timeout_s = timeout_s
        self._batch_timeout_s = batch_timeout_s
        self._tokenizer_thread = ThreadPoolExecutor(1, thread_name_prefix="tokenize")

    async def embed(self, text: str, gone: Gone = never_disconnected) -> EmbeddedText:
        """One text, ahead of batches. Raises QueueFull, DeadlineExceeded or ClientGone."""
        started = time.monotonic()
        if len(text) <= _LOOP_TEXT_CHARS:
            tokens = self.encoder.tokenize(text)
        else:
            loop = asyncio.get_running_loop()
            tokens = await loop.run_in_executor(self._tokenizer_thread, self.encoder.tokenize, text)
        tokenize_s = time.monotonic() - started
        return (await self._run([tokens], tokenize_s, bulk=False, gone=gone))[0]

    async def embed_batch(self, texts: list[str], gone: Gone = never_disconnected) -> list[EmbeddedText]:
        """Many texts, each run alone, interleaved with other clients' work. Raises as `embed` does."""
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        tokens = await loop.run_in_executor(self._tokenizer_thread, self.encoder.tokenize_batch, texts)
        tokenize_s = (time.monotonic() - started) / max(len(texts), 1)
        return await self._run(tokens, tokenize_s, bulk=True, gone=gone)

    async def embed_tokens(self, texts: list[Tokens], gone: Gone = never_disconnected) -> list[EmbeddedText]:
        """Texts that were tokenised before: one goes ahead of batches, several are a batch. Raises as `embed` does."""
        return await self._run(texts, 0.0, bulk=len(texts) > 1, gone=gone)

    def forget(self, text: str) -> None:
        """Take a text's vector out of the cache."""
        self.cache.forget(self.encoder.tokenize(text).ids)

    def close(self) -> None:
        self._tokenizer_thread.shutdown()
        self.pool.close()

    async def _run(self, texts: list[Tokens], tokenize_s: float, *, bulk: bool, gone: Gone) -> list[EmbeddedText]:
        cached = [self.cache.get(text.ids) for text in texts]
        missing = [text for text, vector in zip(texts, cached, strict=True) if vector is None]
        ran = iter(await self._run_missing(missing, bulk=bulk, gone=gone) if missing else [])
        done = [next(ran) if vector is None else Embedded(vector, 0.0, 0.0) for vector in cached]
        for text, result in zip(texts, done, strict=True):
            self.cache.put(text.ids, result.vector)
            self.truncated += text.truncated
        spent("tokenise", tokenize_s * len(texts))
        if missing:
            spent("queue", max(result.queue_s for result in done))
            spent("infer", sum(result.infer_s for result in done))
        return [
            EmbeddedText(result.vector, text.count, text.truncated, tokenize_s, result.queue_s, result.infer_s)
            for text, result in zip(texts, done, strict=True)
        ]

    async def _run_missing(self, texts: list[Tokens], *, bulk: bool, gone: Gone) -> list[Embedded]:
        timeout_s = self._batch_timeout_s if bulk else self._timeout_s
        futures = self.pool.submit([text.ids for text in texts], bulk=bulk, timeout_s=timeout_s)
        try:
            while (await asyncio.wait(futures, timeout=_CHECK_CLIENT_EVERY_S))[1]:
                if await gone():
                    raise ClientGone
            return [future.result() for future in futures]
        finally:
            for future in futures:
                if not future.done():
                    future.cancel()
                elif not future.cancelled():
                    future.exception()  # marks it as seen: the first failure already answers for all
