"""Catalogue, interactions, experiments and preferences from files or another server into a server, over the HTTP API
alone.

Requests go out from the command that imports, never from the server. Every step can be repeated: an item that is there
is unchanged, an event with the same `event_id` is a duplicate, preferences are replaced.
"""

import http.client
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

TIMEOUT_S = 150.0  # above the server's own deadline of a batch
MAX_TRIES = 6  # of one request, where the server says that it is busy
MAX_WAIT_S = 30.0  # between two of them, whatever Retry-After says
MAX_LINE_BYTES = 1 << 20
BATCH_RECORDS, BATCH_BYTES = 500, 1 << 20  # below the server's limits of 1,000 and 4 MiB
PAGE_ITEMS, PAGE_EVENTS = 100, 1_000
SHOWN_REJECTIONS = 10

# What the API takes of what it gives; vectors and times of storage are made anew.
ITEM_FIELDS = ("id", "type", "text", "title", "description", "vendor_name", "category", "tags", "images", "hidden")
EVENT_FIELDS = (
    "event_id",
    "user_id",
    "content_id",
    "type",
    "timestamp",
    "duration_ms",
    "device",
    "context",
    "ranking_id",
)
_BEHIND_ALL = 2**63 - 1  # of the sequence of an event

Record = dict[str, Any]


class TransferError(Exception):
    """The import cannot go on. The message says which address or line, what was found and what to do."""


@dataclass
class Outcome:
    """How many records ended how (`created`, `stored`, `duplicate`, `rejected` …), and the first that were rejected."""

    counts: Counter[str] = field(default_factory=Counter)
    rejections: list[str] = field(default_factory=list)

    def add(self, status: str, record: Record, error: Any = None) -> None:
        """Count one more, and keep what it says where it was rejected."""
        self.counts[status] += 1
        if status == "rejected" and len(self.rejections) < SHOWN_REJECTIONS:
            name = record.get("id") or record.get("event_id") or record.get("ranking_id") or record.get("user_id")
            self.rejections.append(f"{name}: {error.get('message', error) if isinstance(error, dict) else error}")


class Remote:
    """A server, and the key that it asks for. Raises TransferError for anything but a good answer."""

    def __init__(self, url: str, key: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TransferError(f"{url!r} is not an address such as http://127.0.0.1:8080")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url = url
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._sleep = sleep

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """The body of a 2xx response; sent again, after what Retry-After says, while the server is busy."""
        payload = None if body is None else msgspec.json.encode(body)
        headers = self._headers | ({} if payload is None else {"content-type": "application/json"})
        for left in reversed(range(MAX_TRIES)):
            try:
                self._connection.request(method, self._prefix + path, payload, headers)
                response = self._connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise TransferError(f"no answer from {self.url}: {error}; try again, nothing is stored twice") from None
            if response.status < 300:
                return content
            if response.status not in (429, 503) or not left:
                raise TransferError(f"{method} {self.url}{path} answered {response.status}: {_reason(content)}")
            self._sleep(min(float(response.headers.get("retry-after") or 1), MAX_WAIT_S))
        raise AssertionError("this is a bug: the last try returns or raises")

    def decoded(self, method: str, path: str, body: object = None) -> Any:
        """As `call`, decoded from JSON."""
        return msgspec.json.decode(self.call(method, path, body))

    def items(self) -> Iterator[Record]:
        """Every item that its catalogue lists: hidden ones are not among them."""
        after: int | None = 0
        while after is not None:
            page = self.decoded("GET", f"/content?limit={PAGE_ITEMS}&encoding_format=base64&after={after}")
            yield from page["items"]
            after = page["next"]

    def events(self) -> Iterator[Record]:
        """Every event of its log."""
        return self._exported("after={}")

    def exposures(self) -> Iterator[Record]:
        """Every ranking that its experiments showed."""
        return self._exported(f"after={_BEHIND_ALL}&exposures_after={{}}")

    def changes(self) -> Iterator[Record]:
        """Everything that was done to its experiments."""
        return self._exported(f"after={_BEHIND_ALL}&changes_after={{}}")

    def _exported(self, query: str) -> Iterator[Record]:
        after = 0
        while lines := self.call("GET", f"/events/export?limit={PAGE_EVENTS}&{query.format(after)}").splitlines():
            page = [msgspec.json.decode(line) for line in lines]
            yield from page
            after = page[-1]["sequence"]


class Export:
    """A file that GET /events/export wrote, or one with events alone."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def events(self) -> Iterator[Record]:
        """Its lines that are events."""
        return (line for line in records_of(self._file) if line.get("kind", "interaction") == "interaction")

    def exposures(self) -> Iterator[Record]:
        """Its lines that are rankings which experiments showed."""
        return (line for line in records_of(self._file) if line.get("kind") == "exposure")

    def changes(self) -> Iterator[Record]:
        """Its lines that say what was done to experiments."""
        return (line for line in records_of(self._file) if line.get("kind") == "change")


def records_of(file: Path) -> Iterator[Record]:
    """The JSON objects of a file with one a line."""
    with file.open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise TransferError(f"{file}, line {number} has more than {MAX_LINE_BYTES} bytes, the limit")
            if line.isspace():
                continue
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise TransferError(f"{file}, line {number} is not a JSON object: {error}") from None


def send_items(target: Remote, items: Iterable[Record], progress: Callable[[int], None]) -> Outcome:
    """Store a catalogue."""
    outcome = Outcome()
    for batch in _batches(items):
        sent = [_only(item, ITEM_FIELDS) for item in batch]
        results = target.decoded("POST", "/content/batch", sent)["results"]
        for item, result in zip(batch, results, strict=True):
            outcome.add(result["status"], item, result.get("error"))
        progress(outcome.counts.total())
    return outcome


def send_events(target: Remote, events: Iterable[Record], progress: Callable[[int], None]) -> Outcome:
    """Add interactions to the log."""
    outcome = Outcome()
    for batch in _batches(events):
        results = target.decoded("POST", "/interactions", [_only(event, EVENT_FIELDS) for event in batch])["results"]
        for event, result in zip(batch, results, strict=True):
            outcome.add(result["status"], event, result.get("error"))
        progress(outcome.counts.total())
    return outcome


def send_log(target: Remote, source: Remote | Export, progress: Callable[[int], None]) -> dict[str, Outcome]:
    """Add events, and experiments with what they showed; the outcomes by name, without those of experiments where there
    are none. An outcome counts in the target once, from the events that are there: so these go first, and those that
    answer a ranking once more, when that is there."""
    changed = _send_experiments(target, source.changes(), progress)
    outcomes = {"events": send_events(target, source.events(), progress)}
    shown = _send_experiments(target, source.exposures(), progress)
    if shown.counts:
        send_events(target, (event for event in source.events() if "ranking_id" in event), progress)
    return outcomes | {name: one for name, one in (("experiments", changed), ("exposures", shown)) if one.counts}


def _send_experiments(target: Remote, lines: Iterable[Record], progress: Callable[[int], None]) -> Outcome:
    outcome = Outcome()
    for batch in _batches(lines):
        results = target.decoded("POST", "/events/import", batch)["results"]
        for line, result in zip(batch, results, strict=True):
            outcome.add(result["status"], line, result.get("error"))
        progress(outcome.counts.total())
    return outcome


def send_preferences(target: Remote, users: Iterable[Record], progress: Callable[[int], None]) -> Outcome:
    """Set onboarding preferences; a record has `user_id` and `preferences`."""
    outcome = Outcome()
    for user in users:
        try:
            path = f"/user/{quote(str(user['user_id']), safe='')}/preferences"
            target.call("PUT", path, {"preferences": user["preferences"]})
        except KeyError as error:
            raise TransferError(f"a line of the preferences has no {error}") from None
        outcome.add("stored", user)
        progress(outcome.counts.total())
    return outcome


def _only(record: Record, names: tuple[str, ...]) -> Record:
    return {name: record[name] for name in names if name in record}


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        length = len(msgspec.json.encode(record))
        if batch and (len(batch) == BATCH_RECORDS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch


def _reason(content: bytes) -> str:
    try:
        error = msgspec.json.decode(content)["error"]
        return f"{error['message']} ({error['field']})" if error.get("field") else str(error["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
