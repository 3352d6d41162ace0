"""The application: builds the parts, wires them to the endpoints, owns start and shutdown."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import (
    content,
    content_batch,
    embed,
    events,
    interactions,
    next_action,
    openai,
    ops,
    rank,
    search,
    style,
    users,
)
from runtime.api.admission import Admission
from runtime.api.body import BodyBudget
from runtime.api.endpoint import route
from runtime.api.errors import ApiError
from runtime.catalog import Catalog
from runtime.content import labels_of
from runtime.machine import usable_cores
from runtime.memory_budget import memory_budget
from runtime.metrics import RequestMetrics
from runtime.models.bundle import Bundle
from runtime.models.embedder import Embedder
from runtime.models.text_encoder import load_encoder
from runtime.models.vector_cache import VectorCache
from runtime.models.worker_pool import WorkerPool
from runtime.parts import Parts
from runtime.reembed import reembed
from runtime.search import Search
from runtime.sequence import SequenceServing
from runtime.settings import Settings
from runtime.store.sqlite import SqliteStore

log = logging.getLogger("vows")

DIMENSIONS = 384
ENDPOINTS = [
    *embed.ENDPOINTS,
    *content.ENDPOINTS,
    *content_batch.ENDPOINTS,
    *interactions.ENDPOINTS,
    *events.ENDPOINTS,
    *users.ENDPOINTS,
    *style.ENDPOINTS,
    *rank.ENDPOINTS,
    *next_action.ENDPOINTS,
    *search.ENDPOINTS,
    *openai.ENDPOINTS,
    *ops.ENDPOINTS,
]


def create_app(settings: Settings) -> Starlette:
    """Build everything and return the ASGI application, ready to answer.

    Raises BundleError, StoreError or CatalogFull with a message for the operator.
    """
    parts = build_parts(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        background = [asyncio.create_task(work) for work in (reembed(parts), parts.sequence.watch())]
        yield
        for task in background:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        parts.sequence.close()
        parts.embedder.close()
        parts.store.close()
        log.info("stopped")

    # /content/{id}/similar before /content/{id}: the first that matches answers.
    routed = sorted(ENDPOINTS, key=lambda endpoint: endpoint.path.endswith("}"))
    return Starlette(
        routes=[route(endpoint, parts) for endpoint in routed],
        middleware=[Middleware(Admission, max_requests=settings.max_requests)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )


def build_parts(settings: Settings) -> Parts:
    started = time.monotonic()
    bundle = Bundle.load(settings.models_dir / "minilm", kind="text-encoder", dimensions=DIMENSIONS)
    encoder, self_test = load_encoder(bundle, settings.encoding)
    pool = WorkerPool(
        encoder.embed,
        workers=settings.threads or usable_cores(),
        max_tokens=encoder.max_tokens,
        queue_tokens=settings.queue_tokens,
    )
    store = SqliteStore(settings.data_dir, decay_per_day=settings.decay_per_day)
    exact = store.embeddings if settings.catalog_vectors == "int8" else None
    catalog = Catalog(dimensions=DIMENSIONS, max_bytes=settings.catalog_bytes, exact=exact)
    sequence = SequenceServing(settings.models_dir, catalog, encoder.model_version)
    sequence.load_at_start()
    budget = memory_budget(settings, workers=pool.workers, sequence=sequence.served is not None)
    budget.check()
    log.info("memory that may still be taken:\n%s", budget.lines())
    for stored in store.vectors(bundle.digest):
        for id, fields, vector in zip(stored.ids, stored.fields, stored.embeddings, strict=True):
            catalog.put(id, vector, labels_of(fields))
    log.info(
        "%s (%s) ready in %.2f s; %d items, %d worker threads",
        encoder.model_version, encoder.encoding, time.monotonic() - started, len(catalog), pool.workers,
    )  # fmt: skip
    return Parts(
        settings=settings,
        embedder=Embedder(
            encoder,
            pool,
            VectorCache(settings.cache_bytes),
            timeout_s=settings.request_timeout_s,
            batch_timeout_s=settings.batch_timeout_s,
        ),
        store=store,
        catalog=catalog,
        search=Search(catalog),
        bodies=BodyBudget(max_body_bytes=settings.max_body_bytes, total_bytes=settings.body_budget_bytes),
        metrics=RequestMetrics(),
        self_test=self_test,
        sequence=sequence,
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 404:
        return ApiError(404, "unknown_path", f"nothing is served at {path!r}; see /docs").response()
    if error.status_code == 405:
        response = ApiError(405, "method_not_allowed", f"{path!r} does not take {request.method}; see /docs").response()
        response.headers.update(error.headers or {})
        return response
    return ApiError(error.status_code, "bad_request", error.detail).response()
