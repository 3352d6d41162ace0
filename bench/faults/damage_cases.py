"""What happens to data meanwhile: bits flip, vectors are replaced under writes, bundles change under load, much is
deleted."""

import asyncio
import itertools
import json
import shutil
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from bench.faults.bit_flips import flip_bits
from bench.http_client import Connection, build_request
from bench.server import TRAINED_ITEM, Server, serving
from bench.suite import Case, Conditions, Metric, Samples, raw, share
from runtime.models.installed import install
from runtime.store import ContentItem, Interaction
from runtime.store.sqlite.connection import DATABASE
from runtime.store.sqlite.store import SqliteStore

BIT_FLIPS = 400
OLD_ITEMS, OLD_USERS = 600, 120
EMBEDDED_WITHIN_S = 600.0
SWITCHES, SWITCH_LIMIT_S = 20, 60.0
LARGE_DATABASE_BYTES, FIELDS_BYTES = 2_500_000_000, 200_000
DELETED_EVENTS = 5_000


def measure_bit_flips(conditions: Conditions, samples: Samples) -> None:
    """One flipped bit of a database at a time: refused at the start, reported, or without any effect."""
    with tempfile.TemporaryDirectory(prefix="vows-flips-") as folder:
        found = flip_bits(Path(folder), conditions.rounds(full=BIT_FLIPS, quick=15), conditions.seed)
    samples.add("flips", found.refused_starts + found.reported + found.harmless + len(found.silent))
    samples.add("flips_detected", found.refused_starts + found.reported)
    samples.add("flips_silent", len(found.silent))
    for what in found.silent[:10]:
        samples.note(what, "silently wrong")


def measure_reembedding(conditions: Conditions, samples: Samples) -> None:
    """Items and preferences of another bundle are embedded again while clients replace and delete them."""
    items = conditions.rounds(full=OLD_ITEMS, quick=30)
    users = conditions.rounds(full=OLD_USERS, quick=6)
    with tempfile.TemporaryDirectory(prefix="vows-reembed-") as folder:
        settings = {"VOWS_DATA_DIR": folder}
        with serving(conditions, settings=settings) as server, server.connect() as connection:
            for start in range(0, items, 100):
                some = [{"id": f"item-{n}", "text": f"an old barn {n}"} for n in range(start, min(start + 100, items))]
                connection.request_json(build_request("POST", "/content/batch", some))
            for n in range(users):
                connection.request_json(
                    build_request("PUT", f"/user/user-{n}/preferences", {"preferences": [f"a {n}"]})
                )
        with closing(sqlite3.connect(Path(folder) / DATABASE)) as database, database:
            database.execute("UPDATE bundles SET digest = 'of another bundle'")
        with serving(conditions, settings=settings) as server, server.connect() as connection:
            for n in range(0, max(items, 3 * users), 3):
                if n < items:
                    connection.request_json(build_request("PUT", f"/content/item-{n}", {"text": f"a new barn {n}"}))
                if n + 1 < items:
                    connection.request_json(build_request("DELETE", f"/content/item-{n + 1}"))
                if n // 3 < users and n % 2:
                    connection.request_json(build_request("DELETE", f"/user/user-{n // 3}"))
            _until_embedded(Path(folder) / DATABASE)
            for n in range(items):
                status, body = connection.send(build_request("GET", f"/content/item-{n}"))
                samples.count("replaced_under_writes")
                kept = 404 if n % 3 == 1 else 200
                text = f"{'a new' if n % 3 == 0 else 'an old'} barn {n}"
                wrong = status != kept or (status == 200 and json.loads(body)["text"] != text)
                samples.count("lost_under_writes", int(wrong))
            for n in range(users):
                status, _ = connection.send(build_request("GET", f"/user/user-{n}/preferences"))
                samples.count("lost_under_writes", int(status != (404 if n % 2 else 200)))


def measure_switches(conditions: Conditions, samples: Samples) -> None:
    """The sequence bundle is switched again and again while clients rank with it."""
    switches = conditions.rounds(full=SWITCHES, quick=2)
    with tempfile.TemporaryDirectory(prefix="vows-switches-") as name:
        models = Path(name)
        (models / "minilm").symlink_to(conditions.models / "minilm")
        bundles = [_bundle(conditions, models, number) for number in range(2)]
        install(models, bundles[0])
        ends = threading.Event()
        with serving(conditions, settings={"VOWS_MODELS_DIR": name}) as server:
            with server.connect() as connection:
                _store_history(connection)
            asking = [threading.Thread(target=_rank_until, args=(server, ends, samples)) for _ in range(4)]
            for thread in asking:
                thread.start()
            try:
                for number in range(1, switches + 1):
                    started = time.monotonic()
                    before = _served(server)
                    install(models, bundles[number % 2])
                    while _served(server) == before:
                        if time.monotonic() - started > SWITCH_LIMIT_S:
                            raise RuntimeError(f"switch {number} was not served within {SWITCH_LIMIT_S:g} s")
                        time.sleep(0.1)
                    samples.add("switch_s", time.monotonic() - started)
            finally:
                ends.set()
                for thread in asking:
                    thread.join()
            samples.add("switches", switches)
            samples.add("switches_peak_rss_mib", server.memory().peak_rss_mib)


def measure_large_deletion(conditions: Conditions, samples: Samples) -> None:
    """A user is deleted from a large database while another writes: how long each takes."""
    size = conditions.rounds(full=LARGE_DATABASE_BYTES, quick=20_000_000)
    with tempfile.TemporaryDirectory(prefix="vows-large-") as folder:
        asyncio.run(_delete_from_large(Path(folder), size, conditions.rounds(full=DELETED_EVENTS, quick=50), samples))
        samples.add("large_database_mb", (Path(folder) / DATABASE).stat().st_size / 1e6)


async def _delete_from_large(folder: Path, size: int, events: int, samples: Samples) -> None:
    store = SqliteStore(folder)
    vector = np.eye(384, dtype=np.float32)[0]
    fields = b'{"text":"%b"}' % (b"x" * FIELDS_BYTES)
    for n in range(size // FIELDS_BYTES):
        item = ContentItem(
            id=f"item-{n}", fields=fields, embedding=vector, model_version="v1", bundle_digest="b", tokens=3,
            truncated=True,
        )  # fmt: skip
        await store.put_content([item])
    for start in range(0, events, 500):
        await store.add_interactions([_event(f"gone-{n}", "gone", n) for n in range(start, min(start + 500, events))])
    numbers = itertools.count()

    async def write() -> float:
        started = time.monotonic()
        await store.add_interactions([_event(f"kept-{next(numbers)}", "kept", 0)])
        return 1e3 * (time.monotonic() - started)

    for _ in range(50):
        samples.add("write_alone_ms", await write())
    started = time.monotonic()
    deletion = asyncio.ensure_future(store.delete_user("gone"))
    while not deletion.done():
        samples.add("write_beside_deletion_ms", await write())
    samples.add("deletion_s", time.monotonic() - started)
    await deletion
    await store.close()


def _event(id: str, user: str, n: int) -> Interaction:
    return Interaction(event_id=id, user_id=user, content_id=f"item-{n % 50}", type="save", time_us=1_000_000 + n)


def _until_embedded(database: Path) -> None:
    """Wait until no vector and no preference of another bundle is left. Raises RuntimeError."""
    deadline = time.monotonic() + EMBEDDED_WITHIN_S
    old = "bundle IN (SELECT key FROM bundles WHERE digest = 'of another bundle')"
    statement = f"""SELECT (SELECT count(*) FROM content WHERE {old})
        + (SELECT count(*) FROM preferences WHERE {old})"""
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
            if reader.execute(statement).fetchone() == (0,):
                return
        time.sleep(0.2)
    raise RuntimeError(f"vectors of the other bundle are left after {EMBEDDED_WITHIN_S:g} s")


def _bundle(conditions: Conditions, models: Path, number: int) -> Path:
    """A copy of the sequence bundle under another digest."""
    folder = models / "sequences" / str(number)
    shutil.copytree(conditions.models / "sequence", folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["quality"]["note"] = str(number)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _store_history(connection: Connection) -> None:
    items = [TRAINED_ITEM, *({"id": f"item-{n}", "text": f"a barn with {n} windows"} for n in range(20))]
    connection.request_json(build_request("POST", "/content/batch", items))
    events = [{"user_id": "ada", "content_id": f"item-{n}", "type": "save", "event_id": str(n)} for n in range(10)]
    connection.request_json(build_request("POST", "/interactions", events))


def _rank_until(server: Server, ends: threading.Event, samples: Samples) -> None:
    body = {"user_id": "ada", "candidates": [f"item-{n}" for n in range(20)], "model": "sequence"}
    request = build_request("POST", "/rank", body)
    with server.connect() as connection:
        while not ends.is_set():
            elapsed_ms, status = connection.timed(request)
            samples.count("rankings")
            samples.count("rankings.200", int(status == 200))
            samples.add("ranking_ms", elapsed_ms)
            time.sleep(0.02)


def _served(server: Server) -> str:
    with server.connect() as connection:
        info = connection.request_json(build_request("GET", "/info"))
    return str(info["sequence"]["bundle_sha256"])


READING = (
    f"`bit flips`: {BIT_FLIPS} times one bit of a filled database; `silent` are answers other than before that nothing "
    f"refused or reported. `reembedding`: {OLD_ITEMS} items and {OLD_USERS} preferences of another bundle get new "
    "vectors while a third of them is replaced and a third deleted; `lost` are those that are not as they were "
    f"acknowledged. `switches`: the sequence bundle is switched {SWITCHES} times while four clients rank with it. "
    f"`large deletion`: a user with {DELETED_EVENTS:,} events is deleted from {LARGE_DATABASE_BYTES / 1e9:g} GB while "
    "another one writes. "
)
CASES = (
    Case("bit flips", measure_bit_flips, limit_s=1200),
    Case("reembedding", measure_reembedding, limit_s=1200),
    Case("switches", measure_switches, limit_s=1500),
    Case("large deletion", measure_large_deletion, limit_s=1800),
)
METRICS = (
    Metric("faults.bit_flips", "bit flips", "flips", "lower", raw("flips")),
    Metric("faults.bit_flips_detected", "bit flips", "flips", "lower", raw("flips_detected")),
    Metric("faults.bit_flips_silent", "bit flips", "flips", "higher", raw("flips_silent")),
    Metric("faults.reembedded_under_writes", "reembedding", "items", "lower", raw("replaced_under_writes")),
    Metric("faults.lost_under_writes", "reembedding", "rows", "higher", raw("lost_under_writes")),
    Metric("faults.switches", "switches", "switches", "lower", raw("switches")),
    Metric("faults.switches_success_share", "switches", "share", "lower", share("rankings.200", "rankings")),
    Metric("faults.switches_ranking_ms", "switches", "ms", "higher", raw("ranking_ms"), "p99"),
    Metric("faults.switches_peak_rss_mib", "switches", "MiB", "higher", raw("switches_peak_rss_mib")),
    Metric("faults.large_deletion_mb", "large deletion", "MB", "lower", raw("large_database_mb")),
    Metric("faults.large_deletion_s", "large deletion", "s", "higher", raw("deletion_s")),
    Metric("faults.large_deletion_write_ms", "large deletion", "ms", "higher", raw("write_beside_deletion_ms"), "max"),
    Metric("faults.large_deletion_write_alone_ms", "large deletion", "ms", "higher", raw("write_alone_ms"), "max"),
)
