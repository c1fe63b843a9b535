"""The reference page: the OpenAPI document as one HTML page that needs no network and no script to be read.

It is rendered here and not in the browser, where JSON readers round large integers.
"""

import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from importlib.resources import files
from string import Template
from typing import Any, Final

Schema = Mapping[str, Any]

HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
}

_POWER_SHOWN_MIN: Final = 9
_METHODS: Final = ("post", "get", "patch", "put", "delete")
_SERVICE: Final = "Service"
"""The group that stands last: routes about the service itself."""

_BOUNDS: Final = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
    ("minProperties", "maxProperties", " pairs"),
)


def render(document: Schema) -> str:
    """Return the page of an OpenAPI document."""
    groups = _groups(document)
    template = Template((files("doppia.api.reference") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=_text(document["info"]["title"]),
        version=_text(document["info"]["version"]),
        introduction=_prose(document["info"]["description"]) + _first_steps(document),
        contents=_contents(groups),
        groups="\n".join(_group(document, name, operations) for name, operations in groups.items()),
        refusals=_refusals(document),
        objects=_objects(document),
    )


_Operation = tuple[str, str, Schema]
"""Method, path and what the document says of them."""


def _groups(document: Schema) -> dict[str, list[_Operation]]:
    """Return the operations by tag, in the order of the page; a path that refers to another is left out."""
    groups: dict[str, list[_Operation]] = {}
    for path, item in sorted(document["paths"].items()):
        for method in _METHODS:
            if method in item:
                groups.setdefault(item[method]["tags"][0], []).append((method.upper(), path, item[method]))
    return dict(sorted(groups.items(), key=lambda group: (group[0] == _SERVICE, group[0])))


def _text(value: object) -> str:
    return html.escape(str(value))


def _prose(text: str) -> str:
    """Turn paragraphs with `code` into HTML."""
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n"))


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _words(*texts: str) -> str:
    """Return the attribute by which the filter box finds a part of the page."""
    return f'data-words="{_text(" ".join(texts).lower())}"'


def _contents(groups: Mapping[str, list[_Operation]]) -> str:
    parts = []
    for name, operations in groups.items():
        links = "".join(
            f'<li {_words(method, path, operation["summary"])}><a href="#{operation["operationId"]}">'
            f'<span class="method {method}">{method}</span><span>{_text(operation["summary"])}</span></a></li>'
            for method, path, operation in operations
        )
        parts.append(f"<h2>{_text(name)}</h2><ul>{links}</ul>")
    parts.append(
        '<h2>Shared</h2><ul><li><a class="plain" href="#Refusal">Refusals</a></li>'
        '<li><a class="plain" href="#objects">Objects</a></li></ul>'
    )
    return "\n".join(parts)


def _first_steps(document: Schema) -> str:
    schemes = document["components"]["securitySchemes"].values()
    ways = "".join(
        f"<tr><td><code>{_text(scheme['scheme'].capitalize())}</code></td><td>{_inline(scheme['description'])}</td></tr>"
        for scheme in schemes
    )
    return (
        f"<h4>Authorization</h4><table>{ways}</table><h4>The examples below expect</h4>"
        "<pre><code>export BASE_URL=… ORGANIZATION_ID=… API_KEY=…</code></pre>"
        '<p>The document this page is made from, in OpenAPI 3.1: <a href="/openapi.json">/openapi.json</a></p>'
    )


def _group(document: Schema, name: str, operations: Iterable[_Operation]) -> str:
    sections = "\n".join(_section(document, *operation) for operation in operations)
    return f'<h2 class="group">{_text(name)}</h2>\n{sections}'


def _section(document: Schema, method: str, path: str, operation: Schema) -> str:
    role = f"needs role {operation['x-role']}" if "x-role" in operation else "needs no key"
    header = (
        f'<section id="{operation["operationId"]}" {_words(method, path, operation["summary"])}>'
        f"<header><h3>{_inline(operation['summary'])}</h3>"
        f'<div class="route"><span class="method {method}">{method}</span><span class="path">{_text(path)}</span>'
        f'<span class="pill">{_text(role)}</span></div></header>'
    )
    parts = [header]
    if "description" in operation:
        parts.append(_prose(operation["description"]))
    if parameters := [_resolve(document, parameter) for parameter in operation.get("parameters", [])]:
        parts.append(_parameters(parameters))
    body = operation.get("requestBody")
    if body is not None:
        media = body["content"]["application/json"]
        schema = _resolve(document, media["schema"])
        parts.append(f"<h4>Body</h4><p>{_inline(schema['description'])}</p>{_fields(schema)}")
    if "x-role" in operation:
        parts.append(f"<pre><code>{_text(_curl(method, path, body))}</code></pre>")
    parts.append(_answers(document, operation["responses"]))
    return "\n".join(parts) + "\n</section>"


def _resolve(document: Schema, part: Schema) -> Schema:
    """Return what a reference refers to, or the part itself where it is none."""
    for name in part.get("$ref", "#").split("/")[1:]:
        document = document[name]
    return document if "$ref" in part else part


def _parameters(parameters: Iterable[Schema]) -> str:
    """Return the table of parameters; the forms of one filter share a row."""
    rows: dict[tuple[str, str], list[str]] = {}
    shown: dict[tuple[str, str], Schema] = {}
    for parameter in parameters:
        base, bracket, form = parameter["name"].partition("[")
        written = "[KEY]" if parameter.get("style") == "deepObject" else bracket + form
        rows.setdefault((parameter["in"], base), []).append(written)
        shown[parameter["in"], base] = parameter
    lines = []
    for (place, base), forms in rows.items():
        parameter = shown[place, base]
        suffix = f'<span class="forms">{_text(" ".join(forms))}</span>' if any(forms) else ""
        where = "" if place == "query" else f' <span class="pill">{place}</span>'
        name = f"<code>{_text(base)}{suffix}</code>{where}{_required(is_required=parameter.get('required', False))}"
        lines.append(_row(name, parameter["schema"], parameter.get("description", "")))
    return f"<h4>Parameters</h4><table>{''.join(lines)}</table>"


def _required(*, is_required: bool) -> str:
    return '<span class="required">required</span>' if is_required else ""


def _row(name: str, schema: Schema, meaning: str = "") -> str:
    meaning = meaning or _meaning(schema)
    limits = ", ".join(_limits(schema))
    said = f"{_inline(meaning)} " if meaning else ""
    return (
        f'<tr><td>{name}</td><td class="type">{_type(schema)}</td>'
        f'<td>{said}<span class="limits">{_text(limits)}</span></td></tr>'
    )


def _fields(schema: Schema, *, marks_required: bool = True) -> str:
    """Return the table of an object's fields; answers hold all of theirs, so there it is not marked."""
    required = schema.get("required", ()) if marks_required else ()
    rows = "".join(
        _row(f"<code>{_text(name)}</code>{_required(is_required=name in required)}", field)
        for name, field in schema["properties"].items()
    )
    return f"<table>{rows}</table>"


def _type(schema: Schema) -> str:
    """Return in a few words what a value is, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_text(name)}">{_text(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{_text(json.dumps(word))}</code>" for word in schema["enum"])
    if "const" in schema:
        return f"<code>{_text(json.dumps(schema['const']))}</code>"
    if schema["type"] == "array":
        return f"list of {_grouped(schema['items'])}"
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping) and values:
        return f"object of {_grouped(values)}"
    return _text(schema.get("format", schema["type"]))


def _grouped(schema: Schema) -> str:
    return f"({_type(schema)})" if "anyOf" in schema or "enum" in schema else _type(schema)


def _choices(schema: Schema) -> list[Schema]:
    return [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]


def _meaning(schema: Schema) -> str:
    return next((choice["description"] for choice in _choices(schema) if "description" in choice), "")


def _limits(schema: Schema) -> list[str]:
    limits = []
    for choice in (*_choices(schema), *(_choices(schema["items"]) if "items" in schema else ())):
        limits += [_range(choice.get(low), choice.get(high), unit) for low, high, unit in _BOUNDS]
        limits.append(choice.get("pattern", ""))
    if schema.get("default") is not None:
        limits.append(f"default {schema['default']}")
    return [limit for limit in limits if limit]


def _range(low: int | None, high: int | None, unit: str) -> str:
    if low is None:
        return "" if high is None else f"up to {_number(high)}{unit}"
    return f"from {_number(low)}{unit}" if high is None else f"{_number(low)} to {_number(high)}{unit}"


def _number(value: int) -> str:
    """Write a limit; a power of ten with too many zeros to count is written as one."""
    power = len(str(abs(value))) - 1
    if power >= _POWER_SHOWN_MIN and abs(value) == 10**power:
        return f"{'-' if value < 0 else ''}10^{power}"
    return f"{value:,}"


def _curl(method: str, path: str, body: Schema | None) -> str:
    """Return the call as a shell command."""
    verb = "" if method == "GET" else f" -X {method}"
    place = re.sub(r"\{(\w+)\}", lambda match: f"${match[1].upper()}", path)
    lines = [f'curl{verb} "$BASE_URL{place}" -u "$ORGANIZATION_ID:$API_KEY"']
    if method != "GET":
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    if body is not None:
        example = json.dumps(body["content"]["application/json"]["example"], indent=2)
        lines.append(f'-H "Content-Type: application/json" -d {shlex.quote(example)}')
    return " \\\n  ".join(lines)


def _answers(document: Schema, responses: Mapping[str, Schema]) -> str:
    parts, errors = [], []
    for status, reference in responses.items():
        if "$ref" in reference:
            errors.append(f'<a href="#refusals-{status}">{status}</a>')
        else:
            parts.append(_answer(document, status, reference))
    if errors:
        parts.append(f'<div class="errors">Refused with {", ".join(errors)}</div>')
    return "\n".join(parts)


def _answer(document: Schema, status: str, response: Schema) -> str:
    if "content" not in response:
        return f'<p class="answer">{status} <code>no body</code></p>'
    ((media_type, media),) = response["content"].items()
    schema = media["schema"]
    if media_type != "application/json":
        return f'<p class="answer">{status} <code>{_text(media_type)}</code></p>'
    headers = "".join(
        _row(f'<code>{_text(name)}</code> <span class="pill">header</span>', header["schema"], header["description"])
        for name, header in (
            (name, _resolve(document, reference)) for name, reference in response.get("headers", {}).items()
        )
    )
    object_ = _resolve(document, schema.get("items", schema))
    fields = _fields(object_, marks_required=False) if "properties" in object_ else ""
    return f"<details><summary>{status} {_type(schema)}</summary><table>{headers}</table>{fields}</details>"


def _refusals(document: Schema) -> str:
    by_status: dict[int, list[Schema]] = {}
    for kind in document["components"]["schemas"]["Refusal"]["oneOf"]:
        by_status.setdefault(kind["x-status"], []).append(kind)
    return "\n".join(
        f'<section id="refusals-{status}"><header><h3>{status}</h3></header><table>'
        f"{''.join(_refusal(kind) for kind in kinds)}</table></section>"
        for status, kinds in sorted(by_status.items())
    )


def _refusal(kind: Schema) -> str:
    properties = dict(kind["properties"])
    code, retryable = properties.pop("code")["const"], properties.pop("retryable")["const"]
    pill = ' <span class="pill">retryable</span>' if retryable else ""
    fields = ", ".join(f"<code>{_text(name)}</code>" for name in properties)
    return (
        f'<tr><td><code id="{code}">{_text(code)}</code>{pill}</td><td class="type">{fields}</td>'
        f"<td>{_inline(kind['description'])}</td></tr>"
    )


def _objects(document: Schema) -> str:
    return "\n".join(
        f'<section id="{_text(name)}"><header><h3>{_text(name)}</h3></header>'
        f"{_prose(schema['description'])}{_fields(schema)}</section>"
        for name, schema in sorted(document["components"]["schemas"].items())
        if "properties" in schema
    )
