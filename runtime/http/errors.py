"""Errors as clients see them: `{"error": {"code", "message", "field"?}}` with the right status."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from runtime.http.json import json_response
from runtime.system.trace import current


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """`code` is stable and for programs, `message` is for people, `field` is a JSON path such as `$.items[3].text`."""

    code: str
    message: str
    field: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    error: Error


class ApiError(Exception):
    """An answer other than success. `retry_after_s` becomes a Retry-After header.

    `reason` tells operators, in metrics and logs, what `code` does not tell clients: which of the limits was met.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = Error(code, message, field)
        self.retry_after_s = retry_after_s
        self.headers = headers or {}
        self.reason = reason or code

    def note(self) -> None:
        """Tell the request's trace, for metrics and the log."""
        if (trace := current.get()) is not None:
            trace.code, trace.reason = self.error.code, self.reason

    def response(self, shape: "ErrorShape | None" = None) -> Response:
        """The answer, noted."""
        self.note()
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        status, body = (shape or ERRORS).render(self)
        return json_response(body, status=status, headers=headers)


@dataclass(frozen=True)
class ErrorShape:
    """How an endpoint's errors look: `render` gives the status and the body, of the type `body`."""

    body: Any
    render: Callable[[ApiError], tuple[int, Any]]


ERRORS = ErrorShape(ErrorBody, lambda error: (error.status, ErrorBody(error.error)))


def not_found(what: str, id: str) -> ApiError:
    return ApiError(404, f"unknown_{what}", f"there is no {what} with id {id!r}")


def invalid(message: str, field: str | None = None) -> ApiError:
    """The JSON is well-formed and typed, but its content cannot be used."""
    return ApiError(422, "invalid_request", message, field=field)


_PATH = re.compile(r" - at `(?:key in )?(\$[^`]*)`$")


def from_validation(error: msgspec.ValidationError, prefix: str = "$") -> ApiError:
    """msgspec's message with its path taken out into `field`."""
    message = str(error)
    match = _PATH.search(message)
    field = prefix + match.group(1)[1:] if match else prefix
    return invalid(_PATH.sub("", message), field)
