"""The application: builds the state, wires it to the endpoints, owns start and shutdown."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from runtime.api import operations as ops
from runtime.api.endpoints import ENDPOINTS
from runtime.api.problems import problem
from runtime.catalog.catalog import CatalogFull
from runtime.http import server as http_server
from runtime.http.admission import Admission
from runtime.http.api_keys import ApiKeys
from runtime.http.auth import Gate
from runtime.http.body import BodyBudget
from runtime.http.connections import ConnectionLimits, Connections
from runtime.http.endpoint import exact_paths, routes
from runtime.http.front import Front
from runtime.http.metrics_port import serve_metrics
from runtime.http.origins import Origins
from runtime.http.rate_limit import TokenBuckets
from runtime.http.server import Application, Options, StartError
from runtime.http.unmatched import unmatched
from runtime.models.bundle import Bundle, BundleError
from runtime.models.embedder import Embedder
from runtime.models.installed import RANKER, SEQUENCE, TEXT_ENCODER, bundle_folders, find_bundle
from runtime.models.text_encoder import SelfTest, TextEncoder, load_encoder
from runtime.models.vector_cache import VectorCache
from runtime.models.worker_pool import WorkerPool
from runtime.serving.catalog_files import open_catalog
from runtime.serving.catalog_search import Search
from runtime.serving.clustering import keep_clusters
from runtime.serving.experiment_watch import ExperimentWatch
from runtime.serving.experiments import ExperimentServing
from runtime.serving.following import follow
from runtime.serving.popularity import Popularity
from runtime.serving.ranker import RankerServing
from runtime.serving.reembedding import reembed
from runtime.serving.row_checks import check_rows
from runtime.serving.sequence import SequenceServing
from runtime.serving.turns import Turn, Turns
from runtime.settings import Settings
from runtime.sizing import Held, size_for_what_fits
from runtime.state import State
from runtime.store import ChangeFeed, Store, StoreError
from runtime.store.sqlite.store import SqliteStore
from runtime.store.tombstones import TombstoneLimits
from runtime.system.allocator import give_back_freed
from runtime.system.host import available_memory, usable_cores
from runtime.system.logs import is_text
from runtime.system.memory_budget import MemoryBudgetError
from runtime.system.metrics import RequestMetrics
from runtime.system.throttle import Throttled

log = logging.getLogger("vows")

DIMENSIONS = 384
_HEALTH = frozenset(endpoint.path for endpoint in ENDPOINTS if endpoint.access == "health")


async def create_app(settings: Settings) -> Starlette:
    """Build everything and return the ASGI application, ready to answer.

    Raises BundleError, StoreError, MemoryBudgetError or CatalogFull with a message for the operator.
    """
    text_model = load_text_model(settings)  # first: where it is refused, nothing has been written
    store, feed = await open_store(settings)
    state = await build_state(settings, text_model, store, alone=feed is None)

    metrics = None
    if settings.metrics_port:
        try:
            metrics = await serve_metrics(settings.host, settings.metrics_port, lambda: ops.metrics_text(state))
        except OSError as error:
            await _stop(state, [])
            raise OSError(f"VOWS_METRICS_PORT={settings.metrics_port}: {error}") from error

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        outcomes = ExperimentWatch(state.experiments, state.store, state.settings)
        work = [reembed(state), state.sequence.watch(), state.ranker.watch(), outcomes.watch()]
        work += [check_rows(state.store, settings.check_rows_per_s), keep_clusters(state.catalog)]
        if state.catalog_files is not None:
            work.append(state.catalog_files.keep(state.item_turns))
        if feed is not None:
            work.append(follow(state, feed))
        background = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            if metrics is not None:
                metrics.close()
            await _stop(state, background)

    # /content/{id}/similar before /content/{id}: the first that matches answers.
    routed = sorted(ENDPOINTS, key=lambda endpoint: endpoint.path.endswith("}"))
    served = routes(routed, state, problem)
    app = Starlette(routes=served, exception_handlers={HTTPException: unmatched}, lifespan=lifespan)
    app.middleware_stack = Front(
        app.build_middleware_stack(),
        exact_paths(served),
        metrics=state.metrics,
        origins=Origins(
            allowed=settings.allowed_origins, hosts=settings.host_names, open=not settings.api_keys, exempt=_HEALTH
        ),
        admission=Admission(state.settings.max_requests, exempt=_HEALTH),
    )
    app.router.redirect_slashes = False
    app.state.settings = state.settings  # those in force
    app.state.connections = state.connections
    return app


async def _stop(state: State, background: Sequence[asyncio.Task[None]]) -> None:
    """End everything; whatever of it fails, the store is closed."""
    try:
        for task in background:
            task.cancel()
        for failure in await asyncio.gather(*background, return_exceptions=True):
            if isinstance(failure, Exception):
                log.error("this is a bug: background work had ended", exc_info=failure)
        if state.catalog_files is not None:
            await state.catalog_files.sync(state.item_turns)
            state.catalog_files.close()
        for close in (state.sequence.close, state.embedder.close):
            try:
                close()
            except Exception:
                log.exception("this is a bug: stopping goes on")
    finally:
        await state.store.close()
    log.info("stopped")


def load_text_model(settings: Settings) -> tuple[TextEncoder, SelfTest]:
    """The text encoder, and how it did on its recorded texts. Raises BundleError."""
    bundle = Bundle.load(
        find_bundle(settings.models_dir, TEXT_ENCODER),
        kind="text-encoder",
        dimensions=DIMENSIONS,
        cache=settings.derived_dir,
        copies=settings.derived_dir,
    )
    return load_encoder(bundle, settings.encoding, packed=True)


async def build_state(
    settings: Settings, text_model: tuple[TextEncoder, SelfTest], store: Store, *, alone: bool
) -> State:
    """alone: whether no other machine changes the store."""
    started = time.monotonic()
    encoder, self_test = text_model
    pool = WorkerPool(
        encoder.embed,
        workers=settings.threads or usable_cores(),
        max_tokens=encoder.max_tokens,
        queue_tokens=settings.queue_tokens,
    )
    sequence = SequenceServing(
        bundle_folders(settings.models_dir, SEQUENCE),
        encoder.model_version,
        copies=settings.derived_dir,
        timeout_s=settings.request_timeout_s,
    )
    sequence_model = sequence.load_at_start()
    give_back_freed()  # so that what is found available is
    items = (await store.counts()).content
    held = Held(scratches=pool.workers, items=items, mapped_bytes=encoder.mapped_bytes)
    sizes = size_for_what_fits(settings, available_memory(), held)
    sizes.check()
    log.info("memory %s", sizes.lines())
    settings = sizes.settings
    catalog, files = await open_catalog(store, settings, DIMENSIONS, encoder.bundle.digest)
    sequence.start(catalog, sequence_model, settings.kept_users_bytes)
    log.info(
        "%s (%s) ready in %.2f s; %d items, %d worker threads",
        encoder.model_version, encoder.encoding, time.monotonic() - started, len(catalog), pool.workers,
    )  # fmt: skip
    connections = Connections(_connection_limits(settings))
    bodies = BodyBudget(max_body_bytes=settings.max_body_bytes, total_bytes=settings.body_budget_bytes)
    bodies.make_room = lambda: connections.make_memory(asyncio.get_running_loop().time())
    popularity = Popularity(catalog, store, alone=alone)
    await popularity.load()
    ranker = RankerServing(
        bundle_folders(settings.models_dir, RANKER), catalog, sequence, with_sequence=bool(settings.hybrid_sequence)
    )
    ranker.take_over()
    live = ExperimentServing(store)
    await live.refresh()
    return State(
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
        catalog_files=files,
        search=Search(catalog, settings.request_timeout_s),
        history_turn=Turn("reading long histories", settings.request_timeout_s),
        item_turns=Turns(settings.batch_timeout_s),
        user_turns=Turns(settings.request_timeout_s),
        model_turn=Turn("switching models", settings.request_timeout_s),
        bodies=bodies,
        connections=connections,
        gate=_gate(settings),
        metrics=RequestMetrics(),
        metrics_page=Throttled(per_second=ops.METRICS_PER_SECOND),
        self_test=self_test,
        sequence=sequence,
        popularity=popularity,
        ranker=ranker,
        experiments=live,
    )


async def open_store(settings: Settings) -> tuple[Store, ChangeFeed | None]:
    """Where the settings say that the data is, and what other machines change there. Raises StoreError."""
    tombstones = TombstoneLimits(settings.tombstone_s, settings.max_tombstones)
    if not settings.database_url:
        return SqliteStore(settings.data_dir, decay_per_day=settings.decay_per_day, tombstones=tombstones), None
    try:
        from runtime.store.postgres.store import open_store as open_postgres
    except ModuleNotFoundError as error:
        raise StoreError(f'VOWS_DATABASE_URL needs {error.name}: pip install "vows-edge[postgres]"') from None
    store = await open_postgres(
        settings.database_url,
        decay_per_day=settings.decay_per_day,
        most_connections=settings.database_connections,
        timeout_s=settings.database_timeout_s,
        pooler="transaction" if settings.database_pooler == "transaction" else "none",
        tombstones=tombstones,
    )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    await store.feed.begin()  # before anything is read that it follows
    return store, store.feed


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises StartError, with a message for the operator."""

    async def create() -> Application:
        try:
            app = await create_app(settings)
        except (BundleError, CatalogFull, MemoryBudgetError, StoreError, OSError) as error:
            raise StartError(str(error)) from error
        return Application(app, app.state.connections)

    http_server.serve(
        create,
        Options(
            host=settings.host,
            port=settings.port,
            open_to_all=bool(settings.api_keys) or settings.auth == "disabled",
            text=is_text(settings.log_format),
            shutdown_s=settings.shutdown_s,
        ),
    )


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        max_connections=settings.max_connections,
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        body_timeout_s=settings.body_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        min_bytes_per_s=settings.min_bytes_per_s,
        health_paths=frozenset(path.encode() for path in _HEALTH),
    )


def _gate(settings: Settings) -> Gate:
    rate = TokenBuckets(per_s=settings.rate_per_s, burst=settings.rate_burst) if settings.rate_per_s else None
    return Gate(ApiKeys.parse(settings.api_keys), rate)
