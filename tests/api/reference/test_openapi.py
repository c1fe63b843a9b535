"""The OpenAPI document and the reference page made from it."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import msgspec
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from doppia.accounting.errors import AmountOutOfRange, LedgerError
from doppia.accounting.money import AMOUNT_MAX
from doppia.api.http.errors import error_detail
from doppia.api.http.lists import parse_list
from doppia.api.reference import document as openapi
from doppia.api.reference import page as page_of
from doppia.api.routes import PREFIXES, ROUTES, ApiRoute

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    served = await client.get("/openapi.json")
    assert served.headers["content-type"] == "application/json"
    read: dict[str, Any] = json.loads(served.content)
    return read


@pytest.fixture
async def page(client: httpx2.AsyncClient) -> str:
    return (await client.get("/docs")).text


def tree(root: type[LedgerError]) -> Iterator[type[LedgerError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from tree(kind)


def operation_of(route: ApiRoute, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][f"/api{route.path}"][route.method.lower()]
    return found


def validator(document: dict[str, Any], name: str) -> jsonschema_rs.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


async def test_every_route_is_in_the_document_under_both_prefixes(document: dict[str, Any]) -> None:
    for route in ROUTES:
        assert operation_of(route, document)["x-role"] == route.role
        pointer = document["paths"][f"/v1{route.path}"]["$ref"]
        assert pointer == f"#/paths/~1api{route.path.replace('/', '~1').replace('{', '%7B').replace('}', '%7D')}"
    for open_route in openapi.OPEN_ROUTES:
        assert document["paths"][open_route.path]["get"]["security"] == []

    known = {prefix + route.path for prefix in PREFIXES for route in ROUTES} | {r.path for r in openapi.OPEN_ROUTES}
    assert set(document["paths"]) == known


async def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "$ref"
    ]
    assert len(ids) == len(set(ids))


async def test_a_summary_is_the_first_clause_and_breaks_no_number(document: dict[str, Any]) -> None:
    assert document["paths"]["/api/bulk_requests"]["post"]["summary"] == "Send up to 10,000 writes at once"
    assert document["paths"]["/api/allocations"]["post"]["summary"] == "Split an amount by weights"


async def test_the_largest_amount_is_exact_in_the_served_bytes(client: httpx2.AsyncClient) -> None:
    served = (await client.get("/openapi.json")).text
    amount = json.loads(served)["components"]["schemas"]["EntryCreate"]["properties"]["amount"]["anyOf"][0]

    assert f'"maximum":{AMOUNT_MAX}' in served
    assert re.search(r"\d[eE]\+?\d+[,}]", served) is None
    assert (amount["minimum"], amount["maximum"]) == (0, 10**36)
    assert isinstance(amount["maximum"], int)


async def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    OPENAPI_31_VALIDATOR.validate(document)


async def test_every_schema_of_the_document_is_valid_json_schema(document: dict[str, Any]) -> None:
    for name in document["components"]["schemas"]:
        validator(document, name)
    for route in ROUTES:
        for parameter in operation_of(route, document)["parameters"]:
            if "schema" in parameter:
                jsonschema_rs.meta.validate(parameter["schema"])


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    for reference in references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("%7B", "{").replace("%7D", "}")]


async def test_every_refusal_of_the_tree_is_described_with_its_status(document: dict[str, Any]) -> None:
    kinds = [kind for kind in tree(LedgerError) if "code" in vars(kind)]
    described = {
        kind["properties"]["code"]["const"]: kind for kind in document["components"]["schemas"]["Refusal"]["oneOf"]
    }

    assert set(described) == {kind.code for kind in kinds}
    for code, kind in described.items():
        assert f"`{code}`" in document["components"]["responses"][f"Error{kind['x-status']}"]["description"]


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("/api/ledgers?nonsense=1", "parameter_unknown"),
        ("/api/ledgers/65a1b2c3-0000-8000-8400-000000000400", "object_not_found"),
        ("/api/ledgers?after_cursor=x", "invalid_cursor"),
        ("/api/nothing", "route_not_found"),
    ],
)
async def test_a_refusal_on_the_wire_is_as_the_document_describes_it(
    client: httpx2.AsyncClient, document: dict[str, Any], path: str, refusal: str
) -> None:
    answer = (await client.get(path)).json()

    assert answer["errors"]["refusal"]["code"] == refusal
    validator(document, "ErrorBody").validate(answer)


async def test_a_refusal_may_be_silent_about_a_number_too_long_to_repeat(document: dict[str, Any]) -> None:
    _, detail = error_detail(AmountOutOfRange(parameter="amount", amount=10**50))

    validator(document, "ErrorDetail").validate(msgspec.to_builtins(detail))


async def test_bodies_forbid_unknown_fields_in_the_document_as_in_the_decoder(document: dict[str, Any]) -> None:
    for route in ROUTES:
        if route.body is not None:
            schema = document["components"]["schemas"][route.body.__name__]
            assert schema["additionalProperties"] is False
            with pytest.raises(msgspec.ValidationError, match="unknown field"):
                msgspec.convert({**route.body.example, "nonsense": 1}, route.body)


async def test_every_example_body_is_one_that_its_route_decodes(document: dict[str, Any]) -> None:
    for route in ROUTES:
        if route.body is not None:
            example = operation_of(route, document)["requestBody"]["content"]["application/json"]["example"]
            validator(document, route.body.__name__).validate(example)
            msgspec.convert(example, route.body)


def value_of(schema: dict[str, Any]) -> str:
    """Return a value that a parameter of this schema takes."""
    by_format = {"uuid": "65a1b2c3-0000-8000-8400-000000000400", "date": "2026-03-31"}
    if "enum" in schema:
        return str(schema["enum"][0])
    if "format" in schema:
        return by_format.get(schema["format"], "2026-03-31T23:59:59Z")
    return {"integer": "7", "boolean": "true", "string": "x"}[schema["type"]]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.filters], ids=lambda r: f"{r.method} {r.path}")
async def test_every_filter_is_read_in_the_forms_of_the_document_and_no_other(
    document: dict[str, Any], route: ApiRoute
) -> None:
    forms = {}
    for parameter in operation_of(route, document)["parameters"]:
        if parameter.get("in") == "query":
            schema = parameter["schema"]
            name = f"{parameter['name']}[key]" if parameter.get("style") == "deepObject" else parameter["name"]
            forms[name] = value_of(schema.get("items", schema.get("additionalProperties", schema)))
    bases = {name.partition("[")[0] for name in forms}
    every = {base + suffix for base in bases for suffix in ("", "[]", "[gt]", "[eq]", "[created_at]")}

    for name, value in forms.items():
        parse_list(f"{name}={value}".encode(), route.path, route.filters, paged=route.is_list)
    for name in every - set(forms) - {"metadata[gt]", "metadata[eq]", "metadata[created_at]"}:
        with pytest.raises(LedgerError):
            parse_list(
                f"{name}={value_of({'type': 'string'})}".encode(), route.path, route.filters, paged=route.is_list
            )


async def test_lists_describe_their_pages(document: dict[str, Any]) -> None:
    for route in ROUTES:
        if route.is_list:
            operation = operation_of(route, document)
            parameters = [parameter.get("$ref", "") for parameter in operation["parameters"]]
            assert "#/components/parameters/per_page" in parameters
            assert "#/components/parameters/after_cursor" in parameters
            assert set(operation["responses"]["200"]["headers"]) == {"X-Per-Page", "X-After-Cursor"}

    schema = document["components"]["parameters"]["per_page"]["schema"]
    assert schema == {"type": "integer", "minimum": 1, "maximum": 100, "default": 25}


async def test_writes_take_an_idempotency_key_and_reads_do_not(document: dict[str, Any]) -> None:
    for route in ROUTES:
        references = [parameter.get("$ref") for parameter in operation_of(route, document)["parameters"]]
        assert ("#/components/parameters/Idempotency-Key" in references) == (route.role != "read")


async def test_the_page_shows_every_route_and_every_refusal(page: str) -> None:
    for route in ROUTES:
        assert f'<span class="path">/api{route.path}</span>' in page
    for open_route in openapi.OPEN_ROUTES:
        assert f'<span class="path">{open_route.path}</span>' in page
    for kind in tree(LedgerError):
        if "code" in vars(kind):
            assert f'<code id="{kind.code}">' in page


async def test_the_page_fetches_nothing_and_may_not(client: httpx2.AsyncClient) -> None:
    served = await client.get("/docs")
    attributes = re.findall(r'\b(?:src|href|action|srcset)="([^"]*)"', served.text)

    assert {target.partition("#")[0] for target in attributes} == {"", "/openapi.json", "data:,"}
    assert re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", served.text) is None
    assert served.headers["content-security-policy"].startswith("default-src 'none'")


async def test_every_link_inside_the_page_has_its_target(page: str) -> None:
    targets = set(re.findall(r'\bid="([^"]+)"', page))

    assert {link for link in re.findall(r'href="#([^"]+)"', page) if link not in targets} == set()


async def test_the_page_needs_no_script_to_be_read_and_its_script_reads_no_number(page: str) -> None:
    script = page[page.index("<script>") : page.index("</script>")]

    assert "JSON.parse" not in script
    assert "Number" not in script
    assert "0 to 10^36" in page


async def test_what_the_document_says_is_text_on_the_page_and_no_html(document: dict[str, Any]) -> None:
    marked = '<b>bold</b> & "quoted" `<i>code</i>`'
    document["info"] |= {"title": marked, "description": marked}
    operation = document["paths"]["/api/ledgers"]["post"]
    operation |= {"summary": marked, "description": f"{marked}\n\n{marked}"}
    body = operation["requestBody"]["content"]["application/json"]
    body["example"] = {"name": marked}
    schema = document["components"]["schemas"]["LedgerCreate"]
    schema["description"] = marked
    schema["properties"][marked] = {"enum": [marked], "description": marked, "default": marked}
    document["components"]["schemas"]["Refusal"]["oneOf"][0]["description"] = marked

    rendered = page_of.render(document)

    assert re.search(r"<[bi]>", rendered) is None
    assert rendered.count("&lt;b&gt;bold&lt;/b&gt; &amp; &#34;quoted&#34; <code>&lt;i&gt;code&lt;/i&gt;</code>") >= 8
    assert f'data-words="post /api/ledgers {html.escape(marked)}"'.replace("&quot;", "&#34;") in rendered
