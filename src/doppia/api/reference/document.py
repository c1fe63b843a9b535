"""The OpenAPI document, made from the route tables, the types that decode requests, and the tree of refusals."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import msgspec

from doppia.accounting.errors import LedgerError
from doppia.accounting.texts import EXTERNAL_ID_LENGTH_MAX
from doppia.api.http.errors import ErrorBody, refusals, status_and_code
from doppia.api.http.lists import METADATA, PER_PAGE_DEFAULT, PER_PAGE_MAX, Kind
from doppia.api.http.request import IDEMPOTENCY_KEY_LENGTH_MAX, Reply, Service, encode
from doppia.api.platform import operations
from doppia.api.routes import PREFIXES, ROUTES, SERVICE_TAG, ApiRoute

Schema = dict[str, Any]

_DESCRIPTION: Final = f"""\
A programmable double-entry ledger. Every route under `{PREFIXES[0]}` is also served under `{PREFIXES[1]}`.

Amounts are whole numbers of a currency's minor units, exact to 10^36. A JSON reader that rounds large integers reads \
them from the `_string` fields instead. Times are UTC.

All writes are synchronous: what was answered with success is stored, and every later read sees it. A write repeated \
with the same `Idempotency-Key` happens once.

An answer that is no success holds `errors`, whose `refusal` names by a stable `code` what was wrong. A fault of the \
service itself is a 500 of the same form."""


class OpenRoute(NamedTuple):
    """A route outside the API's prefixes that asks for no key; `answer` is its type, or None where it is no JSON."""

    path: str
    handler: Callable[[Service], Awaitable[Reply]]
    answer: Any
    media_type: str = "application/json"
    statuses: tuple[int, ...] = (200,)


async def document(_service: Service) -> Reply:
    """Get this document."""
    return Reply(200, _encoded())


async def page(_service: Service) -> Reply:
    """Get the reference page, rendered from this document."""
    return _page()


OPEN_ROUTES: Final = (
    OpenRoute("/healthz", operations.healthz, operations.Liveness),
    OpenRoute("/readyz", operations.readyz, operations.Readiness, statuses=(200, 503)),
    OpenRoute("/metrics", operations.metrics, None, "text/plain"),
    OpenRoute("/openapi.json", document, dict[str, Any]),
    OpenRoute("/docs", page, None, "text/html"),
)


@functools.cache
def build() -> Schema:
    """Return the document."""
    answers = [route.answer for route in (*ROUTES, *OPEN_ROUTES) if route.answer is not None]
    answers += [type_ for route in ROUTES for type_ in route.refers_to]
    bodies = [route.body for route in ROUTES if route.body is not None]
    components = {**_components(bodies), **_answer_components([*answers, ErrorBody])}
    components["ErrorDetail"]["properties"]["refusal"] = _ref("schemas", "Refusal")
    components["Refusal"] = _refusal()
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(PREFIXES[0] + route.path, {})[route.method.lower()] = _operation(route, components)
    second = {PREFIXES[1] + path.removeprefix(PREFIXES[0]): {"$ref": f"#/paths/{_pointer(path)}"} for path in paths}
    for open_route in OPEN_ROUTES:
        paths[open_route.path] = {"get": _open_operation(open_route)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Doppia",
            "version": version("doppia"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "tags": [{"name": name} for name in sorted({_tag(route) for route in ROUTES})],
        "paths": {**paths, **second},
        "components": {
            "schemas": components,
            "parameters": _parameters(),
            "responses": {f"Error{status}": _error_response(status) for status in _codes_by_status()},
            "headers": _headers(),
            "securitySchemes": _security_schemes(),
        },
    }


@functools.cache
def _encoded() -> bytes:
    return encode(build())


@functools.cache
def _page() -> Reply:
    # Its first reader imports it: a service that starts, or starts again, does not wait for the templates' engine.
    from doppia.api.reference import page as reference_page  # noqa: PLC0415

    return Reply(200, reference_page.render(build()).encode(), reference_page.HEADERS)


def _ref(section: str, name: str) -> Schema:
    return {"$ref": f"#/components/{section}/{name}"}


def _pointer(path: str) -> str:
    """Write a path as a part of a JSON pointer in a URL."""
    return path.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _schema_of(type_: Any) -> Schema:
    (schema,), _ = msgspec.json.schema_components([type_], ref_template="#/components/schemas/{name}")
    return schema


def _components(types: Iterable[Any]) -> dict[str, Schema]:
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in components.values():
        schema["description"] = inspect.cleandoc(schema["description"])
        schema.pop("title")
    return components


def _answer_components(types: Iterable[Any]) -> dict[str, Schema]:
    """Return the schemas of answers: what is encoded holds every field, defaults too, but those that are unset."""
    components = _components(types)
    for schema in components.values():
        schema["required"] = [
            name for name, each in schema["properties"].items() if name in schema["required"] or "default" in each
        ]
        for field in schema["properties"].values():
            field.pop("default", None)
    return components


def _tag(route: ApiRoute) -> str:
    return route.tag or route.path.split("/")[1].replace("_", " ").capitalize()


def _described(route: ApiRoute | OpenRoute, tag: str) -> Schema:
    handler = route.handler
    text = inspect.cleandoc(handler.__doc__ or "")
    summary = re.split("[,;] ", text.partition("\n")[0].rstrip("."))[0]
    subject = handler.__module__.rpartition(".")[2]
    return {
        "operationId": f"{subject}_{handler.__name__.rstrip('_')}",
        "summary": summary,
        **({"description": text} if text != f"{summary}." else {}),
        "tags": [tag],
    }


def _operation(route: ApiRoute, components: Mapping[str, Schema]) -> Schema:
    operation = {**_described(route, _tag(route)), "x-role": route.role, "parameters": _route_parameters(route)}
    if route.body is not None:
        schema = _schema_of(route.body)
        operation["requestBody"] = {
            "required": bool(components[route.body.__name__]["required"]),
            "content": {"application/json": {"schema": schema, "example": route.body.example}},
        }
        for media_type, description in route.other_bodies.items():
            other = {"type": "string", "description": description}
            operation["requestBody"]["content"][media_type] = {"schema": other}
    success: Schema = {"description": "Success, without a body"}
    if route.answer is not None:
        answer = _schema_of(route.answer)
        if route.is_list:
            answer = {"type": "array", "items": answer, "maxItems": PER_PAGE_MAX}
        success = {"description": "Success", "content": {route.media_type: {"schema": answer}}}
    if route.is_list:
        success["headers"] = {name: _ref("headers", name) for name in ("X-Per-Page", "X-After-Cursor")}
    errors = {str(status): _ref("responses", f"Error{status}") for status in _error_statuses(route)}
    operation["responses"] = {str(route.status): success, **errors}
    return operation


def _open_operation(route: OpenRoute) -> Schema:
    schema = {"type": "string"} if route.answer is None else _schema_of(route.answer)
    responses = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {route.media_type: {"schema": schema}},
            **({"headers": {"Retry-After": _ref("headers", "Retry-After")}} if status == HTTPStatus(503) else {}),
        }
        for status in route.statuses
    }
    return {**_described(route, SERVICE_TAG), "security": [], "responses": responses}


def _route_parameters(route: ApiRoute) -> list[Schema]:
    id_: Schema = {"type": "string", "format": "uuid"}
    if route.takes_external_id:
        external_id = {"type": "string", "minLength": 1, "maxLength": EXTERNAL_ID_LENGTH_MAX}
        id_ = {"description": "The id, or the external_id.", "anyOf": [id_, external_id]}
    parameters = [
        {"name": name[1:-1], "in": "path", "required": True, "schema": id_}
        for name in route.path.split("/")
        if name.startswith("{")
    ]
    if route.role != "read":
        parameters.append(_ref("parameters", "Idempotency-Key"))
    for name, kind in route.filters.items():
        parameters += _filter_parameters(name, kind)
    if route.is_list:
        parameters += [_ref("parameters", "per_page"), _ref("parameters", "after_cursor")]
    return parameters


def _filter_parameters(name: str, kind: Kind) -> list[Schema]:
    """Return the query parameters that one filter is written as."""
    if kind is METADATA:
        pairs = {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": kind.schema}
        return [
            {
                "name": name, "in": "query", "style": "deepObject", "explode": True, "schema": pairs,
                "description": f"`{name}[KEY]=VALUE`, once for each pair that must be there.",
            }
        ]  # fmt: skip
    if kind.comparisons:
        return [
            {"name": f"{name}[{comparison}]", "in": "query", "schema": kind.schemas.get(comparison, kind.schema)}
            for comparison in kind.comparisons
        ]
    if kind.many:
        several = {"type": "array", "items": kind.schema}
        return [
            {
                "name": form, "in": "query", "style": "form", "explode": True, "schema": several,
                "description": "Any of these; repeated for each.",
            }
            for form in (f"{name}[]", name)
        ]  # fmt: skip
    return [{"name": name, "in": "query", "schema": kind.schema}]


def _error_statuses(route: ApiRoute) -> list[int]:
    """Return the statuses of errors that a route may answer with, beside 405 and 500."""
    statuses = {401, 422, 503}
    if route.role != "read":
        statuses.add(403)
    if route.body is not None:
        statuses |= {400, 413, 415}
    if "{" in route.path or (route.body is not None and b'"format":"uuid"' in encode(_components([route.body]))):
        statuses.add(404)
    return sorted(statuses)


def _codes_by_status() -> dict[int, list[str]]:
    codes: dict[int, list[str]] = {}
    for kind in refusals():
        codes.setdefault(status_and_code(kind)[0], []).append(kind.code)
    return dict(sorted(codes.items()))


def _error_response(status: int) -> Schema:
    codes = ", ".join(f"`{code}`" for code in _codes_by_status()[status])
    response: Schema = {
        "description": f"{HTTPStatus(status).phrase}: {codes}",
        "content": {"application/json": {"schema": _ref("schemas", "ErrorBody")}},
    }
    owed = {401: "WWW-Authenticate", 405: "Allow", 503: "Retry-After"}.get(status)
    if owed is not None:
        response["headers"] = {owed: _ref("headers", owed)}
    return response


def _refusal() -> Schema:
    return {
        "description": "What was wrong, by a stable code and typed fields.",
        "oneOf": [_refusal_kind(kind) for kind in refusals()],
    }


def _refusal_kind(kind: type[LedgerError]) -> Schema:
    properties: dict[str, Schema] = {"code": {"const": kind.code}, "retryable": {"const": kind.retryable}}
    for field in dataclasses.fields(kind):
        if field.name != "parameter":
            properties[field.name] = _schema_of(field.type | None if field.name in kind.nullable else field.type)  # type: ignore[operator] # its type stands there, not its name
    return {
        "title": kind.__name__,
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "x-status": status_and_code(kind)[0],
    }


def _parameters() -> dict[str, Schema]:
    return {
        "Idempotency-Key": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": (
                "A text of yours that names this write. Repeated with the same body on the same route, the write "
                "happens once and is answered alike; with another body it is refused."
            ),
            "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX},
        },
        "per_page": {
            "name": "per_page",
            "in": "query",
            "description": "Objects on a page.",
            "schema": {"type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX, "default": PER_PAGE_DEFAULT},
        },
        "after_cursor": {
            "name": "after_cursor",
            "in": "query",
            "description": "The X-After-Cursor of the page before, with the same filters.",
            "schema": {"type": "string"},
        },
    }


def _headers() -> dict[str, Schema]:
    return {
        "X-Per-Page": {
            "description": "Objects on a page, as asked for.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX},
        },
        "X-After-Cursor": {
            "description": "Cursor of the next page; absent on the last one.",
            "schema": {"type": "string"},
        },
        "WWW-Authenticate": {"required": True, "schema": {"type": "string"}},
        "Allow": {"description": "Methods that the route takes.", "required": True, "schema": {"type": "string"}},
        "Retry-After": {
            "description": "Seconds to wait before the request is sent again.",
            "required": True,
            "schema": {"type": "integer", "minimum": 0},
        },
    }


def _security_schemes() -> dict[str, Schema]:
    return {
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "The organization's id as user name and an API key as password, or the key as user name.",
        },
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    }
