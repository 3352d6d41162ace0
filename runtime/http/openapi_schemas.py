"""Schemas as generators of clients want them, from those that msgspec makes."""

import re
from collections.abc import Iterable
from typing import Any

# In a schema that msgspec makes: a whole number is taken as well.
OR_INTEGER = "x-or-integer"

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def clean(schema: dict[str, Any], *, optional: bool) -> dict[str, Any]:
    """The schema with descriptions of one line's indent, the type of enumerations, and no default that says nothing.

    optional: of bodies, where openapi-typescript makes clients send every field that has a default: it stands in the
    description and as `x-default` instead. Not of parameters, which it leaves alone.
    """
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "default":
            if value in (None, [], (), {}, ""):
                continue
            made["x-default" if optional else key] = value
        elif key == "description":
            made[key] = re.sub(r"[ \t]*\n[ \t]*", " ", value.strip()).replace("  ", "\n\n")
        elif key == "properties":
            made[key] = {name: clean(one, optional=optional) for name, one in value.items()}
        elif isinstance(value, dict) and key not in ("discriminator", "example"):
            made[key] = clean(value, optional=optional)
        elif isinstance(value, list) and key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            made[key] = [one for member in value for one in _alternatives(clean(member, optional=optional))]
        else:
            made[key] = value
    if made.pop(OR_INTEGER, False) and optional:
        made["type"] = [made["type"], "integer"]
    if {} in made.get("anyOf", ()):
        del made["anyOf"]  # one of them is anything
    if "enum" in made and "type" not in made:
        kinds = {_TYPES[type(one)] for one in made["enum"]}
        if len(kinds) == 1:
            made["type"] = kinds.pop()
    if "x-default" in made and "$ref" not in made:
        said = made["x-default"]
        default = f"Default: {str(said).lower() if isinstance(said, bool) else said}."
        made["description"] = f"{made['description']} {default}" if "description" in made else default
    return made


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A member of a union; where it is a union itself, its members, each with what holds for all."""
    common = {key: value for key, value in schema.items() if key != "anyOf"}
    return [{**common, **one} for one in schema.get("anyOf", ({},))]


def accepts(schema: dict[str, Any]) -> dict[str, Any]:
    """A cleaned schema of an object in a request, with null in every optional field: it is taken as "not given"."""
    if "properties" not in schema:
        return schema
    required = schema.get("required", ())
    properties = {name: one if name in required else _or_null(one) for name, one in schema["properties"].items()}
    return {**schema, "properties": properties}


def reachable(schemas: Iterable[dict[str, Any]], components: dict[str, dict[str, Any]]) -> set[str]:
    """The names of the components that the schemas refer to, and those refer to in turn."""
    found: set[str] = set()
    waiting: list[Any] = list(schemas)
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name in components and name not in found:
                found.add(name)
                waiting.append(components[name])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    null = {"type": "null"}
    about: dict[str, Any] = {key: schema[key] for key in ("description", "x-default") if key in schema}
    own = {key: value for key, value in schema.items() if key not in about}
    if not own or null in own.get("anyOf", ()):
        return schema  # anything, or null already
    members = own["anyOf"] if own.keys() == {"anyOf"} else [own]
    return {"anyOf": [*members, null], **about}
