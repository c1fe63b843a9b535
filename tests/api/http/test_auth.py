"""Who may call: keys in each of their forms, keys that are none, revoked ones, and roles."""

import asyncio
import base64
import re
import time
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from doppia.api.app import create_app
from doppia.api.http.auth import CACHE_SECONDS
from doppia.api.routes import ROUTES
from doppia.engine.platform import keys
from doppia.store.platform import organizations
from tests.api.over_http import Books, Refusal, now, pair, refusal

pytestmark = pytest.mark.anyio


def basic(user: str, password: str = "") -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _bytes(header: str | bytes) -> bytes:
    return header if isinstance(header, bytes) else header.encode()


async def ping(books: Books, header: str | bytes | None, path: str = "/api/ping") -> httpx2.Response:
    """Call with this Authorization header and nothing else."""
    transport = httpx2.ASGITransport(app=create_app(books.service))
    async with httpx2.AsyncClient(transport=transport, base_url="http://doppia.test") as client:
        return await client.get(path, headers=[] if header is None else [(b"Authorization", _bytes(header))])


async def test_a_key_is_taken_as_basic_with_the_organization_as_basic_alone_and_as_bearer(books: Books) -> None:
    organization = str(books.organization_id)
    for header in (
        basic(organization, books.api_key),
        basic(organization.upper(), books.api_key),
        basic(books.api_key),
        base64.b64encode(books.api_key.encode()).decode().join(("Basic ", "")),
        f"Bearer {books.api_key}",
        f"bearer   {books.api_key} ",
        basic(books.api_key).replace("Basic", "bASIC"),
    ):
        for path in ("/api/ping", "/v1/ping"):
            answer = await ping(books, header, path)
            assert (answer.status_code, answer.json()) == (200, {"ping": "pong"}), header


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Basic", "Basic ", "Bearer", "Bearer ", "Digest x", "x", "Basic !!!!", "Basic ====", "Basic Zg",
        basic(""), basic("", "x"), "Basic " + base64.b64encode(b"\xff\xfe:x").decode(), b"Basic \xe9", b"\xff",
    ],
)  # fmt: skip
async def test_without_a_key_that_can_be_read_it_is_asked_for(books: Books, header: str | bytes | None) -> None:
    answer = await ping(books, header)
    assert refusal(answer) == Refusal(401, "key_missing", None)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="doppia", Bearer'


@pytest.mark.parametrize(
    "header",
    [
        "Bearer x", "Bearer doppia_", basic("doppia_wrong"), basic("not-a-uuid", "x"),
        basic("01a1fc8f-5c52-7018-800f-bdecead6b558", "x"),
        "Bearer " + "x" * 10_000, b"Bearer \xe9\xff", basic("\x00"), basic("a\x00b", "c"), basic("é" * 50),
    ],
)  # fmt: skip
async def test_a_key_that_is_none_is_refused(books: Books, header: str | bytes) -> None:
    answer = await ping(books, header)
    assert refusal(answer) == Refusal(401, "key_invalid", None)


async def test_a_key_with_another_organizations_id_is_refused(books: Books, others: Books) -> None:
    for organization in (str(others.organization_id), str(uuid4()), "x"):
        answer = await ping(books, basic(organization, books.api_key))
        assert refusal(answer) == Refusal(401, "key_invalid", None)


async def short_lived(books: Books) -> tuple[UUID, str]:
    database = books.service.engine.database
    fields, api_key = await keys.create(database, now, books.organization_id, name="short-lived", role="write")
    return fields.id, f"Bearer {api_key}"


async def test_a_revoked_key_is_refused_by_the_next_request(books: Books) -> None:
    key_id, header = await short_lived(books)
    assert (await ping(books, header)).status_code == 200
    assert await keys.revoke(books.service.engine.database, now, books.organization_id, key_id)
    assert refusal(await ping(books, header)) == Refusal(401, "key_invalid", None)
    assert not await keys.revoke(books.service.engine.database, now, books.organization_id, key_id)
    assert (await ping(books, f"Bearer {books.api_key}")).status_code == 200


async def test_a_process_that_remembers_keys_hears_of_a_revocation_before_it_would_forget(books: Books) -> None:
    key_id, header = await short_lived(books)
    authenticator = books.service.authenticator
    listener = organizations.listen_for_revocations(books.service.engine.database._url, authenticator.forget)
    listening = asyncio.create_task(listener)
    deadline = time.monotonic() + CACHE_SECONDS
    while header.encode() not in authenticator._known:
        assert (await ping(books, header)).status_code == 200
        assert time.monotonic() < deadline, "no key was remembered"
    remembered_until = authenticator._known[header.encode()][1]
    await keys.revoke(books.service.engine.database, now, books.organization_id, key_id)
    while (await ping(books, header)).status_code == 200:
        assert time.monotonic() < remembered_until, "the revocation was not heard"
        # A remembered key is answered without waiting for anything, so the loop would never get to hear of it.
        await asyncio.sleep(0.01)
    assert time.monotonic() < remembered_until
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    # Deaf again, it remembers nobody.
    assert (await ping(books, f"Bearer {books.api_key}")).status_code == 200
    assert authenticator._known == {}


async def test_every_route_asks_for_a_key_before_anything_else(books: Books) -> None:
    before = await books.state()
    transport = httpx2.ASGITransport(app=create_app(books.service))
    async with httpx2.AsyncClient(transport=transport, base_url="http://doppia.test") as client:
        for route in ROUTES:
            for prefix in ("/api", "/v1"):
                path = f"{prefix}{re.sub('{[a-z_]+}', 'x', route.path)}?nonsense=1"
                answer = await client.request(route.method, path, content=b"{")
                assert refusal(answer).code == "key_missing", route.path
    assert await books.state() == before


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"])
async def test_what_operators_and_readers_need_asks_for_no_key(books: Books, path: str) -> None:
    assert (await ping(books, None, path)).status_code == 200


@pytest.mark.parametrize("role", ["read", "write", "admin"])
async def test_a_role_allows_what_it_says_and_nothing_more(books: Books, role: Any) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    ledger, auth = cash["ledger_id"], (str(books.organization_id), await books.key(role))
    account = {"name": "x", "ledger_id": ledger, "currency": "PHP", "normal_balance": "debit"}
    doomed = await books.ledger()
    calls: list[tuple[str, str, str, Any]] = [
        ("read", "GET", "/ping", None),
        ("read", "GET", "/ledgers", None),
        ("read", "GET", f"/ledgers/{ledger}", None),
        ("read", "GET", "/ledger_accounts", None),
        ("read", "GET", f"/ledger_accounts/{cash['id']}", None),
        ("read", "GET", "/ledger_transactions", None),
        ("read", "GET", f"/ledger_transactions/{made['id']}", None),
        ("read", "GET", "/ledger_entries", None),
        ("read", "GET", f"/ledger_entries/{made['ledger_entries'][0]['id']}", None),
        ("write", "POST", "/ledger_transactions", {"ledger_entries": pair(cash, wallet)}),
        ("write", "PATCH", f"/ledger_transactions/{made['id']}", {"metadata": {"a": "b"}}),
        ("write", "POST", f"/ledger_transactions/{made['id']}/reversal", {}),
        ("write", "PATCH", f"/ledger_entries/{made['ledger_entries'][0]['id']}", {"metadata": {"a": "b"}}),
        ("write", "POST", "/ledger_accounts", account),
        ("write", "PATCH", f"/ledger_accounts/{cash['id']}", {"name": "x"}),
        ("write", "POST", "/ledgers", {"name": "x"}),
        ("write", "PATCH", f"/ledgers/{ledger}", {"name": "x"}),
        ("write", "DELETE", f"/ledgers/{doomed['id']}", None),
        ("admin", "DELETE", f"/ledgers/{doomed['id']}?purge=true&confirm={doomed['id']}", None),
    ]
    ranks = ["read", "write", "admin"]
    for needed, method, path, body in calls:
        before = await books.state()
        answer = await books.client.request(method, f"/api{path}", json=body, auth=auth)
        if ranks.index(role) >= ranks.index(needed):
            assert answer.status_code in {200, 201}, (method, path, answer.text)
            continue
        assert refusal(answer) == Refusal(403, "role_insufficient", None)
        # The route is asked for first, and what the purge needs beyond it then.
        assert answer.json()["errors"]["refusal"]["role_needed"] == ("write" if role == "read" else needed)
        assert await books.state() == before
