"""The suite: the wedding catalogue, mixed requests and a large batch in a machine of 256 MiB."""

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.http_client import build_request
from bench.server import TRAINED_ITEM, ServerError
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw
from bench.texts import TextSource, load_tokenizer
from bench.traffic import EXPECTED_STATUS_SHARE, CheckedRequest, MixedTraffic, send_checked
from bench.vm.guest import Guest, Hardware, booted, require_programs
from bench.vm.parts import CACHE, guest_parts
from bench.vm.root import Service, assemble_root, image_service
from examples.wedding.journeys import load_catalogue, load_journeys

CASE = "256 MiB machine"
READY_S = 900.0
PROGRESS_S = 20.0
CATALOGUE_ITEMS = 8  # in one request: emulation is slow, and progress should be seen
SETTLED_READINGS = 3  # further readings after the last answer
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """An unpacked image: the folder of its files and the file of its configuration."""

    root: Path
    config: Path


@dataclass(frozen=True)
class Options:
    """What to boot, on what, and how many requests to send.

    image: None assembles a root file system of what is installed here; parts: folder of kernel and busybox, None for
    the cache; requests: mixed requests between the catalogue and the batch of `batch_items` texts of 256 tokens.
    """

    image: Image | None = None
    parts: Path | None = None
    hardware: Hardware = Hardware()
    requests: int = 100
    batch_items: int = 32


def measure(options: Options, conditions: Conditions, samples: Samples, progress: Progress) -> None:
    """Boot, wait until it is ready, send every request once, and keep every reading."""
    require_programs()
    parts = guest_parts(options.parts)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="root-") as name:
        if options.image is None:
            root = Path(name)
            service = assemble_root(root, conditions.models)
        else:
            root = options.image.root
            service = image_service(root, options.image.config)
        samples.note("root", "packages of this machine" if options.image is None else "image")
        samples.note("cpu", options.hardware.cpu)
        samples.note("memory_mib", options.hardware.memory_mib)
        checked_requests = list(_requests(root, service, options, conditions.seed))
        progress(f"booting {root} with {options.hardware.memory_mib} MiB")
        with booted(root, service, parts, options.hardware) as guest:
            try:
                _load(guest, checked_requests, samples, progress)
            except (ServerError, OSError) as error:
                reason = str(error) if isinstance(error, ServerError) else f"{error}; {guest.exit_report()}"
                progress(reason)
                samples.note("ended", reason[-600:])
                samples.count("requests", len(checked_requests) - int(sum(samples.series.get("requests", ()))))
            finally:
                _keep_readings(guest, samples)


def demo_requests() -> Iterator[CheckedRequest]:
    """The wedding catalogue and its couples: preferences, events, and after each chapter a ranking."""
    catalogue, now = load_catalogue(), datetime.now(UTC)
    for start in range(0, len(catalogue), CATALOGUE_ITEMS):
        yield _checked("catalogue", "POST", "/content/batch", catalogue[start : start + CATALOGUE_ITEMS])
    yield _checked("catalogue", "POST", "/content/batch", [TRAINED_ITEM])
    for journey in load_journeys():
        if journey.preferences:
            preferences = {"preferences": list(journey.preferences)}
            yield _checked("preferences", "PUT", f"/user/{journey.user_id}/preferences", preferences)
        for chapter in journey.chapters:
            events = [event.interaction(journey.user_id, now) for event in chapter.events]
            yield _checked("interactions", "POST", "/interactions", events)
            yield _checked("user embedding", "GET", f"/user/{journey.user_id}/embedding")
            candidates = {"user_id": journey.user_id, "candidates": journey.unseen(catalogue), "top_k": 5}
            yield _checked("rank", "POST", "/rank", candidates)
            # Refused where the sequence model is not served: a figure is one of both models, or it is none.
            yield _checked("rank by sequence", "POST", "/rank", {**candidates, "model": "sequence"})
            next_action = {"candidates": candidates["candidates"]}
            yield _checked("next action", "POST", f"/user/{journey.user_id}/next-action", next_action)


def _requests(root: Path, service: Service, options: Options, seed: int) -> Iterator[CheckedRequest]:
    source = TextSource(load_tokenizer(root / service.models[1:] / "minilm"), seed)
    traffic = MixedTraffic(source, seed)
    return itertools.chain(
        demo_requests(), itertools.islice(iter(traffic), options.requests), [traffic.large_batch(options.batch_items)]
    )


def _load(guest: Guest, checked_requests: list[CheckedRequest], samples: Samples, progress: Progress) -> None:
    seconds = guest.until_ready(READY_S)
    progress(f"ready after {seconds:.0f} s of emulation")
    samples.add("readings_before_ready", len(guest.log().readings))
    reported = time.monotonic()
    with guest.connect() as connection:
        for number, checked in enumerate(checked_requests, start=1):
            if number == len(checked_requests) or time.monotonic() - reported > PROGRESS_S:
                reported, available = time.monotonic(), guest.log().readings[-1].available_mib
                progress(f"request {number} of {len(checked_requests)} ({checked.name}), {available:.0f} MiB available")
            send_checked(connection, checked, samples)
        wanted = len(guest.log().readings) + SETTLED_READINGS
        info = connection.request_json(build_request("GET", "/info"))
        model = info["models"][0]
        samples.note("encoding", model["encoding"])
        samples.note("text_encoder", f"{model['model_version']}, bundle {model['bundle_sha256'][:12]}")
        sequence = info["sequence"]
        samples.note("sequence_model", "none is served" if sequence is None else
                     f"{sequence['model_version']}, bundle {sequence['bundle_sha256'][:12]}")  # fmt: skip
        for name, value in info["limits"].items():
            samples.note(f"limits.{name}", value)
        for name, value in model["self_test"].items():
            samples.note(f"self_test.{name}", value)
        samples.note("content_stored", info["stored"]["content"])
        while len(guest.log().readings) < wanted and guest.process.poll() is None:
            connection.send(build_request("GET", "/healthz"))


def _keep_readings(guest: Guest, samples: Samples) -> None:
    """Every reading of the guest since its service was ready, and what it had before its service started."""
    readings = guest.log().readings
    if not readings:
        return
    ready = int(sum(samples.series.pop("readings_before_ready", [len(readings)])))
    samples.add("total_mib", readings[0].total_mib)
    samples.add("available_before_mib", readings[0].available_mib)
    if readings[ready:]:
        samples.add("available_ready_mib", readings[ready].available_mib)
    samples.add("available_mib", *(reading.available_mib for reading in readings[ready:]))
    samples.add("anonymous_mib", *(one for one in (reading.anonymous_mib for reading in readings) if one is not None))
    samples.add("peak_rss_mib", max((reading.peak_rss_mib or 0.0 for reading in readings), default=0.0))
    samples.add("oom_kills", readings[-1].oom_kills)
    samples.add("major_faults", readings[-1].major_faults)
    samples.add("refaulted_mib", readings[-1].refaulted_mib)


def _checked(name: str, method: str, path: str, body: object = None) -> CheckedRequest:
    return CheckedRequest(name, build_request(method, path, body), frozenset({200}))


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _measure_here(conditions: Conditions, samples: Samples) -> None:
    options = Options(requests=conditions.rounds(full=100, quick=10), batch_items=conditions.rounds(full=32, quick=2))
    measure(options, conditions, samples, _to_stderr)


SUITE = Suite(
    name="vm",
    purpose="memory that a virtual machine of 256 MiB has left while it serves",
    reading="A virtual machine with one CPU, 256 MiB and no swap boots the image's files (`make vm-check`): the "
    "wedding catalogue and its couples, mixed requests over every endpoint, a batch of 32 texts of 256 tokens. `total` "
    "is what the guest's kernel leaves of the machine, `available` its MemAvailable, read twice a second of its time. "
    "The machine is emulated in software: memory figures carry over to a real machine, times would not, so none are "
    "given.",
    cases=(Case(CASE, _measure_here, limit_s=3600),),
    metrics=(
        Metric("vm.total_mib", CASE, "MiB", "lower", raw("total_mib")),
        Metric("vm.available_before_mib", CASE, "MiB", "lower", raw("available_before_mib")),
        Metric("vm.available_ready_mib", CASE, "MiB", "lower", raw("available_ready_mib")),
        Metric("vm.available_min_mib", CASE, "MiB", "lower", raw("available_mib"), "min"),
        Metric("vm.peak_rss_mib", CASE, "MiB", "higher", raw("peak_rss_mib"), "max"),
        Metric("vm.anonymous_mib", CASE, "MiB", "higher", raw("anonymous_mib"), "max"),
        Metric("vm.refaulted_mib", CASE, "MiB", "higher", raw("refaulted_mib"), "max"),
        Metric("vm.oom_kills", CASE, "processes", "higher", raw("oom_kills"), "max"),
        Metric("vm.expected_status_share", CASE, "share", "lower", EXPECTED_STATUS_SHARE),
    ),
)
