"""Requests that work, changed until many of them do not: in their JSON, their bytes, their path and their headers."""

import json
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

CONTENTS, USERS = 8, 6
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As it is sent."""
        head = [f"{self.method} {self.path} HTTP/1.1", "host: 127.0.0.1"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body is not None:
            head.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + (self.body or b"")


def _vector() -> list[float]:
    return [1.0] + [0.0] * 383


_ITEM = {
    "title": "Oak Barn", "description": "Hay bales.", "vendor_name": "Oak", "tags": ["rustic", "barn"],
    "images": ["https://example.org/a.jpg"],
}  # fmt: skip
_EVENT = {
    "user_id": "user-1", "content_id": "item-1", "type": "save", "timestamp": "2024-05-01T12:00:00Z",
    "duration_ms": 1200, "device": "ios", "context": {"days_to_wedding": 120, "season": "summer", "vip": True},
}  # fmt: skip

# Method, path and body of requests that work, at least one of every endpoint.
WORKING: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/embed", {"text": "a barn", **_ITEM, "encoding_format": "base64"}),
    ("POST", "/embed/batch", {"items": [_ITEM, {"text": "a hall"}], "encoding_format": "float"}),
    ("POST", "/v1/embeddings", {"input": ["a barn", "a hall"], "model": "sentence-bert-v1", "dimensions": 64}),
    ("POST", "/v1/embeddings", {"input": [101, 7, 102], "model": "sentence-bert-v1", "user": "x"}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/sentence-bert-v1", None),
    ("PUT", "/content/item-1", _ITEM),
    ("GET", "/content/item-1", None),
    ("DELETE", "/content/item-7", None),
    ("POST", "/content/batch", [{"id": "item-2", **_ITEM}, {"id": "item-3", "text": "a loft"}]),
    ("POST", "/interactions", _EVENT),
    ("POST", "/interactions", [_EVENT, {"user_id": "user-2", "content_id": "item-2", "type": "view"}]),
    ("PUT", "/user/user-1/preferences", {"preferences": ["rustic", "outdoors"]}),
    ("GET", "/user/user-1/embedding", None),
    ("DELETE", "/user/user-5", None),
    ("POST", "/rank", {"user_id": "user-1", "candidates": ["item-1", "item-2", "nobody"], "top_k": 2}),
    ("POST", "/rank", {"embedding": _vector(), "candidates": ["item-1", {"id": "x", "embedding": _vector()}]}),
    ("POST", "/rank?explain=true", {"user_id": "user-1", "candidates": ["item-1", "item-3"]}),
    ("PATCH", "/content/item-6", {"hidden": True}),
    ("GET", "/content/item-1/similar?top_k=3", None),
    ("POST", "/search", {"text": "a barn", "top_k": 3, "filters": {"tags": ["rustic"]}}),
    ("GET", "/user/user-1/recommendations?top_k=3&exclude_seen=true&diversity=0.3", None),
    ("GET", "/user/user-1/style", None),
    ("DELETE", "/interactions/nothing", None),
    ("GET", "/events/export?after=0&limit=5", None),
    ("POST", "/events/import", [
        {"kind": "change", "experiment": "moved", "change": "stopped", "period": 1,
         "timestamp": "2024-05-01T12:00:00Z", "details": {}},
        {"kind": "exposure", "ranking_id": "r-1", "user_id": "user-1", "experiment": "moved", "period": 1,
         "arm": "control", "model_version": "simple-v1", "timestamp": "2024-05-01T12:00:00Z",
         "items": [{"id": "item-1", "position": 1, "propensity": 1.0}], "not_shown": ["item-2"]},
    ]),
    ("GET", "/content?limit=3&encoding_format=base64", None),
    ("GET", "/user/user-1/preferences", None),
    ("POST", "/user/user-1/next-action", {"candidates": ["item-1", "item-2"], "device": "ios"}),
    ("GET", "/experiments", None),
    ("PUT", "/experiments/fuzzed", {
        "arms": [{"name": "control", "model": "simple", "weight": 0.5}, {"name": "other", "model": "hybrid"}],
        "coverage": 0.1, "metric": "engaged", "window_s": 60, "promote": "manual",
    }),
    ("GET", "/experiments/fuzzed", None),
    ("POST", "/experiments/fuzzed/stop", None),
    ("POST", "/experiments/fuzzed/promote?arm=other", None),
    ("POST", "/experiments/fuzzed/rollback", None),
    ("GET", "/models", None),
    ("POST", "/models/minilm/back", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/info", None),
    ("GET", "/metrics", None),
    ("GET", "/", None),
    ("GET", "/page/page.js", None),
    ("GET", "/docs", None),
    ("GET", "/openapi.json", None),
)  # fmt: skip

# JSON texts that something has choked on somewhere.
NASTY: tuple[bytes, ...] = (
    b"null", b"true", b"0", b"-1", b"-0.0", b"1e400", b"-1e400", b"1e-400", b"NaN", b"Infinity",
    b"18446744073709551616",
    b"-9223372036854775809", b"0.1", b"1" * 400, b'""', b'" "', b'"\\u0000"', b'"\\ud800"', b'"\\udfff\\ud800"',
    b'"\\ud83d\\ude00"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"' + b"a" * 300 + b'"', b'"' + b"\\u00e9" * 200 + b'"',
    b'"' + b"barn " * 8_000 + b'"', b"[]", b"{}", b"[[]]", b'[{"a":[]}]', b"[" * 2_000, b"[" * 60 + b"]" * 60,
    b'{"a":' * 1_500, b'{"":0}', b'{"a":1,"a":2}', b"[" + b"0," * 3_000 + b"0]", b'"2024-13-45T99:99:99Z"',
    b'"9999-12-31T23:59:59.999999999+23:59"', b'"0001-01-01T00:00:00-23:59"', b'"2024-05-01"', b'"-1"', b'"save"',
    b'"../../etc/passwd"', b'"a/b?c#d%00"', b"\xef\xbb\xbf1", b"1 2", b"'x'", b"//", b"",
)  # fmt: skip
_PLACE = "\x01place\x01"


def _paths(value: Any, path: Path = ()) -> list[Path]:
    """Every place inside a JSON value; of a long list only the first few."""
    found = [path]
    if isinstance(value, dict):
        for name, inner in value.items():
            found += _paths(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:3]):
            found += _paths(inner, (*path, number))
    return found


def _with(value: Any, path: Path, new: Any) -> Any:
    """A copy with `new` at `path`; where new is None, without what was there."""
    if not path:
        return new
    first, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[first] = _with(copy[first], tuple(rest), new)
    elif new is None:
        del copy[first]
    else:
        copy[first] = new
    return copy


@st.composite
def _mutated_json(draw: st.DrawFn, value: Any) -> bytes:
    """The value as JSON with one to three places replaced, removed, duplicated or renamed."""
    replaced: list[bytes] = []
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(value)))
        how = draw(st.sampled_from(("nasty", "nasty", "any", "text", "remove", "rename", "swap")))
        if how == "remove" and path:
            value = _with(value, path, None)
        elif how == "rename" and path and isinstance(path[-1], str):
            value = _with(_with(value, path, None), (*path[:-1], draw(st.text(max_size=8))), 1)
        elif how == "swap":
            value = _with(value, path, draw(st.sampled_from(WORKING))[2] or [])
        elif how == "any":
            value = _with(value, path, draw(_json) or {})
        elif how == "text":
            value = _with(value, path, draw(st.text(max_size=60)))
        else:
            value = _with(value, path, f"{_PLACE}{len(replaced)}")
            replaced.append(draw(st.sampled_from(NASTY)))
    body = json.dumps(value).encode()
    for number, nasty in enumerate(replaced):
        body = body.replace(json.dumps(f"{_PLACE}{number}").encode(), nasty)
    return body


_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
_json = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def _mutated_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """The bytes with pieces cut, duplicated, flipped or put in."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        how = draw(st.sampled_from(("cut", "double", "flip", "insert", "end")))
        size = draw(st.integers(1, 16))
        if how == "cut":
            body = body[:at] + body[at + size :]
        elif how == "double":
            body = body[: at + size] + body[at:]
        elif how == "flip" and at < len(body):
            body = body[:at] + bytes([body[at] ^ (1 << (size % 8))]) + body[at + 1 :]
        elif how == "insert":
            body = body[:at] + draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(NASTY))) + body[at:]
        else:
            body = body[:at]
    return body


_ids = st.one_of(
    st.integers(0, CONTENTS).map(lambda n: f"item-{n}"),
    st.integers(0, USERS).map(lambda n: f"user-{n}"),
    st.text(min_size=1, max_size=20),
    st.sampled_from(("%", "%2", "%00", "%FF", "%C3", "..", "a%2Fb", "a/b", "x" * 257, "%C3%A9" * 129, "?", "#", " ")),
)


_PARAMETERS = (
    "top_k", "tag", "vendor", "category", "exclude_seen", "diversity", "explain", "weeks", "dislikes", "after", "limit",
    "", "%00", "a",
)  # fmt: skip
_texts = st.one_of(
    st.text(max_size=10), st.sampled_from(("1", "-1", "0", "1e9", "NaN", "inf", "true", "9" * 30, "0.5"))
)


@st.composite
def _mutated_path(draw: st.DrawFn, path: str) -> str:
    """Another id, a query, a slash too many, an escape that is none."""
    parts = path.split("/")
    how = draw(st.sampled_from(("id", "id", "id", "query", "slash", "raw")))
    if how == "query":
        given = draw(st.lists(st.tuples(st.sampled_from(_PARAMETERS), _texts), min_size=1, max_size=3))
        return f"{path}?{'&'.join(f'{name}={quote(text)}' for name, text in given)}"
    if how == "slash":
        return path + draw(st.sampled_from(("/", "//", "/..", "/embedding", "/%2e%2e")))
    at = draw(st.integers(1, len(parts) - 1))
    new = draw(_ids)
    parts[at] = new if "%" in new else quote(new, safe="" if how == "id" else "/?#")
    return "/".join(parts)


_HEADERS: tuple[tuple[str, str], ...] = (
    ("content-type", "text/plain"), ("content-type", ""), ("content-type", "application/json; charset=utf-16"),
    ("content-type", "application/x-ndjson"), ("accept", "application/octet-stream"), ("accept", "\x7f"),
    ("expect", "100-continue"), ("x-long", "y" * 5_000), ("connection", "close"), ("connection", "upgrade"),
    ("upgrade", "h2c"), ("content-encoding", "gzip"), ("range", "bytes=0-"), ("authorization", "Bearer \xff"),
    ("x-request-id", "'\";--" * 20), ("traceparent", "00-0-0-00"), ("cookie", "a=b; " * 50),
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """One request: from one that works, by any of the ways above."""
    method, path, value = draw(st.sampled_from(WORKING))
    request = Request(method, path)
    if value is not None:
        body = json.dumps(value).encode()
        how = draw(st.sampled_from(("json", "json", "json", "json", "bytes", "bytes", "nasty", "lines", "whole")))
        if how == "json":
            body = draw(_mutated_json(value))
        elif how == "bytes":
            body = draw(_mutated_bytes(body))
        elif how == "nasty":
            body = draw(st.sampled_from(NASTY))
        elif how == "lines":
            body = b"\n".join(draw(st.lists(_mutated_json(value), max_size=4)))
        request = replace(request, body=body, headers={"content-type": "application/json"})
    for change in draw(st.lists(st.sampled_from(("path", "header", "method")), max_size=2)):
        if change == "path":
            request = replace(request, path=draw(_mutated_path(request.path.partition("?")[0])))
        elif change == "header":
            name, text = draw(st.sampled_from(_HEADERS))
            request = replace(request, headers={**request.headers, name: text})
        else:
            wrong = draw(st.sampled_from(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW")))
            request = replace(request, method=wrong)
    return request
