"""What tests of the HTTP API share: an organization's books, the shapes of requests, and what a refusal says."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx2

from doppia.api.app import create_app
from doppia.api.http.request import Service
from doppia.engine.platform import keys
from doppia.store.platform import organizations
from doppia.store.platform.organizations import Role

Json = dict[str, Any]


class Refusal(NamedTuple):
    """What a refused request was told."""

    status: int
    code: str
    parameter: str | None


def now() -> datetime:
    return datetime.now(UTC)


def entry(account: Json, direction: str, amount: Any = 100, **fields: Any) -> Json:
    return {"ledger_account_id": account["id"], "direction": direction, "amount": amount, **fields}


def pair(debited: Json, credited: Json, amount: Any = 100) -> list[Json]:
    return [entry(debited, "debit", amount), entry(credited, "credit", amount)]


def refusal(answer: httpx2.Response) -> Refusal:
    """Return what an answer refuses; each error object has the same form and says a sentence."""
    errors = answer.json()["errors"]
    assert set(answer.json()) == {"errors"}
    assert set(errors) == {"code", "message", "parameter", "refusal"}
    assert answer.headers["content-type"] == "application/json"
    assert errors["message"][0].isupper() or errors["message"].startswith(str(errors["parameter"]))
    assert errors["message"].endswith((".", "?"))
    assert isinstance(errors["refusal"]["retryable"], bool)
    return Refusal(answer.status_code, errors["refusal"]["code"], errors["parameter"])


def ids(rows: Any) -> list[str]:
    return [row["id"] for row in rows.json()] if isinstance(rows, httpx2.Response) else [row["id"] for row in rows]


@dataclass
class Books:
    """An organization, with an HTTP client that holds its admin's key."""

    service: Service
    organization_id: UUID
    api_key: str
    client: httpx2.AsyncClient

    async def post(self, path: str, body: Any, key: str | None = None) -> httpx2.Response:
        return await self.client.post(f"/api{path}", json=body, headers={"Idempotency-Key": key} if key else {})

    async def patch(self, path: str, body: Any, key: str | None = None) -> httpx2.Response:
        return await self.client.patch(f"/api{path}", json=body, headers={"Idempotency-Key": key} if key else {})

    async def delete(self, path: str, key: str | None = None) -> httpx2.Response:
        return await self.client.delete(f"/api{path}", headers={"Idempotency-Key": key} if key else {})

    async def get(self, path: str) -> httpx2.Response:
        return await self.client.get(f"/api{path}")

    async def read(self, path: str) -> Any:
        """Read what must be there."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def _made(self, path: str, body: Json) -> Json:
        answer = await self.post(path, body)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    async def ledger(self, **fields: Any) -> Json:
        return await self._made("/ledgers", {"name": "books", **fields})

    async def account(self, ledger: Json, normal_balance: str = "debit", **fields: Any) -> Json:
        body = {"name": "account", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": normal_balance}
        return await self._made("/ledger_accounts", {**body, **fields})

    async def category(self, ledger: Json, *parents: Json, normal_balance: str = "credit", **fields: Any) -> Json:
        """Create a category, directly in others."""
        body = {"name": "category", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": normal_balance}
        above = {"ledger_account_category_ids": [parent["id"] for parent in parents]}
        return await self._made("/ledger_account_categories", {**body, **above, **fields})

    async def cash_and_wallet(self) -> tuple[Json, Json]:
        """Make a ledger with a debit-normal and a credit-normal account."""
        ledger = await self.ledger()
        return await self.account(ledger, "debit", name="cash"), await self.account(ledger, "credit", name="wallet")

    async def transfer(
        self, debited: Json, credited: Json, amount: int = 100, status: str = "posted", **fields: Any
    ) -> Json:
        body = {"status": status, "ledger_entries": pair(debited, credited, amount), **fields}
        return await self._made("/ledger_transactions", body)

    async def balances(self, account: Json) -> dict[str, tuple[int, int, int]]:
        """Read credits, debits and amount of each balance; the texts beside them say the same."""
        balances = (await self.read(f"/ledger_accounts/{account['id']}"))["balances"]
        found = {}
        for name in ("pending", "posted", "available"):
            balance = balances[f"{name}_balance"]
            numbers = (balance["credits"], balance["debits"], balance["amount"])
            texts = (balance["credits_string"], balance["debits_string"], balance["amount_string"])
            assert tuple(str(number) for number in numbers) == texts
            found[name] = numbers
        return found

    async def lock_version(self, account: Json) -> int:
        version: int = (await self.read(f"/ledger_accounts/{account['id']}"))["lock_version"]
        return version

    async def pages(self, path: str) -> list[list[Json]]:
        """Read all pages of a list."""
        found = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await self.get(f"{path}&after_cursor={cursor}" if cursor else path)
            assert answer.status_code == 200, answer.text
            found.append(answer.json())
            cursor = answer.headers.get("X-After-Cursor")
        return found

    async def key(self, role: Role) -> str:
        return (await keys.create(self.service.engine.database, now, self.organization_id, name=role, role=role))[1]

    async def state(self) -> dict[str, str]:
        """Return a digest of each table's content: equal states mean that nothing was changed anywhere."""
        async with self.service.engine.database.connection() as connection:
            names = [
                row[0] for row in await connection.fetch("select tablename from pg_tables where schemaname = 'doppia'")
            ]
            each = [
                f"select '{name}', md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), '')) from {name} t"
                for name in sorted(names)
            ]
            return dict(await connection.fetch(" union all ".join(each)))


async def found_organization(service: Service) -> Books:
    """Make an organization with an admin key."""
    organization = uuid4()
    async with service.engine.database.tx() as connection:
        await organizations.create(connection, organization, "an organization", now())
    _, api_key = await keys.create(service.engine.database, now, organization, name="admin", role="admin")
    client = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=create_app(service)),
        base_url="http://doppia.test",
        auth=(str(organization), api_key),
        timeout=60,
    )
    return Books(service, organization, api_key, client)
