"""Mixed traffic over every endpoint, drawn from a seed, each request with the statuses it must be answered by."""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.http_client import Connection, build_request
from bench.suite import Samples, share
from bench.texts import TextSource

SHORTEST_TOKENS, LONGEST_TOKENS = 4, 256
DIMENSIONS = 384
EXPECTED_STATUS_SHARE = share("expected_status", "requests")  # of `send_checked`
CONTENTS, USERS = 120, 60  # pools that ids are drawn from, so that what is kept stays bounded


@dataclass(frozen=True)
class CheckedRequest:
    """A request and the statuses that are right for it."""

    name: str
    request: bytes
    expected: frozenset[int]


def store_items(connection: Connection, count: int) -> None:
    """Store `item-0` … with a text of their own each."""
    items = [{"id": f"item-{n}", "text": f"a barn with {n} windows"} for n in range(count)]
    connection.request_json(build_request("POST", "/content/batch", items))


def send_checked(connection: Connection, checked: CheckedRequest, samples: Samples) -> None:
    """Send a request and count whether its status is right; a wrong one is noted with its answer."""
    status, body = connection.send(checked.request)
    samples.count("requests")
    samples.count("expected_status", int(status in checked.expected))
    if status not in checked.expected:
        samples.note(f"unexpected.{checked.name}", f"{status}: {body[:200]!r}")


class MixedTraffic:
    """An endless stream of requests for one client: it knows which content is there, so a wrong status is seen.

    The first requests load the catalogue and touch every endpoint once; the rest are drawn by weight.
    """

    def __init__(self, source: TextSource, seed: int) -> None:
        self._random = random.Random(seed)
        self._source = source
        self._stored: set[str] = set()
        self._weights: dict[Callable[[], CheckedRequest], int] = {
            self._embed: 30,
            self._embed_batch: 4,
            self._put_content: 14,
            self._get_content: 6,
            self._delete_content: 3,
            self._content_json: 2,
            self._content_ndjson: 2,
            self._interactions: 16,
            self._preferences: 4,
            self._user_embedding: 8,
            self._delete_user: 1,
            self._rank_user: 4,
            self._rank_embedding: 3,
            self._rank_explained: 1,
            self._search: 3,
            self._similar: 2,
            self._recommendations: 3,
            self._style: 1,
            self._hide: 1,
            self._undo: 1,
            self._operations: 3,
        }

    def __iter__(self) -> Iterator[CheckedRequest]:
        yield self._content_json()
        for draw in self._weights:
            yield draw()
        while True:
            yield self._random.choices(list(self._weights), list(self._weights.values()))[0]()

    def large_batch(self, items: int = 32, tokens: int = LONGEST_TOKENS) -> CheckedRequest:
        """The one batch that decides about peak memory."""
        texts = self._source.texts(tokens, items)
        body = {"items": [{"type": "content", "text": text} for text in texts]}
        return CheckedRequest("embed/batch", build_request("POST", "/embed/batch", body), frozenset({200}))

    def _text(self) -> str:
        low, high = math.log(SHORTEST_TOKENS), math.log(LONGEST_TOKENS)
        return self._source.text(round(math.exp(self._random.uniform(low, high))))

    def _fields(self) -> dict[str, object]:
        fields: dict[str, object] = {"type": "content"}
        if self._random.random() < 0.5:
            return {**fields, "text": self._text()}
        return {
            **fields,
            "title": self._source.text(8),
            "description": self._text(),
            "vendor_name": "Hollow Oak",
            "tags": ["rustic", "outdoor"],
            "images": ["https://example.org/a.jpg"],
        }

    def _content_id(self) -> str:
        return f"item-{self._random.randrange(CONTENTS)}"

    def _stored_ids(self, most: int) -> list[str]:
        ids = sorted(self._stored)
        return self._random.sample(ids, min(len(ids), self._random.randint(1, most)))

    def _user(self) -> str:
        return f"user-{self._random.randrange(USERS)}"

    def _embed(self) -> CheckedRequest:
        return _checked("embed", "POST", "/embed", self._fields())

    def _embed_batch(self) -> CheckedRequest:
        items = [self._fields() for _ in range(self._random.randint(2, 6))]
        return _checked("embed/batch", "POST", "/embed/batch", {"items": items})

    def _put_content(self) -> CheckedRequest:
        content = self._content_id()
        self._stored.add(content)
        return _checked("content put", "PUT", f"/content/{content}", self._fields())

    def _get_content(self) -> CheckedRequest:
        content = self._content_id()
        return _checked("content get", "GET", f"/content/{content}", expected=200 if content in self._stored else 404)

    def _delete_content(self) -> CheckedRequest:
        content = self._content_id()
        expected = 204 if content in self._stored else 404
        self._stored.discard(content)
        return _checked("content delete", "DELETE", f"/content/{content}", expected=expected)

    def _items(self) -> list[dict[str, object]]:
        ids = [self._content_id() for _ in range(self._random.randint(2, 6))]
        self._stored.update(ids)
        return [{"id": content, **self._fields()} for content in dict.fromkeys(ids)]

    def _content_json(self) -> CheckedRequest:
        return _checked("content/batch json", "POST", "/content/batch", self._items())

    def _content_ndjson(self) -> CheckedRequest:
        lines = "\n".join(json.dumps(item) for item in self._items()).encode()
        request = build_request("POST", "/content/batch", lines, content_type="application/x-ndjson")
        return CheckedRequest("content/batch ndjson", request, frozenset({200}))

    def _interactions(self) -> CheckedRequest:
        kinds = ("view", "view", "view", "save", "share", "skip")
        events = [
            {"user_id": self._user(), "content_id": content, "type": self._random.choice(kinds)}
            for content in self._stored_ids(5)
        ]
        return _checked("interactions", "POST", "/interactions", events or [self._orphan()])

    def _orphan(self) -> dict[str, str]:
        return {"user_id": self._user(), "content_id": "never-stored", "type": "view"}

    def _preferences(self) -> CheckedRequest:
        preferences = {"preferences": [self._source.text(5), self._source.text(4)]}
        return _checked("preferences", "PUT", f"/user/{self._user()}/preferences", preferences)

    def _user_embedding(self) -> CheckedRequest:
        return _checked("user embedding", "GET", f"/user/{self._user()}/embedding")

    def _delete_user(self) -> CheckedRequest:
        return _checked("user delete", "DELETE", f"/user/{self._user()}")

    def _rank_user(self) -> CheckedRequest:
        candidates = [*self._stored_ids(40), "never-stored"]
        return _checked("rank user", "POST", "/rank", {"user_id": self._user(), "candidates": candidates, "top_k": 10})

    def _rank_embedding(self) -> CheckedRequest:
        candidates: list[object] = [*self._stored_ids(10), {"id": "given", "embedding": self._vector()}]
        return _checked("rank embedding", "POST", "/rank", {"embedding": self._vector(), "candidates": candidates})

    def _rank_explained(self) -> CheckedRequest:
        body = {"user_id": self._user(), "candidates": [*self._stored_ids(10), "never-stored"]}
        return _checked("rank explained", "POST", "/rank?explain=true", body)

    def _search(self) -> CheckedRequest:
        filters = self._random.choice(({}, {"tags": ["rustic"]}, {"vendor": "Hollow Oak", "tags": ["outdoor"]}))
        return _checked("search", "POST", "/search", {"text": self._text(), "filters": filters, "top_k": 10})

    def _similar(self) -> CheckedRequest:
        content = self._content_id()
        expected = 200 if content in self._stored else 404
        return _checked("similar", "GET", f"/content/{content}/similar?top_k=5", expected=expected)

    def _recommendations(self) -> CheckedRequest:
        query = self._random.choice(("", "?diversity=0.4", "?exclude_seen=false&tag=rustic"))
        return _checked("recommendations", "GET", f"/user/{self._user()}/recommendations{query}")

    def _style(self) -> CheckedRequest:
        return _checked("style", "GET", f"/user/{self._user()}/style?weeks=8&dislikes=true")

    def _hide(self) -> CheckedRequest:
        content = self._content_id()
        expected = 200 if content in self._stored else 404
        return _checked("hide", "PATCH", f"/content/{content}", {"hidden": False}, expected=expected)

    def _undo(self) -> CheckedRequest:
        return _checked("undo", "DELETE", "/interactions/never-stored", expected=404)

    def _vector(self) -> list[float]:
        values = [self._random.gauss(0, 1) for _ in range(DIMENSIONS)]
        norm = math.sqrt(sum(value * value for value in values))
        return [value / norm for value in values]

    def _operations(self) -> CheckedRequest:
        path = self._random.choice(("/healthz", "/readyz", "/info", "/openapi.json", "/docs"))
        return _checked(path[1:], "GET", path)


def _checked(name: str, method: str, path: str, body: object = None, expected: int = 200) -> CheckedRequest:
    return CheckedRequest(name, build_request(method, path, body), frozenset({expected}))
