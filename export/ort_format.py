"""Put a compiled `.ort` file in one order, so that the same graph always gives the same bytes.

onnxruntime writes the table that says which types each operator's kernel is chosen by straight from a hash map, whose
order changes from run to run. The file is a flatbuffer (schema: onnxruntime/core/flatbuffers/schema/ort.fbs): a root,
that table, then the model. The root and the table are written anew, sorted; the model's bytes follow as they were,
because references inside a flatbuffer are relative.
"""

from typing import NamedTuple

import flatbuffers
from flatbuffers import encode
from flatbuffers.number_types import Int8Flags, SOffsetTFlags, Uint32Flags, UOffsetTFlags
from flatbuffers.packer import uoffset
from flatbuffers.table import Table

from export.errors import ExportError

_IDENTIFIER = b"ORTM"
# Slots of the schema's tables, in order of declaration.
_VERSION, _MODEL, _RESOLVER = 0, 1, 3
# Flatbuffers align by distance from the end. A length that is a multiple of this, which is at least what any tensor's
# data needs, makes that an alignment from the start too.
_ALIGNMENT = 64


class _Argument(NamedTuple):
    kind: int  # 0 input, 1 output
    position: int


class _TypeName(NamedTuple):
    name: bytes
    arguments: list[_Argument]


class _Operator(NamedTuple):
    identity: bytes
    types: list[_TypeName]


def in_one_order(content: bytes) -> bytes:
    """The same compiled graph with its operator table sorted. Raises ExportError for anything but an `.ort` file."""
    if content[4:8] != _IDENTIFIER:
        raise ExportError(f"not an .ort file: its identifier is {content[4:8]!r}, expected {_IDENTIFIER!r}")
    root = Table(content, encode.Get(uoffset, content, 0))
    model = _child(root, _MODEL)
    operators = [_read_operator(entry) for entry in _children(_child(root, _RESOLVER), 0)]
    # A table's description stands right before it unless an earlier, and so later placed, table has the same one.
    described = model.Pos - model.Get(SOffsetTFlags, model.Pos)
    start = min(model.Pos, described)
    version = root.String(_field(root, _VERSION))
    head, hole = _write_head(version, sorted(operators))
    head.extend(bytes((start - len(content) - len(head)) % _ALIGNMENT))
    moved = len(head) - start
    encode.Write(uoffset, head, hole, model.Pos + moved - hole)
    return bytes(head) + content[start:]


def _field(table: Table, slot: int) -> int:
    offset: int = table.Offset(4 + 2 * slot)
    if offset == 0:
        raise ExportError(f"the .ort file leaves out slot {slot} of a table: not the layout this was written for")
    position: int = table.Pos + offset
    return position


def _child(table: Table, slot: int) -> Table:
    return Table(table.Bytes, table.Indirect(_field(table, slot)))


def _children(table: Table, slot: int) -> list[Table]:
    field = _field(table, slot) - table.Pos
    first = table.Vector(field)
    return [Table(table.Bytes, table.Indirect(first + 4 * index)) for index in range(table.VectorLen(field))]


def _read_operator(entry: Table) -> _Operator:
    types = [
        _TypeName(
            name=kind.String(_field(kind, 0)),
            arguments=[
                _Argument(argument.GetSlot(4, 0, Int8Flags), argument.GetSlot(6, 0, Uint32Flags))
                for argument in _children(kind, 1)
            ],
        )
        for kind in _children(entry, 1)
    ]
    return _Operator(identity=entry.String(_field(entry, 0)), types=sorted(types))


def _write_head(version: bytes, operators: list[_Operator]) -> tuple[bytearray, int]:
    """Root and operator table, and where in them the model's offset belongs."""
    builder = flatbuffers.Builder(4096)
    entries = []
    for operator in operators:
        types = []
        for kind in operator.types:
            arguments = []
            for argument in kind.arguments:
                builder.StartObject(2)
                builder.PrependInt8Slot(0, argument.kind, 0)
                builder.PrependUint32Slot(1, argument.position, 0)
                arguments.append(builder.EndObject())
            types.append(_named(builder, kind.name, arguments))
        entries.append(_named(builder, operator.identity, types))
    listed = _vector(builder, entries)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, listed, 0)
    resolver = builder.EndObject()
    written = builder.CreateString(version)
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(_VERSION, written, 0)
    builder.PrependUint32Slot(_MODEL, 1, 0)  # holds the place of an offset, which is as wide
    builder.PrependUOffsetTRelativeSlot(_RESOLVER, resolver, 0)
    builder.Finish(builder.EndObject(), file_identifier=_IDENTIFIER)
    head = bytearray(builder.Output())
    return head, _field(Table(head, encode.Get(uoffset, head, 0)), _MODEL)


def _named(builder: flatbuffers.Builder, name: bytes, children: list[int]) -> int:
    written, listed = builder.CreateString(name), _vector(builder, children)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, written, 0)
    builder.PrependUOffsetTRelativeSlot(1, listed, 0)
    table: int = builder.EndObject()
    return table


def _vector(builder: flatbuffers.Builder, children: list[int]) -> int:
    builder.StartVector(UOffsetTFlags.bytewidth, len(children), UOffsetTFlags.bytewidth)
    for child in reversed(children):
        builder.PrependUOffsetTRelative(child)
    vector: int = builder.EndVector()
    return vector
