"""Many who read accounts at the same time: each is told of his own, as it stands after all that was acknowledged."""

import asyncio
from collections.abc import Mapping, Sequence

import asyncpg
import pytest

from doppia.accounting.errors import Unavailable
from doppia.api.http.request import Service
from doppia.store.database.connections import Connection
from doppia.store.posting.reading_group import GROUP_MAX, ReadingGroups
from tests.api.over_http import Books

pytestmark = pytest.mark.anyio


async def test_each_who_reads_at_once_gets_the_account_he_asks_for(books: Books) -> None:
    first, second = await books.ledger(), await books.ledger()
    opened = [await books.account(ledger, name=name) for name in "abc" for ledger in (first, second)]
    missing = opened[0]["id"][:-3] + "fff"
    elsewhen = "00000001" + opened[0]["id"][8:]
    asked = [account["id"] for account in opened] * 50 + [missing, elsewhen]

    answers = await asyncio.gather(*(books.client.get(f"/api/ledger_accounts/{id_}") for id_ in asked))

    assert [answer.status_code for answer in answers] == [200] * (len(asked) - 2) + [404] * 2
    assert [answer.json() for answer in answers[:-2]] == opened * 50


async def test_a_read_sees_what_was_acknowledged_before_however_many_others_read(books: Books) -> None:
    ledger = await books.ledger()
    debited, credited = await books.account(ledger), await books.account(ledger)
    done = asyncio.Event()

    async def read() -> list[int]:
        seen = []
        while not done.is_set():
            found = (await books.client.get(f"/api/ledger_accounts/{credited['id']}")).json()
            seen.append(found["balances"]["posted_balance"]["credits"])
        return seen

    readers = [asyncio.create_task(read()) for _ in range(8)]
    for number in range(1, 30):
        await books.transfer(debited, credited, 1)
        found = (await books.client.get(f"/api/ledger_accounts/{credited['id']}")).json()
        assert found["balances"]["posted_balance"]["credits"] == number
    done.set()
    for seen in await asyncio.gather(*readers):
        assert seen == sorted(seen)


async def test_a_group_that_fails_tells_all_its_readers_and_the_next_is_read(service: Service) -> None:
    sizes = []

    async def get_many(connection: Connection, _ledger: int, sequences: Sequence[int]) -> Mapping[int, int]:
        sizes.append(len(sequences))
        if len(sizes) == 1:
            raise asyncpg.CannotConnectNowError
        return {number: await connection.fetchval("select $1::int", number) for number in sequences if number}

    groups = ReadingGroups(service.engine.database, get_many)
    first = [asyncio.create_task(groups.get(1, number)) for number in range(GROUP_MAX + 2)]

    told = await asyncio.gather(*first, return_exceptions=True)

    assert sizes == [GROUP_MAX, 2]
    assert all(isinstance(failure, Unavailable) for failure in told[:GROUP_MAX])
    assert told[GROUP_MAX:] == [GROUP_MAX, GROUP_MAX + 1]
    assert await groups.get(1, 0) is None
    leaving = asyncio.create_task(groups.get(1, 5))
    staying = asyncio.create_task(groups.get(1, 6))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 6
