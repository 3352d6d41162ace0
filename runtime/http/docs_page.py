"""The documentation page: one HTML document from the OpenAPI one. Its style and the script that sends its forms are
files of the server's other pages; everything can be read without the script."""

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

_LIMITS = {
    "minItems": "at least",
    "maxItems": "at most",
    "maxLength": "up to",
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
}
_INTRODUCTION = """
<p>{about} Version {version}; the same as a document: <a href="openapi.json">openapi.json</a>. Examples are for
<code class="base">{base}</code>; each can be sent from here.</p>
<form id="key"><label for="key-text">API key, where the server asks for one; it stays in this tab</label>
<input id="key-text" type="password" autocomplete="off"></form>
"""


def docs_page(document: dict[str, Any], *, base: str, ids: Mapping[str, str], answers: Mapping[str, Any]) -> str:
    """HTML for an OpenAPI document as `openapi_document` makes it.

    `base`: the address of this server, as the reader reached it. `ids`: an example of the id in a path, by the path's
    first part. `answers`: an example of a successful answer, by operation.
    """
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            tag = operation.get("tags", [_first_part(path) or "pages"])[0]
            groups.setdefault(tag, []).append((method, path, operation))
    info, schemas = document["info"], document["components"]["schemas"]
    nav = "".join(
        f"<h3>{escape(tag)}</h3>" + "".join(_link(method, path, operation) for method, path, operation in operations)
        for tag, operations in groups.items()
    )
    writer = _Writer(base, ids, answers, schemas)
    body = "".join(
        f'<h2 id="tag-{escape(tag)}">{escape(tag)}</h2>' + "".join(writer.section(*operation) for operation in group)
        for tag, group in groups.items()
    )
    types = "".join(
        f'<section id="{escape(name)}"><h3>{escape(name)}</h3>{_fields(schema)}</section>'
        for name, schema in sorted(schemas.items())
    )
    about = _INTRODUCTION.format(about=escape(info["description"]), version=escape(info["version"]), base=escape(base))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(info['title'])}: API</title>"
        '<link rel="icon" href="page/icon.svg" type="image/svg+xml"><link rel="stylesheet" href="page/docs.css">'
        '<script type="module" src="page/docs.js"></script>'
        f'<header><a href=".">{escape(info["title"])}</a></header>'
        f'<nav aria-label="Operations">{nav}</nav><main><h1>API</h1>{about}{body}<h2>Types</h2>{types}</main></html>'
    )


def _first_part(path: str) -> str:
    return path.split("/")[1]


def _link(method: str, path: str, operation: dict[str, Any]) -> str:
    return (
        f'<a href="#{escape(operation["operationId"])}" title="{escape(operation["summary"])}">'
        f'<span class="m">{method.upper()}</span> <code>{escape(path)}</code></a>'
    )


class _Writer:
    """Writes operations, with examples for this server."""

    def __init__(
        self, base: str, ids: Mapping[str, str], answers: Mapping[str, Any], schemas: dict[str, dict[str, Any]]
    ) -> None:
        self._base, self._ids, self._answers, self._schemas = base, ids, answers, schemas

    def section(self, method: str, path: str, operation: dict[str, Any]) -> str:
        name = operation["operationId"]
        parts = [
            f'<section id="{escape(name)}"><h3><span class="m">{method.upper()}</span> <code>{escape(path)}</code></h3>'
            f"<p>{escape(operation['summary'])}. {_prose(operation.get('description', ''))}</p>"
        ]
        if operation["x-needs"] not in ("open", "health"):
            parts.append(f'<p class="q">Where the server has keys: the scope <code>{operation["x-needs"]}</code>.</p>')
        queries = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
        if queries:
            rows = "".join(_row(one["name"], one["schema"], one.get("required", False)) for one in queries)
            parts.append(f"<h4>Query</h4>{_table(rows)}")
        content = operation.get("requestBody", {}).get("content", {})
        if content:
            body = next(iter(content.values()))
            parts.append(f"<h4>Body: {escape(', '.join(content))}</h4>{self._expanded(body['schema'])}")
        address = path.replace("{id}", quote(self._id(path), safe=""))
        query = {one["name"]: one["example"] for one in queries if "example" in one}
        if query:
            address += f"?{urlencode(query, doseq=True)}"
        parts.append(f'<h4>Example</h4><pre tabindex="0">{self._curl(method, address, content)}</pre>')
        parts.append(self._form(method, path, queries, content))
        parts += self._responses(operation)
        return "".join(parts) + "</section>"

    def _id(self, path: str) -> str:
        return self._ids.get(_first_part(path), "id")

    def _curl(self, method: str, address: str, content: dict[str, Any]) -> str:
        """A command that works, as HTML, in as many lines as it needs."""
        verb = f"-X {method.upper()} " if method not in ("get", "post") else ""
        mark = "'" if "?" in address else ""
        line = f'curl {verb}{mark}<span class="base">{escape(self._base)}</span>{escape(address)}{mark}'
        example = _example(content)
        if example is None:
            return line
        data = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
        return f"{line} \\\n  -H 'Content-Type: {next(iter(content))}' \\\n  -d '{escape(data)}'"

    def _form(self, method: str, path: str, queries: list[dict[str, Any]], content: dict[str, Any]) -> str:
        """Sends the request to this server: see page/docs.js."""
        fields = []
        if "{id}" in path:
            fields.append(f'<label>id <input name="id" value="{escape(self._id(path))}" required></label>')
        for one in queries:
            value = one.get("example", "")
            many = _many(one["schema"])
            text = ",".join(value) if isinstance(value, list) else _plain(value)
            about = "several between commas" if many else _plain(one["schema"].get("default") or "")
            fields.append(
                f'<label>{escape(one["name"])} <input name="{escape(one["name"])}" '
                f'data-query="{"many" if many else "one"}"'
                f' value="{escape(text)}" placeholder="{escape(about)}"></label>'
            )
        media = next(iter(content), "")
        if content:
            body = json.dumps(_example(content) or {}, ensure_ascii=False, indent=1)
            fields.append(f'<label class="body">body <textarea name="body" rows="6">{escape(body)}</textarea></label>')
        return (
            f'<details class="send"><summary>Send it to this server</summary><form data-method="{method.upper()}" '
            f'data-path="{escape(path)}" data-media="{escape(media)}">{"".join(fields)}<button>Send</button></form>'
            '<pre class="sent" tabindex="0" aria-live="polite" hidden></pre></details>'
        )

    def _responses(self, operation: dict[str, Any]) -> list[str]:
        parts, errors, shape = [], [], ""
        for status, answer in operation["responses"].items():
            media = next(iter(answer.get("content", {}).values()), None)
            if int(status) >= 400:
                errors.append(f'<span title="{escape(answer["description"])}">{status}</span>')
                shape = _type(media["schema"]) if media else shape
                continue
            shown = self._expanded(media["schema"]) if media else ""
            parts.append(f"<h4>Answer: {status} {escape(answer['description'])}</h4>{shown}")
            example = self._answers.get(operation["operationId"])
            if example is not None:
                text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False, indent=1)
                parts.append(
                    '<details class="answer"><summary>Example, vectors and lists shortened</summary>'
                    f'<pre tabindex="0">{escape(text)}</pre></details>'
                )
        if errors:
            parts.append(f'<p class="q">Errors: {", ".join(errors)}{", as " + shape if shape else ""}.</p>')
        return parts

    def _expanded(self, schema: dict[str, Any]) -> str:
        """The fields of the struct that `schema` names, or the schema in words."""
        if "$ref" in schema:
            return _fields(self._schemas[schema["$ref"].rpartition("/")[2]])
        return f"<p>{_type(schema)}</p>"


def _example(content: dict[str, Any]) -> Any:
    return next((media["example"] for media in content.values() if "example" in media), None)


def _many(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "array" or any(one.get("type") == "array" for one in schema.get("anyOf", ()))


def _fields(schema: dict[str, Any]) -> str:
    about = f"<p>{_prose(schema['description'])}</p>" if "description" in schema else ""
    if "properties" not in schema:
        return f"{about}<p>{_type(schema)}</p>"
    required = set(schema.get("required", ()))
    return about + _table("".join(_row(name, kind, name in required) for name, kind in schema["properties"].items()))


def _table(rows: str) -> str:
    return f"<table><tbody>{rows}</tbody></table>"


def _row(name: str, schema: dict[str, Any], required: bool) -> str:
    default = schema.get("default", schema.get("x-default"))
    if required:
        said = "required"
    elif default in (None, [], {}, ""):
        said = ""
    else:
        said = f"default <code>{escape(_plain(default))}</code>"
    kind = _type(schema if required else _without_null(schema))
    return f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{kind}</td><td>{said}</td></tr>'


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Null is "not given" in every optional field, which need not be said of each."""
    members = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return {**schema, "anyOf": members} if members else schema


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _prose(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, linked to the types it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(json.dumps(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "anything")
    kind = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if kind == "array":
        kind = f"array of {_type(schema.get('items', {}))}"
    if "format" in schema:
        kind += f" ({schema['format']})"
    limits = [f"{name} {schema[key]}" for key, name in _LIMITS.items() if key in schema]
    return kind + (f' <span class="q">({", ".join(limits)})</span>' if limits else "")
