"""A ledger of which texts were erased: it verifies, is read, is exported and imported, and goes on."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from threading import Thread
from typing import Any

import asyncpg
import msgspec
import pytest

from doppia.accounting.ids import LedgerId, LedgerNumber, LedgerRef, parse_id
from doppia.api.http.auth import Authenticator
from doppia.api.http.request import Service
from doppia.cli.exports import ExportError, export_ledger
from doppia.engine.performing import Engine
from doppia.engine.verification.resume import Resumed
from doppia.engine.verification.verify import Finding, verify
from doppia.store.database.connections import Database
from doppia.store.embedded.server import service_url
from tests.api.over_http import Books, Json, entry, found_organization, now
from tests.api.platform.test_export_import import bring, exported, id_of
from tests.api.whole_books import live, tables
from tests.redacting import committed, redact
from tests.servers import CHECKPOINT_KEYS, Server
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

GONE = "[redacted]"
GONE_METADATA = {"redacted": "[redacted]"}


@pytest.fixture
async def elsewhere(database_url: str) -> AsyncIterator[Books]:
    """The books of an organization on another server."""
    database = Database(service_url(database_url))
    await database.open()
    engine = Engine(database, now)
    made = await found_organization(Service(engine, Authenticator(database), CHECKPOINT_KEYS))
    async with made.client:
        yield made
    await engine.close()
    await database.close()


async def findings(books: Books) -> list[str]:
    steps = verify(books.service.engine.database, None, {}, Resumed())
    return [str(told) async for _, told in steps if isinstance(told, Finding)]


async def erase(books: Books, superuser: asyncpg.Connection, ledger: Json, *erased: int) -> int:
    """Erase blocks of texts of a ledger, or all that there are."""
    numbers = erased or await committed(superuser, id_of(ledger).ledger)
    ref = LedgerRef(LedgerNumber(id_of(ledger).ledger), LedgerId(ledger["id"]))
    return await redact(books.service.engine.database, superuser, now, ref, numbers, "the right to be forgotten")


async def log_of(books: Books, ledger: Json) -> list[Json]:
    records: list[Json] = []
    while page := (await books.read(f"/ledgers/{ledger['id']}/log?limit=1000&from_sequence={len(records) + 1}"))[
        "records"
    ]:
        records += page
    return records


def sequence_of(made: Json) -> int:
    found = parse_id(made["id"])
    assert found is not None
    return found.sequence


async def test_a_ledger_that_forgot_all_texts_verifies_and_is_the_same_elsewhere(
    books: Books, superuser: asyncpg.Connection, elsewhere: Books, database_url: str
) -> None:
    ledger = await live(books)
    number = id_of(ledger).ledger
    before = await log_of(books, ledger)
    checkpoint = await books.read(f"/ledgers/{ledger['id']}/proofs/consistency?from_size={len(before)}")
    sequence = await erase(books, superuser, ledger)
    await erase(books, superuser, ledger, sequence << 10)
    assert await findings(books) == []
    after = await log_of(books, ledger)
    assert [record["payload"] for record in after[: len(before)]] == [record["payload"] for record in before]
    assert [record["texts"] for record in after[:-1]] == [None] * (len(after) - 1)
    proof = await books.read(f"/ledgers/{ledger['id']}/proofs/consistency?from_size={len(before)}")
    assert proof["from_root"] == checkpoint["to_root"]
    lines = await exported(books, ledger)
    imported = await bring(elsewhere, lines)
    assert imported.name == GONE
    assert await exported(elsewhere, ledger) == lines
    assert await tables(elsewhere.service.engine.database, number) == await tables(
        books.service.engine.database, number
    )
    for path in ("events", "ledger_transaction_versions", "ledger_accounts", "ledger_transactions", "ledger_entries"):
        pages = await books.pages(f"/{path}?per_page=100")
        assert await elsewhere.pages(f"/{path}?per_page=100") == pages, path
        texts = [text for page in pages for row in page for text in texts_in(row)]
        assert texts, path
        assert {*texts} <= {GONE, "the right to be forgotten"}, path
    await assert_invariants(database_url)


def texts_in(row: Any) -> list[str]:
    """Return all texts that callers wrote which stand in an object, however deep."""
    found = []
    for name, value in row.items() if isinstance(row, dict) else ():
        if name in ("name", "description", "external_id", "ledgerable_type", "ledgerable_id", "reason"):
            found += [] if value is None else [value]
        elif name == "metadata":
            found += [*value.values()]
        else:
            found += texts_in(value)
    return found + [text for each in (row if isinstance(row, list) else ()) for text in texts_in(each)]


async def test_what_is_erased_reads_as_such_and_what_is_not_as_before(
    books: Books, superuser: asyncpg.Connection
) -> None:
    ledger = await books.ledger(name="Wallets", metadata={"m": "1"})
    cash = await books.account(ledger, "debit", name="cash")
    ana = await books.account(
        ledger, "credit", name="Ana", description="of Ana", external_id="ana", metadata={"a": "1"}
    )
    legs = [entry(cash, "debit", 5, metadata={"leg": "1"}), entry(ana, "credit", 5, metadata={"leg": "2"})]
    body = {"ledger_entries": legs, "status": "posted", "description": "for Ana", "external_id": "x"}
    paid = (await books.post("/ledger_transactions", body)).json()
    of_cash, _of_ana = paid["ledger_entries"]
    assert (await books.patch(f"/ledger_entries/{of_cash['id']}", {"metadata": {"leg": "3"}})).is_success
    assert (await books.patch(f"/ledger_accounts/{ana['id']}", {"name": "Ana B."})).is_success
    annotation, renaming = sequence_of(paid) + 1, sequence_of(paid) + 2
    sequence = await erase(
        books, superuser, ledger, sequence_of(ana) << 10, renaming << 10, sequence_of(paid) << 10,
        sequence_of(paid) << 10 | 2,
    )  # fmt: skip
    assert await findings(books) == []

    account = await books.read(f"/ledger_accounts/{ana['id']}")
    assert (account["name"], account["description"], account["external_id"]) == (GONE, GONE, None)
    assert account["metadata"] == GONE_METADATA
    assert (await books.read(f"/ledger_accounts/{cash['id']}"))["name"] == "cash"
    transaction = await books.read(f"/ledger_transactions/{paid['id']}")
    assert (transaction["description"], transaction["external_id"]) == (GONE, None)
    assert [e["metadata"] for e in transaction["ledger_entries"]] == [{"leg": "3"}, GONE_METADATA]
    (version,) = await books.read(f"/ledger_transaction_versions?ledger_transaction_id={paid['id']}")
    assert version["description"] == GONE
    assert [e["metadata"] for e in version["ledger_entries"]] == [{"leg": "1"}, GONE_METADATA]

    events = {(told["resource"], told["event_name"], told["entity_id"]): told for told in await books.read("/events")}
    told = events["ledger_account", "created", ana["id"]]["data"]
    assert (told["name"], told["external_id"], told["metadata"]) == (GONE, None, GONE_METADATA)
    assert events["ledger_account", "updated", ana["id"]]["data"]["name"] == GONE
    assert events["ledger_transaction", "created", paid["id"]]["data"]["description"] == GONE
    assert events["ledger_entry", "updated", of_cash["id"]]["data"]["metadata"] == {"leg": "3"}
    (redaction,) = [told for told in events.values() if told["resource"] == "ledger_redaction"]
    assert redaction["event_name"] == "created"
    assert redaction["data"]["object"] == "ledger_redaction"
    assert (redaction["data"]["ledger_id"], redaction["data"]["reason"]) == (ledger["id"], "the right to be forgotten")
    assert redaction["data"]["erased"] == [
        {"sequence": sequence_of(ana), "ordinal": None},
        {"sequence": sequence_of(paid), "ordinal": None},
        {"sequence": sequence_of(paid), "ordinal": 2},
        {"sequence": renaming, "ordinal": None},
    ]
    assert sequence_of(redaction["data"]) == sequence
    found = await books.read(f"/events?entity_id={redaction['entity_id']}")
    assert found == await books.read("/events?resource=ledger_redaction") == [redaction]

    records = await log_of(books, ledger)
    assert records[sequence_of(ana) - 1]["texts"] is None
    assert [*records[sequence_of(paid) - 1]["texts"]] == ["1"]
    assert [*records[annotation - 1]["texts"]] == ["0"]
    block = b64decode(records[sequence_of(cash) - 1]["texts"]["0"])
    assert msgspec.msgpack.decode(block[16:]) == ["cash"]


async def test_a_redacted_ledger_goes_on_and_an_external_id_is_free_again(
    books: Books, superuser: asyncpg.Connection
) -> None:
    ledger = await books.ledger()
    cash = await books.account(ledger, "debit", name="cash", external_id="mine")
    ana = await books.account(ledger, "credit", name="Ana")
    held = await books.transfer(cash, ana, 5, "pending", description="for Ana", metadata={"k": "v"})
    await erase(books, superuser, ledger)
    assert (await books.patch(f"/ledger_transactions/{held['id']}", {"status": "posted"})).json()["description"] == GONE
    assert (await books.patch(f"/ledger_accounts/{ana['id']}", {"name": "A."})).json()["metadata"] == GONE_METADATA
    await books.account(ledger, "debit", name="again", external_id="mine")
    assert await findings(books) == []
    record = (await log_of(books, ledger))[sequence_of(held) + 1]
    assert record["record"]["texts"]["description"] == GONE


async def test_an_export_during_which_texts_are_erased_is_refused(
    books: Books, superuser: asyncpg.Connection, postgres: Server
) -> None:
    cash, _ = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    name = await superuser.fetchval("select current_database()")
    ref = LedgerRef(LedgerNumber(id_of(ledger).ledger), LedgerId(ledger["id"]))
    lines: list[bytes] = []

    async def erase_another_way() -> None:
        database = Database(postgres.service_of(name))
        await database.open()
        connection = await asyncpg.connect(postgres.of(name), server_settings={"search_path": "doppia"})
        await redact(database, connection, now, ref, [sequence_of(cash) << 10], "meanwhile")
        await connection.close()
        await database.close()

    def write(line: bytes) -> None:
        lines.append(line)
        if len(lines) == 2:
            meanwhile = Thread(target=asyncio.run, args=(erase_another_way(),))
            meanwhile.start()
            meanwhile.join()

    with pytest.raises(ExportError, match="were erased while it was exported"):
        await export_ledger(books.service.engine.database, id_of(ledger), write)
    assert len(lines) == 4
    assert len(await exported(books, ledger)) == 5


async def test_a_verification_goes_on_after_a_redaction_of_what_it_had_verified(
    books: Books, superuser: asyncpg.Connection
) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 5, metadata={"leg": "1"}), entry(wallet, "credit", 5, metadata={"leg": "2"})]
    paid = (await books.post("/ledger_transactions", {"ledger_entries": legs, "description": "d"})).json()
    noted = paid["ledger_entries"][0]
    assert (await books.patch(f"/ledger_entries/{noted['id']}", {"metadata": {"leg": "3"}})).is_success
    ledger = {"id": cash["ledger_id"]}
    of_cash = id_of(ledger).ledger, sequence_of(cash)
    as_it_was = await superuser.fetchval("select texts from log where ledger_id = $1 and sequence = $2", *of_cash)
    first = await erase(books, superuser, ledger, sequence_of(cash) << 10)
    resumed = Resumed()
    async for verification, _ in verify(books.service.engine.database, of_cash[0], {}, resumed):
        assert verification is not None
        kept = msgspec.json.encode(resumed.plain(verification.state, verification.keep()))
        break

    async def found() -> list[str]:
        only = id_of(ledger).ledger
        steps = verify(books.service.engine.database, only, {}, Resumed(msgspec.json.decode(kept)))
        return [told.sentence for _, told in [step async for step in steps] if isinstance(told, Finding)]

    assert await found() == []
    second = await erase(books, superuser, ledger)
    assert second > first
    assert await found() == []
    await superuser.execute("set session_replication_role = replica")
    set_texts = "update log set texts = $3 where ledger_id = $1 and sequence = $2"
    await superuser.execute(set_texts, *of_cash, as_it_was)
    assert await found() == [f"the texts of record {sequence_of(cash)} are said to be erased, and are not"]
    await superuser.execute(set_texts, *of_cash, as_it_was.replace(b"cash", b"mine"))
    assert await found() == ["its texts are not what it commits to"]
    await superuser.execute(set_texts, *of_cash, None)
    assert await found() == []
