"""Schemas as generators of clients want them, from those that msgspec makes."""

import re
from typing import Any

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def clean(schema: dict[str, Any], *, optional: bool) -> dict[str, Any]:
    """The schema with descriptions of one line's indent, the type of enumerations, and no default that says nothing.

    optional: of bodies, where openapi-typescript makes clients send every field that has a default: it stands in the
    description and as `x-default` instead. Not of parameters, which it leaves alone.
    """
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "default":
            if value in (None, [], {}, ""):
                continue
            made["x-default" if optional else key] = value
        elif key == "description":
            made[key] = re.sub(r"[ \t]*\n[ \t]*", " ", value.strip()).replace("  ", "\n\n")
        elif key == "properties":
            made[key] = {name: clean(one, optional=optional) for name, one in value.items()}
        elif isinstance(value, dict) and key not in ("discriminator", "example"):
            made[key] = clean(value, optional=optional)
        elif isinstance(value, list) and key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            made[key] = [clean(one, optional=optional) for one in value]
        else:
            made[key] = value
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
