"""JSON that is not of the declared type and yet clear: null for what is not given, a whole number for an id, 3.0 for 3,
and fields of answers that are sent back."""

from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

# A field of an answer that a request may repeat: whatever it is, it is ignored.
ReadOnly = Annotated[msgspec.Raw, msgspec.Meta(description="Ignored: an answer can be sent back as it came.")]
_NOTHING = msgspec.Raw()  # one for all: a body may have as many items as it has values
NOT_GIVEN: Any = msgspec.field(default_factory=lambda: _NOTHING)

# In a type's Meta(extra=…): a whole number stands for its digits.
NUMBERS = "numbers"

# A body of more objects is not mended: each takes a hundred bytes, twice. No request that is allowed has as many.
_MOST_OBJECTS = 20_000

# Beyond it a floating-point number stands for several whole ones.
_LARGEST_INTEGER = 2**53

# A decoded JSON value with what is clear put in its place. What else is wrong with it stays.
Mend = Callable[[Any], Any]


@cache
def mender(kind: Any) -> Mend | None:
    """How values that a type does not take are mended; None where nothing in it can be.

    Optional fields that are null are left out, whole numbers in the place of ids are written as text, and 3.0 becomes 3
    where an integer belongs: JSON does not tell them apart. Made once a type, so that lists of numbers, of which
    vectors and token ids have thousands, are not gone through.
    """
    constraints: tuple[Any, ...] = ()
    if get_origin(kind) is Annotated:
        kind, *rest = get_args(kind)
        constraints = tuple(rest)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _of_union([mender(member) for member in get_args(kind)], get_args(kind))
    if kind is str and any(NUMBERS in (getattr(one, "extra", None) or ()) for one in constraints):
        return _digits
    if kind is int:
        return _integer
    if origin in (list, tuple):
        inner = mender(get_args(kind)[0])
        return None if inner in (None, _integer) else lambda value: _each(value, inner)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _of_struct(kind)
    return None


def mended(decode: Callable[[bytes], Any], content: bytes) -> bytes | None:
    """The JSON with what is clear put in its place, for a decoder that refused it; None where there is nothing to
    change. `decode` is the method of a msgspec decoder."""
    decoder = getattr(decode, "__self__", None)
    kind: Any = decoder.type if isinstance(decoder, msgspec.json.Decoder) else None
    mend = mender(kind)
    if mend is None or content.count(b"{") > _MOST_OBJECTS:
        return None
    try:
        value = msgspec.json.decode(content)
        better = mend(value)
        encoded = msgspec.json.encode(better)
        return encoded if encoded != msgspec.json.encode(value) else None  # 3.0 equals 3 in Python
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _of_struct(kind: type[msgspec.Struct]) -> Mend | None:
    optional: set[str] = set()
    inner: dict[str, Mend] = {}
    for field in msgspec.structs.fields(kind):
        if not field.required:
            optional.add(field.encode_name)
        if (mend := mender(field.type)) is not None:
            inner[field.encode_name] = mend
    if not optional and not inner:
        return None

    def mend_object(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: inner[name](one) if name in inner else one
            for name, one in value.items()
            if one is not None or name not in optional
        }

    return mend_object


def _of_union(menders: list[Mend | None], members: tuple[Any, ...]) -> Mend | None:
    """Each mender changes values of one JSON type alone, so that they can follow each other. A number that a member
    takes as it is stays one."""
    plain = {get_args(member)[0] if get_origin(member) is Annotated else member for member in members}
    left = {_digits} if plain & {int, float} else set[Mend]()
    left |= {_integer} if float in plain else set()
    used = [mend for mend in menders if mend is not None and mend not in left]
    if not used:
        return None

    def mend_any(value: Any) -> Any:
        for mend in used:
            value = mend(value)
        return value

    return mend_any


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_INTEGER else value


def _each(value: Any, mend: Mend) -> Any:
    return [mend(one) for one in value] if isinstance(value, list) else value
