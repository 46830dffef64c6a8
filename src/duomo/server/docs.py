"""The API's description as a page, made here: the usual one loads its scripts from another host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; }
summary { cursor: pointer; padding: .55rem .8rem; }
summary b { display: inline-block; min-width: 4.2rem; }
details > div { padding: 0 1rem .8rem; }
code, pre { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--soft); border-radius: 6px; padding: .7rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .3rem .6rem .3rem 0; }
"""


@router.get("/docs", response_class=HTMLResponse)
async def show(request: Request) -> HTMLResponse:
    return HTMLResponse(page(request.app.openapi()))


def form(**fields: str) -> dict[str, Any]:
    """OpenAPI for a body that we read ourselves: each field is text, number, file or files."""
    kinds: dict[str, Any] = {
        "text": {"type": "string"},
        "number": {"type": "integer"},
        "file": {"type": "string", "format": "binary"},
    }
    kinds["files"] = {"type": "array", "items": kinds["file"]}
    schema = {"type": "object", "properties": {name: kinds[kind] for name, kind in fields.items()}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def page(api: Mapping[str, Any]) -> str:
    """The whole description as one page without a script."""
    title, version = escape(api["info"]["title"]), escape(api["info"]["version"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{title} API <small>{version}</small></h1><p>{escape(api['info'].get('description', ''))} "
        f'For programs: <a href="/openapi.json">openapi.json</a>.</p>{"".join(_operations(api))}'
        f"<h2>Objects</h2>{''.join(_schemas(api))}</html>"
    )


def _operations(api: Mapping[str, Any]) -> Iterator[str]:
    heading = ""
    for path, methods in sorted(api["paths"].items(), key=lambda item: (_tag(item[1]), item[0])):
        if _tag(methods) != heading:
            heading = _tag(methods)
            yield f"<h2>{escape(heading)}</h2>"
        for method, operation in methods.items():
            about = escape(operation.get("description") or operation.get("summary", ""))
            yield (
                f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code></summary>"
                f"<div><p>{about}</p>{_parameters(operation)}{_body(operation)}{_answers(operation)}</div></details>"
            )


def _tag(methods: Mapping[str, Any]) -> str:
    return str(next(iter(methods.values())).get("tags", ["server"])[0])


def _parameters(operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code><td>{escape(p['in'])}<td>{_type(p['schema'])}"
        for p in operation.get("parameters", [])
    )
    return f"<table>{rows}</table>" if rows else ""


def _body(operation: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return "".join(f"<p>Body, {escape(kind)}: {_type(body['schema'])}" for kind, body in content.items())


def _answers(operation: Mapping[str, Any]) -> str:
    lines = []
    for status, answer in operation["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        lines.append(f"<tr><td>{escape(status)}<td>{_type(schema) if schema else escape(answer['description'])}")
    return f"<table>{''.join(lines)}</table>"


def _schemas(api: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in api["components"]["schemas"].items():
        rows = "".join(
            f"<tr><td><code>{escape(field)}</code><td>{_type(kind)}"
            for field, kind in schema.get("properties", {}).items()
        )
        heading = f'<details id="{escape(name)}"><summary>{escape(name)}</summary>'
        yield f"{heading}<div><table>{rows}</table></div></details>"


def _type(schema: Mapping[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = escape(str(reference).rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if choices := schema.get("anyOf"):
        return " | ".join(_type(choice) for choice in choices)
    if values := schema.get("enum"):
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and "properties" in schema:
        return "{" + ", ".join(f"{escape(k)}: {_type(v)}" for k, v in schema["properties"].items()) + "}"
    return escape(str(schema.get("format") or schema.get("const") or schema.get("type", "any")))
