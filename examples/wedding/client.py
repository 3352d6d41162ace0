"""The few requests the demo makes, over the standard library alone."""

import http.client
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from examples.wedding.journeys import Item

TIMEOUT_S = 60.0
BATCH_ITEMS = 20  # small enough that progress is seen, far below the server's limit of 1,000


def own_server(environ: Mapping[str, str] = os.environ) -> str:
    """The address of the server that `VOWS_HOST` and `VOWS_PORT` start, as this machine reaches it."""
    host = environ.get("VOWS_HOST") or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = environ.get("VOWS_PORT") or environ.get("PORT") or "8080"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class ServerError(Exception):
    """The server is not there, or it said no. The message is meant for the person at the terminal."""


class Client:
    """One connection to a server. Raises ServerError for anything but a good answer."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerError(f"{url!r} is not an address such as http://127.0.0.1:8080")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        except ValueError as error:  # raised by .port
            raise ServerError(f"{url!r}: {error}") from None
        self._url = url
        self._key = key
        self._prefix = parts.path.rstrip("/")

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer to one request."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {} if payload is None else {"content-type": "application/json"}
        if self._key:
            headers["x-api-key"] = self._key
        try:
            self._connection.request(method, self._prefix + path, payload, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ServerError(f"no answer from {self._url} ({error}): start the server with `make run`") from None
        try:
            answer = json.loads(text) if text else None
        except ValueError:
            raise ServerError(
                f"{method} {path}: {response.status} without JSON; what answers at {self._url}?"
            ) from None
        if response.status >= 400:
            raise ServerError(f"{method} {path}: {response.status} {_reason(answer)}")
        return answer

    def check_ready(self) -> None:
        """Raise unless the server says that its model answers."""
        self.request("GET", "/readyz")

    def put_items(self, items: list[Item]) -> dict[str, int]:
        """Store items; how many were created, replaced and unchanged. Raises for the first that is rejected."""
        counts: dict[str, int] = {}
        for result in self.request("POST", "/content/batch", items)["results"]:
            if result["status"] == "rejected":
                raise ServerError(f"item {result['id']} was rejected: {_reason(result)}")
            counts[result["status"]] = counts.get(result["status"], 0) + 1
        return counts

    def add_interactions(self, interactions: list[dict[str, str]]) -> int:
        """Send events; how many of them were new. Raises for the first that is rejected."""
        answer = self.request("POST", "/interactions", interactions)
        for sent, result in zip(interactions, answer["results"], strict=True):
            if result["status"] == "rejected":
                raise ServerError(f"event {sent['event_id']} was rejected: {_reason(result)}")
        return int(answer["stored"])

    def put_preferences(self, user_id: str, preferences: list[str]) -> None:
        """Set a user's onboarding preferences."""
        self.request("PUT", f"/user/{quote(user_id, safe='')}/preferences", {"preferences": preferences})

    def embedding(self, user_id: str) -> list[float]:
        """The user's vector, of unit length."""
        vector: list[float] = self.request("GET", f"/user/{quote(user_id, safe='')}/embedding")["embedding"]
        return vector

    def rank(self, user_id: str, candidates: list[str]) -> tuple[str, list[tuple[str, float]]]:
        """The source of the user's vector, and the candidates with their scores, best first."""
        answer = self.request("POST", "/rank", {"user_id": user_id, "candidates": candidates})
        if answer["unknown"]:
            raise ServerError(
                f"the server has not stored {', '.join(answer['unknown'][:3])}: was the catalogue loaded?"
            )
        return answer["source"], [(one["id"], one["score"]) for one in answer["ranked"]]

    def delete_user(self, user_id: str) -> None:
        """Delete everything that the server stores about the user."""
        self.request("DELETE", f"/user/{quote(user_id, safe='')}")


def _reason(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return str(error or answer)
    field = f" (at {error['field']})" if error.get("field") else ""
    return f"{error.get('message', error)}{field}"
