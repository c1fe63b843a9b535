"""The reference page: the OpenAPI document as one HTML page that needs no network and no script to be read.

The server renders it, from the templates beside this module, because JSON readers in browsers round large integers.
This module makes plain data of what stands on the page; only the templates know HTML.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from doppia.api.routes import SERVICE_TAG

Schema = Mapping[str, Any]

HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
}

_TEMPLATES: Final = Environment(
    loader=PackageLoader("doppia.api.reference"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_POWER_SHOWN_MIN: Final = 9
"""A power of ten is written as one, such as 10^9, from this exponent on."""

_METHODS: Final = ("post", "get", "patch", "put", "delete")

_BOUNDS: Final = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
    ("minProperties", "maxProperties", " pairs"),
)


class Word(NamedTuple):
    """A piece of what is said about a value: plain text, the name of an object on the page, or a value as JSON."""

    text: str
    kind: Literal["plain", "object", "json"] = "plain"


class Row(NamedTuple):
    """A row of a table: a parameter, a header, or a field of an object.

    Attributes:
        name: as it is written, without its forms.
        type: what its values are.
        meaning: a text with `code`; empty where the name says it.
        limits: what bounds its values.
        place: "header" or "path"; empty for fields and for parameters of the query.
        forms: the brackets that a filter is written with, such as "[gte] [lt]".
        is_required: whether a request must have it; answers have all of their fields, so it is not said of those.
    """

    name: str
    type: list[Word]
    meaning: str
    limits: str
    place: str = ""
    forms: str = ""
    is_required: bool = False


class Body(NamedTuple):
    """The body of a request."""

    description: str
    fields: list[Row]


class Answer(NamedTuple):
    """A success. `type` is empty where the body is no JSON, `media_type` as well where there is none."""

    status: str
    media_type: str
    type: list[Word]
    headers: list[Row]
    fields: list[Row]


class Operation(NamedTuple):
    """A method of a path.

    Attributes:
        needs: the role that a caller needs, in words.
        description: paragraphs; empty where the summary says all.
        call: an example as a shell command; empty where no key is needed.
        errors: the statuses of refusals.
    """

    id: str
    method: str
    path: str
    summary: str
    needs: str
    description: str
    parameters: list[Row]
    body: Body | None
    call: str
    answers: list[Answer]
    errors: list[str]


class Group(NamedTuple):
    """The operations of one heading."""

    name: str
    operations: list[Operation]


class Refusal(NamedTuple):
    """A kind of refusal; `fields` are the names of its typed fields."""

    code: str
    is_retryable: bool
    fields: list[str]
    meaning: str


class Object(NamedTuple):
    """An object of the API, with all of its fields."""

    name: str
    description: str
    fields: list[Row]


def render(document: Schema) -> str:
    """Return the page of an OpenAPI document."""
    schemes = document["components"]["securitySchemes"].values()
    return _TEMPLATES.get_template("page.html").render(
        title=document["info"]["title"],
        version=document["info"]["version"],
        introduction=document["info"]["description"],
        schemes=[{"name": each["scheme"].capitalize(), "description": each["description"]} for each in schemes],
        groups=_groups(document),
        refusals_by_status=_refusals_by_status(document),
        objects=[
            Object(name, schema["description"], _fields(schema))
            for name, schema in sorted(document["components"]["schemas"].items())
            if "properties" in schema
        ],
    )


def _groups(document: Schema) -> list[Group]:
    """Return the operations by tag, those of the service last; a path that refers to another is left out."""
    by_tag: dict[str, list[Operation]] = {}
    for path, item in sorted(document["paths"].items()):
        for method in _METHODS:
            if method in item:
                operation = _operation(document, method.upper(), path, item[method])
                by_tag.setdefault(item[method]["tags"][0], []).append(operation)
    return [Group(tag, by_tag[tag]) for tag in sorted(by_tag, key=lambda tag: (tag == SERVICE_TAG, tag))]


def _operation(document: Schema, method: str, path: str, operation: Schema) -> Operation:
    body = operation.get("requestBody")
    schema = None if body is None else _resolve(document, body["content"]["application/json"]["schema"])
    responses = operation["responses"]
    needs_key = "x-role" in operation
    return Operation(
        id=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        needs=f"needs role {operation['x-role']}" if needs_key else "needs no key",
        description=operation.get("description", ""),
        parameters=_parameters([_resolve(document, each) for each in operation.get("parameters", [])]),
        body=None if schema is None else Body(schema["description"], _fields(schema)),
        call=_curl(method, path, body) if needs_key else "",
        answers=[_answer(document, status, each) for status, each in responses.items() if "$ref" not in each],
        errors=[status for status, each in responses.items() if "$ref" in each],
    )


def _resolve(document: Schema, part: Schema) -> Schema:
    """Return what a reference refers to, or the part itself where it is none."""
    for name in part.get("$ref", "#").split("/")[1:]:
        document = document[name]
    return document if "$ref" in part else part


def _parameters(parameters: Iterable[Schema]) -> list[Row]:
    """Return the rows of parameters; the forms of one filter share a row, which says what the last of them does."""
    rows: dict[tuple[str, str], Row] = {}
    for parameter in parameters:
        base, bracket, form = parameter["name"].partition("[")
        written = "[KEY]" if parameter.get("style") == "deepObject" else bracket + form
        key = parameter["in"], base
        rows[key] = _row(base, parameter["schema"], parameter.get("description", ""))._replace(
            place="" if parameter["in"] == "query" else parameter["in"],
            forms=f"{rows[key].forms} {written}".strip() if key in rows else written,
            is_required=parameter.get("required", False),
        )
    return list(rows.values())


def _fields(schema: Schema, *, marks_required: bool = True) -> list[Row]:
    """Return the rows of an object's fields."""
    required = schema.get("required", ()) if marks_required else ()
    return [
        _row(name, field)._replace(is_required=name in required) for name, field in schema.get("properties", {}).items()
    ]


def _row(name: str, schema: Schema, meaning: str = "") -> Row:
    return Row(name, _type(schema), meaning or _meaning(schema), ", ".join(_limits(schema)))


def _type(schema: Schema) -> list[Word]:
    """Return in a few words what a value is."""
    if "$ref" in schema:
        return [Word(schema["$ref"].rpartition("/")[2], "object")]
    if "anyOf" in schema:
        return _joined([_type(choice) for choice in schema["anyOf"]], " or ")
    if "enum" in schema:
        return _joined([[Word(json.dumps(value), "json")] for value in schema["enum"]], " | ")
    if "const" in schema:
        return [Word(json.dumps(schema["const"]), "json")]
    if schema["type"] == "array":
        return [Word("list of "), *_grouped(schema["items"])]
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping) and values:
        return [Word("object of "), *_grouped(values)]
    return [Word(schema.get("format", schema["type"]))]


def _grouped(schema: Schema) -> list[Word]:
    """Return what a value is, in brackets where that is a choice."""
    return [Word("("), *_type(schema), Word(")")] if "anyOf" in schema or "enum" in schema else _type(schema)


def _joined(choices: Iterable[list[Word]], between: str) -> list[Word]:
    words = [word for choice in choices for word in (Word(between), *choice)]
    return words[1:]


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


def _answer(document: Schema, status: str, response: Schema) -> Answer:
    if "content" not in response:
        return Answer(status, "", [], [], [])
    ((media_type, media),) = response["content"].items()
    if media_type != "application/json":
        return Answer(status, media_type, [], [], [])
    headers = {name: _resolve(document, each) for name, each in response.get("headers", {}).items()}
    rows = [
        _row(name, header["schema"], header["description"])._replace(place="header") for name, header in headers.items()
    ]
    schema = media["schema"]
    object_ = _resolve(document, schema.get("items", schema))
    return Answer(status, media_type, _type(schema), rows, _fields(object_, marks_required=False))


def _refusals_by_status(document: Schema) -> list[tuple[int, list[Refusal]]]:
    by_status: dict[int, list[Refusal]] = {}
    for kind in document["components"]["schemas"]["Refusal"]["oneOf"]:
        fields = dict(kind["properties"])
        code, is_retryable = fields.pop("code")["const"], fields.pop("retryable")["const"]
        refusal = Refusal(code, is_retryable, list(fields), kind["description"])
        by_status.setdefault(kind["x-status"], []).append(refusal)
    return sorted(by_status.items())
