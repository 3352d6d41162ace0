"""The documentation page: one HTML document from the OpenAPI one, without scripts, fonts or anything to fetch."""

import json
import re
from html import escape
from typing import Any
from urllib.parse import urlencode

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{margin-bottom:0}h2{margin-top:2.5rem;padding-top:.6rem;border-top:1px solid #ddd;font-size:1.1rem}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f6f6f4;padding:.8rem;border-radius:6px;
white-space:pre-wrap;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:.25rem .6rem;
border-bottom:1px solid #eee;vertical-align:top}.m{display:inline-block;min-width:5rem;font-weight:700;color:#7a3b69}
nav a{display:block;text-decoration:none;color:inherit;padding:.1rem 0}nav a:hover{text-decoration:underline}
.q{color:#666}h3{font-size:.9rem;margin:1rem 0 .2rem;color:#555}
@media(prefers-color-scheme:dark){body{background:#1b1b1d;color:#ddd}pre{background:#28282b}
h2{border-color:#444}td,th{border-color:#333}.m{color:#d79ac6}.q,h3{color:#999}}
"""


def docs_page(document: dict[str, Any]) -> str:
    """HTML for an OpenAPI document as `openapi_document` makes it."""
    operations = [
        (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    nav = "".join(
        f'<a href="#{escape(o["operationId"])}"><span class="m">{m.upper()}</span><code>{escape(p)}</code> '
        f'<span class="q">{escape(o["summary"])}</span></a>'
        for m, p, o in operations
    )
    info, schemas = document["info"], document["components"]["schemas"]
    body = "".join(_section(method, path, operation, schemas) for method, path, operation in operations)
    types = "".join(f'<h2 id="{escape(n)}">{escape(n)}</h2>{_fields(s)}' for n, s in sorted(schemas.items()))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style>"
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])} "
        f'Version {escape(info["version"])}; the same as a document: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<nav>{nav}</nav>{body}<h1>Types</h1>{types}</html>"
    )


def _section(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    parts = [
        f'<h2 id="{escape(operation["operationId"])}"><span class="m">{method.upper()}</span>'
        f"<code>{escape(path)}</code></h2><p>{escape(operation['summary'])}. "
        f"{_prose(operation.get('description', ''))}</p>"
    ]
    if operation["x-needs"] in ("read", "write"):
        parts.append(f'<p class="q">Where the server has keys: the scope <code>{operation["x-needs"]}</code>.</p>')
    queries = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    if queries:
        rows = "".join(f"<tr><td><code>{escape(p['name'])}</code><td>{_type(p['schema'])}" for p in queries)
        parts.append(f"<h3>Query</h3><table>{rows}</table>")
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        body = next(iter(content.values()))
        parts.append(f"<h3>Body: {escape(', '.join(content))}</h3>{_expanded(body['schema'], schemas)}")
    query = {p["name"]: p["example"] for p in queries if "example" in p}
    address = f"{path}?{urlencode(query, doseq=True)}" if query else path
    parts.append(f"<pre>{escape(_curl(method, address, content))}</pre>")
    errors, shape = [], ""
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            errors.append(f'<span title="{escape(answer["description"])}">{status}</span>')
            shape = _type(answer["content"]["application/json"]["schema"])
            continue
        media = next(iter(answer.get("content", {}).values()), None)
        shown = _expanded(media["schema"], schemas) if media else ""
        parts.append(f"<h3>Answer: {status} {escape(answer['description'])}</h3>{shown}")
    if errors:
        parts.append(f'<p class="q">Errors: {", ".join(errors)}, as {shape}.</p>')
    return "".join(parts)


def _curl(method: str, path: str, content: dict[str, Any]) -> str:
    """A command that works, in as many lines as it needs."""
    verb = f"-X {method.upper()} " if method not in ("get", "post") else ""
    example = next((media["example"] for media in content.values() if "example" in media), None)
    address = f"localhost:8080{path}"
    line = f"curl {verb}{address}" if "?" not in path else f"curl {verb}'{address}'"
    if example is None:
        return line
    data = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
    return f"{line} \\\n  -H 'Content-Type: {next(iter(content))}' \\\n  -d '{data}'"


def _expanded(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The fields of the struct that `schema` names, or the schema in words."""
    if "$ref" in schema:
        return _fields(schemas[schema["$ref"].rpartition("/")[2]])
    return _type(schema)


def _fields(schema: dict[str, Any]) -> str:
    about = f"<p>{_prose(schema['description'])}</p>" if "description" in schema else ""
    if "properties" not in schema:
        return about + _type(schema)
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{_type(kind)}<td>{'required' if name in required else ''}"
        for name, kind in schema["properties"].items()
    )
    return f"{about}<table>{rows}</table>"


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
    kind: str = schema.get("type", "anything")
    if kind == "array":
        kind = f"array of {_type(schema.get('items', {}))}"
    limits = [
        f"{name} {schema[key]}"
        for key, name in (
            ("minItems", "at least"),
            ("maxItems", "at most"),
            ("maxLength", "up to"),
            ("minimum", "≥"),
            ("maximum", "≤"),
        )
        if key in schema
    ]
    return kind + (f' <span class="q">({", ".join(limits)})</span>' if limits else "")
