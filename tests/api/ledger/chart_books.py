"""What tests of the chart of accounts share: who comes into categories and leaves them, and what they sum to."""

import httpx2

from tests.api.over_http import Books, Json

CATEGORIES = "/ledger_account_categories"


def member_path(category: Json, member: Json) -> str:
    return f"{CATEGORIES}/{category['id']}/{member['object']}s/{member['id']}".replace("categorys", "categories")


async def put(books: Books, category: Json, member: Json) -> httpx2.Response:
    return await books.client.put(f"/api{member_path(category, member)}")


async def add(books: Books, category: Json, *members: Json) -> None:
    for member in members:
        answer = await put(books, category, member)
        assert (answer.status_code, answer.content) == (200, b""), answer.text


async def remove(books: Books, category: Json, *members: Json) -> None:
    for member in members:
        answer = await books.delete(member_path(category, member))
        assert (answer.status_code, answer.content) == (200, b""), answer.text


async def sums(books: Books, category: Json) -> tuple[int, int, int, int]:
    """Read credits and debits of the posted balance, then of the pending one."""
    balances = (await books.read(f"{CATEGORIES}/{category['id']}"))["balances"]
    posted, pending = balances["posted_balance"], balances["pending_balance"]
    return posted["credits"], posted["debits"], pending["credits"], pending["debits"]


async def records(books: Books) -> int:
    async with books.service.engine.database.connection() as connection:
        found: int = await connection.fetchval("select count(*) from log")
    return found
