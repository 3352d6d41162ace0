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
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from runtime.transfer_files import NOT_READ, Export, Record, TransferError

TIMEOUT_S = 150.0  # above the server's own deadline of a batch
MAX_TRIES = 6  # of one request, where the server says that it is busy
MAX_WAIT_S = 30.0  # between two of them, whatever Retry-After says
BATCH_RECORDS, BATCH_BYTES = 500, 1 << 20  # below the server's limits of 1,000 and 4 MiB
PAGE_ITEMS, PAGE_EVENTS = 100, 1_000
SHOWN_REJECTIONS = 10
_OF_ONE_RECORD = (400, 404, 413, 422)  # statuses that say nothing about the next record

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


T = TypeVar("T")


class Refused(TransferError):
    """A server answered a request with a `status` that says that it will not do it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _Page(msgspec.Struct):
    """Of a catalogue."""

    items: list[Record]
    next: int | None


class _Results(msgspec.Struct):
    """One of each record of a batch."""

    results: list[Record]


class _Line(msgspec.Struct):
    """What every line of an export has."""

    sequence: int


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
    """A server, and the key that it asks for. Raises TransferError for anything but a good answer, and Refused for one
    of 4xx."""

    def __init__(self, url: str, key: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
        except ValueError:
            raise TransferError(f"{url!r} is not an address such as http://127.0.0.1:8080") from None
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url = url
        self._connection = kind(parts.hostname, port, timeout=TIMEOUT_S)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._sleep = sleep

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """The body of a 2xx response; sent again, after what Retry-After says, while the server is busy."""
        payload = None if body is None else msgspec.json.encode(body)
        headers = self._headers | ({} if payload is None else {"content-type": "application/json"})
        for left in reversed(range(MAX_TRIES)):
            try:
                response, content = self._answer(method, path, payload, headers)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise TransferError(f"no answer from {self.url}: {error}; try again, nothing is stored twice") from None
            if response.status < 300:
                return content
            if response.status not in (429, 503) or not left:
                text = f"{method} {self.url}{path} answered {response.status}: {_reason(content)}"
                raise Refused(text, response.status) if 400 <= response.status < 500 else TransferError(text)
            self._sleep(waiting_s(response.headers.get("retry-after")))
        raise AssertionError("this is a bug: the last try returns or raises")

    def _answer(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        used = self._connection.sock is not None
        try:
            self._connection.request(method, self._prefix + path, payload, headers)
            response = self._connection.getresponse()
            return response, response.read()
        except ConnectionError:  # as of a server that closed the connection while the other side was at work
            self._connection.close()
            if not used:
                raise
            return self._answer(method, path, payload, headers)

    def decoded(self, kind: type[T], method: str, path: str, body: object = None) -> T:
        """As `call`, decoded from JSON."""
        return self._decode(kind, self.call(method, path, body), f"{method} {path.partition('?')[0]}")

    def _decode(self, kind: type[T], content: bytes, request: str) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except NOT_READ as error:
            raise TransferError(
                f"{self.url} did not answer {request} as vows-edge does ({error}); check the address"
            ) from None

    def items(self) -> Iterator[Record]:
        """Every item that its catalogue lists: hidden ones are not among them."""
        after: int | None = 0
        while after is not None:
            page = self.decoded(_Page, "GET", f"/content?limit={PAGE_ITEMS}&encoding_format=base64&after={after}")
            yield from page.items
            after = page.next

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
            for line in lines:
                yield self._decode(Record, line, "GET /events/export")
            after = self._decode(_Line, lines[-1], "GET /events/export").sequence


def send_items(target: Remote, items: Iterable[Record], progress: Callable[[int], None]) -> Outcome:
    """Store a catalogue."""
    outcome = Outcome()
    for batch in _batches(items):
        sent = [_only(item, ITEM_FIELDS) for item in batch]
        results = target.decoded(_Results, "POST", "/content/batch", sent).results
        for item, result in zip(batch, results, strict=True):
            outcome.add(result["status"], item, result.get("error"))
        progress(outcome.counts.total())
    return outcome


def send_events(target: Remote, events: Iterable[Record], progress: Callable[[int], None]) -> Outcome:
    """Add interactions to the log."""
    outcome = Outcome()
    for batch in _batches(events):
        sent = [_only(event, EVENT_FIELDS) for event in batch]
        results = target.decoded(_Results, "POST", "/interactions", sent).results
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
        results = target.decoded(_Results, "POST", "/events/import", batch).results
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
            outcome.add("stored", user)
        except KeyError as error:
            raise TransferError(f"a line of the preferences has no {error}") from None
        except Refused as error:
            if error.status not in _OF_ONE_RECORD:
                raise
            outcome.add("rejected", user, error)
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


def waiting_s(retry_after: str | None) -> float:
    """What a server's Retry-After means; a second where it is not a number, as a proxy's date."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdecimal()):
        return 1.0
    return min(float(retry_after), MAX_WAIT_S)


def _reason(content: bytes) -> str:
    try:
        error = msgspec.json.decode(content)["error"]
        return f"{error['message']} ({error['field']})" if error.get("field") else str(error["message"])
    except (*NOT_READ, KeyError, TypeError):
        return content[:200].decode(errors="replace")
