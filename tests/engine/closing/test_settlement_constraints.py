"""What the schema itself refuses of settlements: who writes past the service, with raw SQL, meets the same rules."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.ledger.transactions import Transaction
from doppia.engine.ledger.ledgers import PurgeLedger
from doppia.engine.posting.writing import Caller
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import id_of
from tests.engine.closing.sellers import Seller, begin, moving, number, own
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio


@dataclass
class Writer:
    """Writes by hand to a ledger with a draft, a pending, a posted and an archived settlement of one account."""

    seller: Seller
    connection: asyncpg.Connection
    free: list[Transaction]
    settlements: dict[str, Settlement]

    def sequence(self, name: str) -> int:
        return self.settlements[name].sequence

    async def run(self, query: str, *arguments: object) -> None:
        """Run a statement in a database transaction of its own, with the names in braces filled in."""
        names = {name: self.sequence(name) for name in self.settlements}
        names |= {"ledger": self.seller.books.ledger.number, "free": number(own(self.free[0]))}
        async with self.connection.transaction():
            await self.connection.execute(query.format(**names), *arguments)

    async def refused(self, constraint: str, query: str, *arguments: object) -> None:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
            await self.run(query, *arguments)
        assert refusal.value.constraint_name == constraint


@pytest.fixture
async def writer(database: Database, database_url: str) -> AsyncIterator[Writer]:
    async with begin(database) as seller:
        await seller.earn(100)
        settlements = {"posted": await seller.sweep("posted")}
        await seller.earn(200)
        settlements["pending"] = await seller.sweep("pending")
        picked = await seller.earn(7)
        settlements["draft"] = await seller.draft(own(picked))
        held = await seller.earn(50)
        settlements["archived"] = await seller.sweep()
        await seller.update(settlements["archived"], status="archived")
        free = [held, await seller.earn(-1), await seller.earn(1, "pending")]
        connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
        yield Writer(seller, connection, free, settlements)
        await connection.close()
    await assert_invariants(database_url)


ADD = "insert into settled_entries values ({{ledger}}, $1, {{{}}})"


async def test_a_free_entry_comes_to_a_draft_and_moves_its_net(writer: Writer) -> None:
    net = "select net from settlements where ledger_id = $1 and settlement_sequence = $2"
    place = (writer.seller.books.ledger.number, writer.sequence("draft"))
    held = number(own(writer.free[0]))

    async with writer.connection.transaction():
        await writer.connection.execute("insert into settled_entries values ($1, $3, $2)", *place, held)
        assert int(await writer.connection.fetchval(net, *place)) == 57
        await writer.connection.execute("delete from settled_entries where entry = $1", held)
        assert int(await writer.connection.fetchval(net, *place)) == 7


@pytest.mark.parametrize("name", ["pending", "posted", "archived"])
async def test_no_entry_comes_to_a_settlement_that_is_settled(writer: Writer, name: str) -> None:
    await writer.refused("settled_entries_are_of_account", ADD.format(name), number(own(writer.free[0])))


async def test_no_entry_comes_to_a_draft_that_could_not_be_settled(writer: Writer) -> None:
    transaction = moving(writer.settlements["posted"]).sequence
    for entry in (
        number(own(writer.free[2])),  # pending
        number(own(writer.free[0], 0)),  # of the other account
        transaction << 10 | 1,  # that the settlement wrote itself
        1 << 60,  # nobody's
    ):
        await writer.refused("settled_entries_are_of_account", ADD.format("draft"), entry)


async def test_no_entry_comes_to_two_settlements_or_goes_from_one_to_another(writer: Writer) -> None:
    held = await writer.connection.fetchval("select min(entry) from settled_entries")
    await writer.refused("settled_entries_pkey", ADD.format("draft"), held)
    await writer.refused(
        "settled_entries_stay", "update settled_entries set settlement_sequence = {draft} where entry = $1", held
    )


@pytest.mark.parametrize("name", ["pending", "posted"])
async def test_no_entry_leaves_a_settlement_that_is_settled(writer: Writer, name: str) -> None:
    await writer.refused("settled_entries_stay", f"delete from settled_entries where settlement_sequence = {{{name}}}")
    await writer.refused("history_is_final", "truncate settled_entries")


async def test_an_entry_that_leaves_moves_the_mark_back(writer: Writer) -> None:
    seller = writer.seller
    await seller.sweep(allows_either_direction=True)
    before = await seller.mark()

    await seller.remove(writer.settlements["draft"], *[own(each) for each in writer.free])
    assert await seller.mark() == before
    picked = await writer.connection.fetchval(
        "select entry from settled_entries where settlement_sequence = $1", writer.sequence("draft")
    )
    await writer.run("delete from settled_entries where entry = $1", picked)

    version = await writer.connection.fetchval("select lock_version from entries where entry = $1", picked)
    assert await seller.mark() == version - 1 < before
    # Which the log does not know of, so it is put back.
    await writer.run(ADD.format("draft"), picked)


CHANGE = "update settlements set {} where settlement_sequence = {{{}}}"


@pytest.mark.parametrize(
    ("constraint", "name", "change"),
    [
        ("settlements_go_forward", "posted", "status = 'pending'"),
        ("settlements_go_forward", "posted", "status = 'archiving'"),
        ("settlements_go_forward", "posted", "status = 'drafting'"),
        ("settlements_go_forward", "pending", "status = 'processing', becomes = 'posted'"),
        ("settlements_go_forward", "pending", "status = 'archived'"),
        ("settlements_go_forward", "archived", "status = 'pending'"),
        ("settlements_go_forward", "draft", "status = 'archived'"),
        ("settlements_follow_transactions", "pending", "status = 'posted'"),
        ("settlements_follow_transactions", "pending", "status = 'archiving'"),
        ("identity_is_final", "pending", "net = net + 1"),
        ("identity_is_final", "draft", "net = 0"),
        ("identity_is_final", "pending", "amount = amount + 1"),
        ("identity_is_final", "pending", "direction = 'credit'"),
        ("identity_is_final", "posted", "transaction_sequence = null"),
        ("identity_is_final", "pending", "skip_transaction = true"),
        ("identity_is_final", "draft", "allow_either_direction = true"),
        ("identity_is_final", "pending", "lock_version = 99"),
        ("identity_is_final", "pending", "effective_at_upper_bound = now()"),
        ("identity_is_final", "pending", "contra_account_sequence = settled_account_sequence"),
        ("identity_is_final", "pending", "created_at = now()"),
        ("settlements_amount_is_net", "draft", "status = 'posted', amount = 6, direction = 'debit'"),
        ("settlements_amount_is_net", "draft", "status = 'posted'"),
        ("settlements_amount_is_net", "draft", "amount = 7, direction = 'debit'"),
        ("settlements_amount_is_net", "draft", "status = 'posted', amount = 7, skip_transaction = true"),
        ("settlements_move_amount", "draft", "status = 'posted', amount = 7, direction = 'debit'"),
        ("settlements_one_direction", "draft",
         "status = 'posted', amount = 7, direction = 'credit', skip_transaction = true"),
        ("settlements_sweep_is_whole", "pending", "becomes = 'posted'"),
        ("settlements_sweep_is_whole", "pending", "searched_lock_version = 0"),
        ("settlements_becomes_check", "draft", "becomes = 'archived'"),
    ],
)  # fmt: skip
async def test_a_change_that_no_rule_makes_is_refused(writer: Writer, constraint: str, name: str, change: str) -> None:
    await writer.refused(constraint, CHANGE.format(change, name))


async def test_a_draft_is_settled_as_the_service_settles_it(writer: Writer) -> None:
    change = "status = 'posted', amount = 7, direction = 'debit', skip_transaction = true"
    transaction = writer.connection.transaction()
    await transaction.start()
    await writer.connection.execute(CHANGE.format(change, "draft").format(draft=writer.sequence("draft")))
    await transaction.rollback()


async def test_a_settlement_begins_without_entries(writer: Writer) -> None:
    begin_ = """
        insert into settlements (ledger_id, settlement_sequence, settled_account_sequence, contra_account_sequence,
                                 status, net, allow_either_direction, skip_transaction, created_at, updated_at)
        select ledger_id, 999, settled_account_sequence, contra_account_sequence, {}, false, true, now(), now()
          from settlements limit 1
    """
    for values in ("'posted', 0", "'archived', 0", "'drafting', 1"):
        await writer.refused("settlements_begin_empty", begin_.format(values))


@pytest.mark.parametrize("name", ["pending", "posted"])
async def test_its_transaction_does_not_go_its_own_way(writer: Writer, name: str) -> None:
    transaction = moving(writer.settlements[name]).sequence
    await writer.refused(
        "identity_is_final", "update transactions set settlement_sequence = null where transaction_sequence = $1",
        transaction,
    )  # fmt: skip


async def test_no_transaction_says_that_it_belongs_to_a_settlement_that_does_not_name_it(writer: Writer) -> None:
    await writer.refused(
        "settlements_follow_transactions",
        """
        insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at,
                                  effective_at, status, version, settlement_sequence)
        select ledger_id, 999, 999, now(), now(), now(), 'archived', 0, {draft} from settlements limit 1
        """,
    )


async def test_settlements_are_neither_deleted_nor_truncated(writer: Writer) -> None:
    await writer.refused("history_is_final", "delete from settlements")
    await writer.refused("history_is_final", "truncate settlements cascade")


async def test_a_purge_takes_settlements_with_their_ledger_and_leaves_others(
    writer: Writer, database: Database
) -> None:
    async with begin(database) as other:
        await other.earn(5)
        swept = await other.sweep("posted")
        organization, admin = await writer.connection.fetchrow("select organization_id, id from api_keys")

        purged = writer.seller.books.ledger
        command = PurgeLedger(organization=organization, target=id_of(purged.id), confirmation=purged.id)
        await other.engine.perform(Caller(admin), command)

        left = await writer.connection.fetch("select ledger_id from settled_entries")
        assert [row[0] for row in left] == [other.books.ledger.number]
        assert (await other.get(swept)).status == "posted"
