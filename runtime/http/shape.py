"""All that is wrong with a value of a declared type: msgspec stops at the first fault, and names no allowed values."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from runtime.http.errors import MAX_FAULTS, Fault

_ENUM = re.compile(r"Invalid enum value (.*)")
_QUOTED_CHARS = 64


def faults(value: Any, kind: Any, path: str = "$", *, strict: bool = True) -> list[Fault]:
    """What is wrong with a decoded JSON value for a type, with JSON paths: the first MAX_FAULTS + 1 of it.

    strict: False where numbers and booleans may be text.
    """
    return list(islice(_faults(value, kind, path, strict), MAX_FAULTS + 1))


def _faults(value: Any, kind: Any, path: str, strict: bool) -> Iterator[Fault]:
    base, constraints = _plain(kind)
    if get_origin(base) in (Union, UnionType):
        base, constraints = _plain(_member(value, base))
    if isinstance(value, dict) and _is_struct(base):
        yield from _of_struct(value, base, path, strict)
    elif isinstance(value, list) and get_origin(base) is list:
        found = list(_leaf(value, Annotated[(list[Any], *constraints)] if constraints else list[Any], path, strict))
        yield from found
        if not found:
            for number, item in enumerate(value):
                yield from _faults(item, get_args(base)[0], f"{path}[{number}]", strict)
    elif base not in (Any, msgspec.Raw):
        yield from _leaf(value, Annotated[(base, *constraints)] if constraints else base, path, strict)


def _of_struct(value: dict[str, Any], kind: Any, path: str, strict: bool) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    missing = [name for name, field in fields.items() if field.required and name not in value]
    if kind.__struct_config__.forbid_unknown_fields:
        for name in value:
            if name not in fields:
                near = _near(name, missing) or _near(name, fields)
                hint = f"did you mean {near}?" if near else f"known are {', '.join(fields)}"
                yield Fault(path, f"Object contains unknown field `{name[:_QUOTED_CHARS]}`; {hint}")
    for name, field in fields.items():
        if name in value:
            yield from _faults(value[name], field.type, f"{path}.{name}", strict)
        elif field.required:
            yield Fault(path, f"Object missing required field `{name}`")


def _near(name: str, names: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name[:_QUOTED_CHARS], names, n=1)), None)


def _leaf(value: Any, kind: Any, path: str, strict: bool) -> Iterator[Fault]:
    try:
        msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        fault = Fault.of(error, path)
        match = _ENUM.fullmatch(fault.message)
        choices = list(_choices(kind))
        if match and choices:
            fault = Fault(fault.path, f"{match.group(1)[:_QUOTED_CHARS]} is not one of {', '.join(choices)}")
        yield fault


def _choices(kind: Any) -> Iterator[str]:
    """The values of the Literals in a type."""
    if get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    else:
        for part in get_args(kind):
            yield from _choices(part)


def _member(value: Any, union: Any) -> Any:
    """The member of a union that a value of this JSON type can be; the union where that is not one."""
    members = get_args(union)
    if isinstance(value, dict):
        fitting = [member for member in members if _is_struct(_plain(member)[0])]
    elif isinstance(value, list):
        fitting = [member for member in members if get_origin(_plain(member)[0]) is list]
    else:
        fitting = []
    return fitting[0] if len(fitting) == 1 else union


def _plain(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its constraints, and those."""
    if get_origin(kind) is Annotated:
        base, *constraints = get_args(kind)
        return base, tuple(constraints)
    return kind, ()


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag is None
