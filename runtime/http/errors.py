"""Errors as clients see them: `{"error": {"code", "message", "field"?}}` with the right status."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from runtime.http.json import json_response
from runtime.system.trace import current

_MAX_EXAMPLE_CHARS = 600


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """`code` is stable and for programs, `message` is for people, `field` is a JSON path such as `$.items[3].text`."""

    code: str
    message: str
    field: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """What every refusal looks like."""

    error: Error


class ApiError(Exception):
    """An answer other than success. `retry_after_s` becomes a Retry-After header.

    `reason` is for operators, in metrics and logs: which of the limits was met, which `code` does not say to clients.
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
        self.shows_example = False  # an example of a request helps

    def with_example(self, example: Any) -> "ApiError":
        """The same, ending with a request that works: a body, or the parameters of a query."""
        if example is not None and self.shows_example:
            shown = msgspec.json.encode(example).decode()
            if len(shown) <= _MAX_EXAMPLE_CHARS:
                error = self.error
                self.error = Error(error.code, f"{error.message}. This works: {shown}", error.field)
        return self

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
    """404 for an id that nothing has."""
    return ApiError(404, f"unknown_{what}", f"there is no {what} with id {id!r}")


def invalid(message: str, field: str | None = None) -> ApiError:
    """The JSON is well-formed and typed, but its content cannot be used."""
    return ApiError(422, "invalid_request", message, field=field)


MAX_FAULTS = 10  # listed in one message

_PATH = re.compile(r" - at `(?:key in )?(\$[^`]*)`$")


class Fault(NamedTuple):
    """Something that is wrong with a value, at a JSON path."""

    path: str
    message: str

    @classmethod
    def of(cls, error: msgspec.ValidationError, prefix: str = "$") -> "Fault":
        """msgspec's message, its path taken out."""
        message = str(error)
        match = _PATH.search(message)
        return cls(prefix + match.group(1)[1:] if match else prefix, _PATH.sub("", message))


def misshapen(found: Sequence[Fault]) -> ApiError:
    """422 for JSON of another shape. `found`: the first fault, and then, where they are known, all."""
    faults = list(found[1:]) or list(found)
    if len(faults) == 1:
        refusal = invalid(faults[0].message, faults[0].path)
    else:
        listed = "; ".join(f"{path}: {message}" for path, message in faults[:MAX_FAULTS])
        number = f"more than {MAX_FAULTS}" if len(faults) > MAX_FAULTS else str(len(faults))
        refusal = invalid(f"{number} things are wrong: {listed}", faults[0].path)
    refusal.shows_example = True
    return refusal
