"""Requests that can't be read or hold what can't be stored: bodies, texts, headers, methods and paths."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from doppia.api.http.request import BODY_BYTES_MAX
from tests.api.over_http import Books, Json, Refusal, entry, pair, refusal

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


async def send(books: Books, method: str, path: str, content: Any, headers: Any = None) -> httpx2.Response:
    return await books.client.request(method, f"/api{path}", content=content, headers=headers or JSON)


@pytest.mark.parametrize(
    "content",
    [b"{", b"}", b'{"name": }', b'{"name": "x",}', b"{'name': 'x'}", b'{"name": "x"} x', b"name=x", b"\xff\xfe",
     b'{"name": "\xff"}', b'{"name": "\xed\xa0\x80"}', b'\xef\xbb\xbf{"name": "x"}', b'{"name": "a\nb"}', b"nul",
     '{"name": "x"}'.encode("utf-16"), b'{"name": "\\x41"}', b'{"name": "\\u00"}', b"\x00", b" ", b"// c\n{}"],
)  # fmt: skip
async def test_a_body_that_is_no_json_is_refused(books: Books, content: bytes) -> None:
    before = await books.state()
    assert refusal(await send(books, "POST", "/ledgers", content)) == Refusal(400, "invalid_json", None)
    assert await books.state() == before


@pytest.mark.parametrize("content", [b"[]", b"null", b'"x"', b"5", b"true", b"[{}]"])
async def test_a_body_that_is_no_object_is_refused(books: Books, content: bytes) -> None:
    assert refusal(await send(books, "POST", "/ledgers", content)) == Refusal(422, "parameter_invalid", None)


@pytest.mark.parametrize(
    "opening", [b"[", b'{"a":', b'{"name": "x", "metadata": {"a":', b'{"name": [', b'{"\\u0000":[']
)
async def test_a_deeply_nested_body_is_refused(books: Books, opening: bytes) -> None:
    before = await books.state()
    for times in (50, 5_000, 500_000):
        answer = await send(books, "POST", "/ledgers", opening[:1] * (times - 1) + opening * times)
        assert refusal(answer).status in {400, 422}
        assert len(answer.content) < 1000
    closed = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert refusal(await send(books, "POST", "/ledgers", closed)).status in {400, 422}
    assert await books.state() == before


@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "é",
                   "application/jsonp", "text/json", "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/ledgers"), ("PATCH", "/ledgers/{}")])
async def test_a_body_that_is_not_declared_as_json_is_refused(
    books: Books, method: str, path: str, media_type: str | None
) -> None:
    made = await books.ledger()
    before = await books.state()
    headers = [] if media_type is None else [(b"Content-Type", media_type.encode())]
    request = books.client.build_request(
        method, f"/api{path.format(made['id'])}", content=b'{"name": "x"}', headers=headers
    )
    answer = await books.client.send(request)
    assert refusal(answer) == Refusal(415, "wrong_content_type", None)
    assert len(answer.content) < 1000
    assert await books.state() == before


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON", "application/json;charset=UTF-8"])
async def test_json_is_declared_in_any_case_and_with_a_charset(books: Books, media_type: str) -> None:
    answer = await send(books, "POST", "/ledgers", b'{"name": "x"}', {"Content-Type": media_type})
    assert answer.status_code == 201


async def test_a_body_that_may_be_empty_may_be_left_out(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    answer = await books.client.post(f"/api/ledger_transactions/{made['id']}/reversal")
    assert answer.status_code == 201
    missing = await books.client.post("/api/ledgers")
    assert refusal(missing) == Refusal(422, "parameter_missing", "name")


async def _chunks(size: int) -> AsyncIterator[bytes]:
    yield b'{"name": "'
    for _ in range(size // 1_000_000):
        yield b"x" * 1_000_000
    yield b'"}'


async def test_a_body_over_25_mb_is_refused_with_and_without_its_length(books: Books) -> None:
    before = await books.state()
    expected = Refusal(413, "body_too_large", None)
    assert refusal(await send(books, "POST", "/ledgers", b" " * (BODY_BYTES_MAX + 1))) == expected
    assert refusal(await send(books, "POST", "/ledgers", _chunks(26_000_000))) == expected
    assert refusal(await send(books, "POST", "/ledgers", b"{}", {**JSON, "Content-Length": "9" * 30})) == expected
    assert await books.state() == before


async def test_a_body_of_25_mb_is_read(books: Books) -> None:
    content = b'{"name": "x"}'
    answer = await send(books, "POST", "/ledgers", content + b" " * (BODY_BYTES_MAX - len(content)))
    assert answer.status_code == 201


NUL, HALF, OTHER_HALF, SWAPPED = r"a\u0000b", r"a\ud800b", r"\uDFFF", r"\ude00\ud83d"


@pytest.mark.parametrize("text", [NUL, HALF, OTHER_HALF, SWAPPED])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/ledgers", {"name": "TEXT"}),
        ("POST", "/ledgers", {"name": "x", "description": "TEXT"}),
        ("POST", "/ledgers", {"name": "x", "metadata": {"TEXT": "v"}}),
        ("POST", "/ledgers", {"name": "x", "metadata": {"k": "TEXT"}}),
        ("PATCH", "/ledgers/LEDGER", {"name": "TEXT"}),
        ("PATCH", "/ledgers/LEDGER", {"metadata": {"TEXT": None}}),
        ("POST", "/ledger_accounts", {"name": "TEXT"}),
        ("POST", "/ledger_accounts", {"currency": "TEXT"}),
        ("POST", "/ledger_accounts", {"external_id": "TEXT"}),
        ("POST", "/ledger_accounts", {"ledgerable_id": "TEXT"}),
        ("POST", "/ledger_accounts", {"ledger_id": "TEXT"}),
        ("PATCH", "/ledger_accounts/ACCOUNT", {"external_id": "TEXT"}),
        ("PATCH", "/ledger_accounts/ACCOUNT", {"TEXT": "x"}),
        ("POST", "/ledger_transactions", {"description": "TEXT"}),
        ("POST", "/ledger_transactions", {"external_id": "TEXT"}),
        ("POST", "/ledger_transactions", {"metadata": {"TEXT": "TEXT"}}),
        ("POST", "/ledger_transactions", {"effective_at": "TEXT"}),
        ("POST", "/ledger_transactions", {"entry": {"metadata": {"k": "TEXT"}}}),
        ("POST", "/ledger_transactions", {"entry": {"ledger_account_id": "TEXT"}}),
        ("POST", "/ledger_transactions", {"entry": {"amount_string": "TEXT"}}),
        ("PATCH", "/ledger_transactions/TRANSACTION", {"ledgerable_type": "TEXT"}),
        ("POST", "/ledger_transactions/TRANSACTION/reversal", {"description": "TEXT"}),
        ("PATCH", "/ledger_entries/ENTRY", {"metadata": {"k": "TEXT"}}),
        ("PATCH", "/ledger_entries/ENTRY", {"metadata": {"TEXT": "v"}}),
    ],
)  # fmt: skip
async def test_what_no_database_stores_is_refused_in_every_text(
    books: Books, method: str, path: str, body: Json, text: str
) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    for name, id_ in (("LEDGER", cash["ledger_id"]), ("ACCOUNT", cash["id"]), ("TRANSACTION", made["id"])):
        path = path.replace(name, id_)
    path = path.replace("ENTRY", made["ledger_entries"][0]["id"])
    if path == "/ledger_accounts":
        ledger = cash["ledger_id"]
        body = {"name": "x", "ledger_id": ledger, "currency": "PHP", "normal_balance": "debit", **body}
    if path == "/ledger_transactions":
        plain = {name: value for name, value in body.items() if name != "entry"}
        legs = [entry(cash, "debit", **body.get("entry", {})), entry(wallet, "credit")]
        body = {"ledger_entries": legs, **plain}
    before = await books.state()
    answer = await send(books, method, path, json.dumps(body).replace("TEXT", text).encode())
    assert refusal(answer).status == 422
    assert refusal(answer).code == "invalid_text"
    assert await books.state() == before


async def test_whole_characters_beyond_the_first_plane_are_stored_and_answered(books: Books) -> None:
    text = "\U0001f600 é \u2028 \x7f \uffff \x01"
    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        answer = await send(
            books, "POST", "/ledgers", f'{{"name": {written}, "metadata": {{{written}: "v"}}}}'.encode()
        )
        assert answer.status_code == 201
        read = await books.read(f"/ledgers/{answer.json()['id']}")
        assert (read["name"], read["metadata"]) == (text, {text: "v"})


async def test_a_backslash_before_an_escape_is_a_text_like_any_other(books: Books) -> None:
    answer = await send(books, "POST", "/ledgers", rb'{"name": "\\u0000 \\ud800"}')
    assert answer.json()["name"] == r"\u0000 \ud800"


BOOKS: list[tuple[str, Json, Refusal]] = [
    ("/ledgers", {}, Refusal(422, "parameter_missing", "name")),
    ("/ledgers", {"name": ""}, Refusal(422, "parameter_invalid", "name")),
    ("/ledgers", {"name": None}, Refusal(422, "parameter_invalid", "name")),
    ("/ledgers", {"name": "x" * 1001}, Refusal(422, "parameter_invalid", "name")),
    ("/ledgers", {"name": "x", "description": "x" * 1001}, Refusal(422, "parameter_invalid", "description")),
    ("/ledgers", {"name": "x", "currency": "PHP"}, Refusal(422, "parameter_unknown", "currency")),
    ("/ledgers", {"name": "x", "metadata": {"k": 5}}, Refusal(422, "parameter_invalid", "metadata[...]")),
    ("/ledgers", {"name": "x", "x" * 5000: 1}, Refusal(422, "parameter_unknown", "x" * 200)),
    ("/ledger_accounts", {"name": ""}, Refusal(422, "parameter_invalid", "name")),
    ("/ledger_accounts", {"normal_balance": "both"}, Refusal(422, "parameter_invalid", "normal_balance")),
    ("/ledger_accounts", {"external_id": "x" * 181}, Refusal(422, "parameter_invalid", "external_id")),
    ("/ledger_accounts", {"currency": ""}, Refusal(422, "invalid_currency", "currency")),
    ("/ledger_accounts", {"currency": "php"}, Refusal(422, "invalid_currency", "currency")),
    ("/ledger_accounts", {"currency": "PTS"}, Refusal(422, "invalid_currency", "currency")),
    ("/ledger_accounts", {"currency": "x" * 5000, "currency_exponent": 2},
     Refusal(422, "parameter_invalid", "currency")),
    ("/ledger_accounts", {"currency_exponent": 3}, Refusal(422, "invalid_currency", "currency")),
    ("/ledger_accounts", {"currency": "PTS", "currency_exponent": 31},
     Refusal(422, "parameter_invalid", "currency_exponent")),
    ("/ledger_accounts", {"currency": "PTS", "currency_exponent": -1},
     Refusal(422, "parameter_invalid", "currency_exponent")),
    ("/ledger_accounts", {"currency": "PTS", "currency_exponent": 10**400},
     Refusal(422, "parameter_invalid", "currency_exponent")),
    ("/ledger_accounts", {"currency_exponent": "2"}, Refusal(422, "parameter_invalid", "currency_exponent")),
    ("/ledger_accounts", {"ledger_id": "x"}, Refusal(404, "object_not_found", "ledger_id")),
    ("/ledger_accounts", {"ledger_id": "65a1b2c3-0000-8000-8400-000000000400"},
     Refusal(404, "object_not_found", "ledger_id")),
    ("/ledger_accounts", {"ledger_account_category_ids": [5]},
     Refusal(422, "parameter_invalid", "ledger_account_category_ids[0]")),
    ("/ledger_accounts", {"metadata": {"k" * 101: "v"}}, Refusal(422, "metadata_too_large", "metadata")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields", "expected"), BOOKS)
async def test_a_ledger_or_account_that_cannot_be_is_refused(
    books: Books, path: str, fields: Json, expected: Refusal
) -> None:
    ledger = await books.ledger()
    before = await books.state()
    account = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "debit"}
    answer = await books.post(path, fields if path == "/ledgers" else {**account, **fields})
    assert refusal(answer) == expected
    assert len(answer.content) < 1000
    assert await books.state() == before


async def test_an_account_is_not_opened_in_a_ledger_of_another_second(books: Books) -> None:
    ledger = await books.ledger()
    account = {"name": "x", "ledger_id": f"00000001{ledger['id'][8:]}", "currency": "PHP", "normal_balance": "debit"}
    before = await books.state()
    assert refusal(await books.post("/ledger_accounts", account)) == Refusal(404, "object_not_found", "ledger_id")
    assert await books.state() == before


@pytest.mark.parametrize("size", [100, 101])
async def test_metadata_has_at_most_100_pairs_of_100_and_1000_characters(books: Books, size: int) -> None:
    metadata = {f"{number:0>100}": "v" * 1000 for number in range(size)}
    answer = await books.post("/ledgers", {"name": "x", "metadata": metadata})
    assert answer.status_code == (201 if size == 100 else 422)
    if size == 100:
        assert answer.json()["metadata"] == metadata


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/ledgers", "GET, POST"), ("DELETE", "/api/ledgers", "GET, POST"),
        ("DELETE", "/v1/ledger_transactions/x", "GET, PATCH"), ("GET", "/api/ledger_transactions/x/reversal", "POST"),
        ("POST", "/api/ledger_entries", "GET"), ("OPTIONS", "/api/ping", "GET"), ("TRACE", "/api/ping", "GET"),
        ("BREW", "/api/ping", "GET"), ("POST", "/healthz", "GET"),
    ],
)  # fmt: skip
async def test_a_method_that_a_route_does_not_take_is_refused_with_those_it_takes(
    books: Books, method: str, path: str, allowed: str
) -> None:
    before = await books.state()
    answer = await books.client.request(method, path)
    assert refusal(answer) == Refusal(405, "method_not_allowed", None)
    assert answer.headers["Allow"] == allowed
    assert await books.state() == before


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/", "/api/ledger", "/api/ledgers/", "/api/ledgers/x/y", "/v2/ledgers", "/api/Ledgers",
     "//api/ping", "/api/%2e%2e/ping", "/api/\u00e9", "/" + "x" * 5000],
)  # fmt: skip
async def test_an_unknown_route_says_so(books: Books, path: str) -> None:
    for method in ("GET", "POST"):
        request = books.client.build_request(method, "http://doppia.test" + path)
        answer = await books.client.send(request)
        assert refusal(answer).status == 404
        assert len(answer.content) < 1000


@pytest.mark.parametrize("path", ["/api/ping", "/api/ledgers", "/healthz"])
async def test_head_answers_like_get_without_the_body(books: Books, path: str) -> None:
    got, headed = await books.client.get(path), await books.client.head(path)
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers == got.headers


async def test_a_coarse_code_of_the_format_stands_beside_the_exact_one(books: Books) -> None:
    one_sided = pair(*await books.cash_and_wallet())[:1]
    for answer, status, coarse in (
        (await books.get("/ledgers/x"), 404, "resource_not_found"),
        (await books.get("/nothing"), 404, "not_found"),
        (await books.post("/ledgers", {}), 422, "parameter_missing"),
        (await books.post("/ledgers", {"name": 5}), 422, "parameter_invalid"),
        (
            await books.post("/ledger_transactions", {"ledger_entries": one_sided}),
            422,
            "parameter_invalid",
        ),
        (await books.client.get("/api/ping", auth=("x", "")), 401, "invalid_key"),
    ):
        assert (answer.status_code, answer.json()["errors"]["code"]) == (status, coarse)
