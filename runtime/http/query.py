"""The parameters after the `?`, decoded to a typed struct."""

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from runtime.http.errors import ApiError, Fault, invalid, misshapen
from runtime.http.shape import faults

T = TypeVar("T")


def decode_query(request: Request, kind: type[T]) -> T:
    """The query as a `kind`: numbers and booleans from their text, a parameter of a list type as often as it is sent.

    Raises ApiError: 422, naming the parameter, where one is unknown, repeated or of another type; 400 where the query
    is not UTF-8.
    """
    given = request.query_params.multi_items()
    replaced = any("\ufffd" in name + text for name, text in given)
    if replaced and b"%EF%BF%BD" not in request.scope["query_string"].upper():
        raise ApiError(400, "bad_request", "the query is not valid UTF-8")
    lists = {
        field.encode_name
        for field in msgspec.structs.fields(kind)  # type: ignore[arg-type]
        if isinstance(msgspec.inspect.type_info(field.type), msgspec.inspect.ListType)
    }
    values: dict[str, Any] = {}
    for name, text in given:
        if name in lists:
            values.setdefault(name, []).append(text)
        elif name in values:
            raise invalid("this parameter can be given once", name)
        else:
            values[name] = text
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        found = [Fault.of(error), *faults(values, kind, strict=False)]
        raise misshapen([Fault(path.removeprefix("$."), _as_text(message)) for path, message in found]) from None


def _as_text(message: str) -> str:
    """What can be written in a query where a boolean is expected."""
    return "Expected true or false" if message.startswith("Expected `bool") else message
