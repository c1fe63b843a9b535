"""What the schema itself refuses: who writes past the service, with raw SQL as a superuser, meets the same rules."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from tests.store.log.blank_trees import blank_tree

pytestmark = pytest.mark.anyio

AT = datetime(2026, 3, 31, tzinfo=UTC)
ORGANIZATION = UUID(int=1)
LEDGER, OTHER_LEDGER = 7, 8
CASH, WALLET = 2, 3

BEGIN = f"""
insert into organizations values ('{ORGANIZATION}', 'first', '{AT}');
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
select ledger, '{ORGANIZATION}', 'books', '{AT}', '{AT}' from unnest(array[{LEDGER}, {OTHER_LEDGER}]) as ledger;
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier)
select ledger, 3, '{AT}', {blank_tree(3)} from unnest(array[{LEDGER}, {OTHER_LEDGER}]) as ledger;
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select ledger, sequence, sequence, '{AT}', 1, 1, ''
  from unnest(array[{LEDGER}, {OTHER_LEDGER}]) as ledger, generate_series(1, 3) as sequence;
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at)
select ledger, account, 'account', 'PHP', 2, 'credit', '{AT}', '{AT}'
  from unnest(array[{LEDGER}, {OTHER_LEDGER}]) as ledger, unnest(array[{CASH}, {WALLET}]) as account;
insert into balances
select ledger, account, 0, 0, 0, 0, 0
  from unnest(array[{LEDGER}, {OTHER_LEDGER}]) as ledger, unnest(array[{CASH}, {WALLET}]) as account;
"""


@dataclass
class Writer:
    """Writes to the ledger by hand, each piece as the service would."""

    connection: asyncpg.Connection

    async def run(self, query: str, *arguments: object) -> None:
        await self.connection.execute(query, *arguments)

    async def log(self, sequence: int, object_sequence: int | None = None) -> None:
        await self.run(
            f"with head as (update ledger_heads set sequence = $2, (root, frontier) = row({blank_tree('$2')}) "
            "              where ledger_id = $1) "
            "insert into log values ($1, $2, $3, $4, 3, 1, '')",
            LEDGER, sequence, object_sequence or sequence, AT,
        )  # fmt: skip

    async def entries(
        self,
        sequence: int,
        amounts: tuple[str, str],
        versions: tuple[int | None, int | None],
        sums: tuple[str | None, str | None],
        status: str = "posted",
        *,
        accounts: tuple[int, int] = (CASH, WALLET),
        moves_balances: bool = True,
        creates_transaction: bool = True,
        external_id: str | None = None,
        reverses: int | None = None,
    ) -> None:
        """Debit the first account and credit the second, in one statement with their balances and transaction.

        Args:
            sequence: of the record and the transaction.
            amounts: of debit and credit.
            versions: lock versions after each.
            sums: what each account has been debited or credited with afterwards, of this status.
            status: posted, pending or archived.
            accounts: debited and credited.
            moves_balances: whether the balances are set to those versions and sums.
            creates_transaction: whether there is to be one.
            external_id: of the transaction.
            reverses: the transaction that it reverses.
        """
        await self.run(
            """
            with given as (
                select *, side = 'credit' as credits, $7 = 'posted' as posts
                  from unnest(array[1, 2], $3::bigint[], $4::text[], $5::bigint[], $6::text[], array['debit', 'credit'])
                       as g (ordinal, account, amount, lock_version, total, side)
            ), sums as (
                select g.*,
                       case when posts and credits then total::numeric else b.posted_credits end as pc,
                       case when posts and not credits then total::numeric else b.posted_debits end as pd,
                       case when not posts and credits then total::numeric else b.pending_credits end as nc,
                       case when not posts and not credits then total::numeric else b.pending_debits end as nd
                  from given g
                  left join balances b on b.ledger_id = $1 and b.account_sequence = g.account and g.total is not null
            ), moved as (
                update balances b
                   set lock_version = s.lock_version, posted_credits = s.pc, posted_debits = s.pd,
                       pending_credits = s.nc, pending_debits = s.nd
                  from sums s
                 where b.ledger_id = $1 and b.account_sequence = s.account and s.total is not null and $9
            ), created as (
                insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at,
                                          effective_at, posted_at, status, version, external_id, reverses_sequence)
                select $1, $2, $2, $8, $8, $8, case $7 when 'posted' then $8::timestamptz end,
                       $7::transaction_status, 0, $10, $11
                 where $12
            )
            insert into entries
            select $1, ($2::bigint << 10) + ordinal, $2, account, lock_version, $8, $8, side::direction,
                   $7::transaction_status, amount::numeric, pc, pd, nc, nd
              from sums
            """,
            LEDGER, sequence, accounts, amounts, versions, sums, status, AT, moves_balances,
            external_id, reverses, creates_transaction,
        )  # fmt: skip


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Writer]:
    """A ledger with a posted transaction of 100, record 4, and an archived one, record 5."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
    await connection.execute(BEGIN)
    writer = Writer(connection)
    await writer.log(4)
    await writer.entries(4, ("100", "100"), (1, 1), ("100", "100"), external_id="invoice 1")
    await writer.log(5)
    await writer.entries(5, ("1", "1"), (None, None), (None, None), "archived", external_id="invoice 1")
    yield writer
    await connection.close()


async def refused(writer: Writer, constraint: str, query: str, *arguments: object) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await writer.run(query, *arguments)
    assert refusal.value.constraint_name == constraint


async def test_what_is_written_as_the_service_writes_it_passes(writer: Writer) -> None:
    assert not await writer.connection.fetchval("select count(*) from discards")
    assert await writer.connection.fetchval("select count(*) from entries") == 4


@pytest.mark.parametrize(
    ("amounts", "versions", "sums", "status", "constraint"),
    [
        pytest.param(("1", "2"), (2, 2), ("101", "102"), "posted", "entries_balance", id="debits other than credits"),
        pytest.param(("1", "2"), (None, None), (None, None), "archived", "entries_balance", id="archived, unbalanced"),
        pytest.param(("1", "1"), (3, 2), ("101", "101"), "posted", "balances_follow_entries", id="a skipped version"),
        pytest.param(("1", "1"), (2, 2), ("102", "101"), "posted", "balances_follow_entries", id="a wrong sum"),
        pytest.param(("1", "1"), (1, 2), ("101", "101"), "posted", "entries_account_key", id="a version used twice"),
        pytest.param(("-1", "-1"), (2, 2), ("99", "99"), "posted", "minor_units_check", id="a negative amount"),
        pytest.param(("0.5", "0.5"), (2, 2), ("100", "100"), "posted", "minor_units_check", id="half a minor unit"),
        pytest.param(("NaN", "NaN"), (2, 2), ("100", "100"), "posted", "minor_units_check", id="no number"),
        pytest.param(
            (str(10**36 + 1),) * 2, (2, 2), (str(10**36 + 101),) * 2, "posted", "entries_amount_check", id="over 10^36"
        ),
        pytest.param(
            ("1", "1"), (None, None), (None, None), "posted", "entries_check", id="posted outside the versions"
        ),
        pytest.param(("1", "1"), (2, 2), (None, None), "posted", "entries_check1", id="a step without sums"),
    ],
)
async def test_entries_that_break_a_rule_are_refused(
    writer: Writer,
    amounts: tuple[str, str],
    versions: tuple[int | None, int | None],
    sums: tuple[str | None, str | None],
    status: str,
    constraint: str,
) -> None:
    await writer.log(6)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await writer.entries(6, amounts, versions, sums, status)
    assert refusal.value.constraint_name == constraint


async def test_the_largest_amount_passes(writer: Writer) -> None:
    await writer.log(6)
    await writer.entries(6, (str(10**36),) * 2, (2, 2), (str(10**36 + 100),) * 2)


async def test_entries_without_a_change_of_their_balances_are_refused(writer: Writer) -> None:
    await writer.log(6)
    with pytest.raises(asyncpg.CheckViolationError, match="disagrees with the balance"):
        await writer.entries(6, ("1", "1"), (2, 2), ("101", "101"), moves_balances=False)


async def test_entries_to_another_ledgers_account_are_refused(writer: Writer) -> None:
    await writer.run(
        "insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance,"
        " created_at, updated_at) values ($1, 99, 'theirs', 'PHP', 2, 'credit', $2, $2)",
        OTHER_LEDGER, AT,
    )  # fmt: skip
    await writer.log(6)
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await writer.entries(6, ("1", "1"), (2, 1), ("101", "1"), accounts=(CASH, 99))
    assert refusal.value.constraint_name == "entries_balance"


async def test_entries_without_their_transaction_are_refused(writer: Writer) -> None:
    await writer.log(6)
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await writer.entries(6, ("1", "1"), (2, 2), ("101", "101"), creates_transaction=False)
    assert refusal.value.constraint_name == "entries_balance"


@pytest.mark.parametrize(
    ("constraint", "query"),
    [
        ("balances_follow_entries", "update balances set posted_credits = posted_credits + 1"),
        ("balances_follow_entries", "update balances set lock_version = lock_version + 1"),
        ("balances_follow_entries", "update balances set lock_version = 0, posted_credits = 0, posted_debits = 0"),
        (
            "balances_open_at_zero",
            """
            with rich as (
                insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance,
                                      created_at, updated_at)
                values (8, 4, 'rich', 'PHP', 2, 'credit', now(), now()))
            insert into balances values (8, 4, 0, 1, 0, 0, 0)
            """,
        ),
        ("minor_units_check", "update balances set posted_credits = -1"),
        ("transactions_metadata_check", "update transactions set metadata = '{}'"),
        ("log_without_gaps", "insert into log values (7, 7, 7, now(), 3, 1, '')"),
        ("log_without_gaps", "insert into log values (7, 6, 6, now(), 3, 1, '')"),
        (
            "log_without_gaps",
            "with h as (update ledger_heads set sequence = 9) insert into log values (7, 9, 9, now(), 3, 1, '')",
        ),
        ("log_pkey", "insert into log values (7, 5, 5, now(), 3, 1, '')"),
        ("heads_follow_log", "update ledger_heads set sequence = 9"),
        ("heads_follow_log", "update ledger_heads set root = sha256('')"),
        ("heads_follow_log", "update ledger_heads set frontier = sha256('') || sha256('')"),
        ("nodes_follow_log", "insert into log_nodes values (7, 8, 0, sha256(''))"),
        ("transactions_final", "update transactions set effective_at = now() where status = 'posted'"),
        ("transactions_final", "update transactions set status = 'archived', posted_at = null where status = 'posted'"),
        ("transactions_final", "update transactions set status = 'pending' where status = 'archived'"),
        ("transactions_final", "update transactions set entries_sequence = 5 where status = 'posted'"),
        ("transactions_final", "update transactions set expires_at = '2999-01-01' where status = 'posted'"),
        ("transactions_final", "update transactions set expires_at = '2999-01-01' where status = 'archived'"),
        ("transactions_final", "update transactions set archived_reason = 'why not' where status = 'archived'"),
        ("identity_is_final", "update transactions set reverses_sequence = 4 where status = 'archived'"),
        ("identity_is_final", "update transactions set partially_posts_sequence = 5 where status = 'posted'"),
        ("identity_is_final", "update transactions set settlement_sequence = 2 where status = 'posted'"),
        ("identity_is_final", "update transactions set ledger_id = 8"),
        ("identity_is_final", "update transactions set transaction_sequence = transaction_sequence + 10"),
    ],
)
async def test_a_change_that_nothing_explains_is_refused(writer: Writer, constraint: str, query: str) -> None:
    await refused(writer, constraint, query)


async def test_what_a_final_transaction_is_found_by_may_still_change(writer: Writer) -> None:
    await writer.run("""update transactions set external_id = 'invoice 2', metadata = '{"a": "b"}' where version = 0""")


async def test_a_second_external_id_is_refused_among_those_that_count(writer: Writer) -> None:
    await writer.log(6)
    with pytest.raises(asyncpg.UniqueViolationError) as refusal:
        await writer.entries(6, ("1", "1"), (2, 2), ("101", "101"), external_id="invoice 1")
    assert refusal.value.constraint_name == "transactions_external_id_key"


async def test_a_second_reversal_is_refused_unless_it_is_archived(writer: Writer) -> None:
    for sequence in (6, 7):
        await writer.log(sequence)
        await writer.entries(sequence, ("1", "1"), (None, None), (None, None), "archived", reverses=4)
    await writer.log(8)
    await writer.entries(8, ("1", "1"), (2, 2), ("101", "101"), reverses=4)
    await writer.log(9)
    with pytest.raises(asyncpg.UniqueViolationError) as refusal:
        await writer.entries(9, ("1", "1"), (3, 3), ("1", "1"), "pending", reverses=4)
    assert refusal.value.constraint_name == "transactions_reverses_key"


DISCARD = """
with moved as (
    update balances set lock_version = lock_version + 1, pending_debits = pending_debits - 7
     where ledger_id = 7 and account_sequence = 2)
insert into discards
values (7, $1::bigint, 7, now(), 2, $2::bigint, 0, 100, 0, 0)
"""


async def hold(writer: Writer) -> int:
    """Write a pending transaction of 7 as record 6, and return the number of its debit."""
    await writer.log(6)
    await writer.entries(6, ("7", "7"), (2, 2), ("7", "7"), "pending")
    await writer.log(7, 6)
    return 6 << 10 | 1


async def test_a_pending_entry_is_discarded_once(writer: Writer) -> None:
    held = await hold(writer)
    await writer.run(DISCARD, held, 3)
    await refused(writer, "discards_pkey", "insert into discards select * from discards")


async def test_a_posted_entry_is_not_discarded(writer: Writer) -> None:
    await hold(writer)
    await refused(writer, "discards_pending", "insert into discards values (7, $1, 7, now(), 2, 2)", 4 << 10 | 1)


async def test_a_discard_that_its_account_takes_no_note_of_is_refused(writer: Writer) -> None:
    held = await hold(writer)
    await refused(writer, "discards_pending", "insert into discards values (7, $1, 7, now(), 2, 3)", held)


async def test_a_discard_that_takes_another_amount_off_the_balance_is_refused(writer: Writer) -> None:
    held = await hold(writer)
    await refused(writer, "balances_follow_entries", DISCARD.replace("- 7", "- 6"), held, 3)


async def test_a_discard_with_neither_a_step_nor_a_successor_is_refused(writer: Writer) -> None:
    held = await hold(writer)
    await refused(writer, "discards_pending", "insert into discards values (7, $1, 7, now(), 2, 2)", held)


async def test_a_pending_transaction_is_not_called_posted_without_its_entries(writer: Writer) -> None:
    await hold(writer)
    await refused(
        writer,
        "transactions_follow_entries",
        "update transactions set status = 'posted', posted_at = now() where status = 'pending'",
    )


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        pytest.param(
            "transactions_posted_in_time",
            "status = 'posted', expires_at = '2026-03-31', posted_at = '2026-03-31'",
            id="posted when it expires",
        ),
        pytest.param(
            "transactions_expired_in_time", "status = 'archived', archived_reason = 'expired'", id="no expiry"
        ),
        pytest.param(
            "transactions_expired_in_time",
            "status = 'archived', archived_reason = 'expired', updated_at = '2026-04-01', expires_at = '2026-04-02'",
            id="expired before its time",
        ),
        pytest.param("transactions_archived_for_a_reason", "archived_reason = 'expired'", id="a reason for nothing"),
    ],
)
async def test_a_hold_does_not_end_against_its_time(writer: Writer, constraint: str, changes: str) -> None:
    await hold(writer)
    await refused(writer, constraint, f"update transactions set {changes} where status = 'pending'")


async def test_what_a_hold_is_does_not_change(writer: Writer) -> None:
    await hold(writer)
    for change in (
        "reverses_sequence = 4", "partially_posts_sequence = 4", "settlement_sequence = 4", "created_at = now()"
    ):  # fmt: skip
        await refused(writer, "identity_is_final", f"update transactions set {change} where status = 'pending'")


async def test_a_discard_of_no_entry_is_refused(writer: Writer) -> None:
    await hold(writer)
    await refused(writer, "discards_ledger_id_entry_fkey", "insert into discards values (7, 5, 7, now(), 2, 2)")


@pytest.mark.parametrize("table", ["log", "entries", "discards", "idempotency_keys"])
async def test_recorded_history_is_neither_changed_nor_removed(writer: Writer, table: str) -> None:
    held = await hold(writer)
    await writer.run(DISCARD, held, 3)
    await writer.run("insert into idempotency_keys values (7, 4, 'a', 'b', null)")
    await refused(writer, "history_is_final", f"update {table} set ledger_id = ledger_id")
    await refused(writer, "history_is_final", f"delete from {table}")
    await refused(writer, "history_is_final", f"truncate {table} cascade")


@pytest.mark.parametrize("table", ["transactions", "balances", "accounts", "ledger_heads"])
async def test_what_history_is_about_is_not_deleted(writer: Writer, table: str) -> None:
    await refused(writer, "history_is_final", f"delete from {table}")


@pytest.mark.parametrize("table", ["transactions", "balances", "accounts", "ledgers", "ledger_heads"])
async def test_what_history_is_about_is_not_truncated(writer: Writer, table: str) -> None:
    await refused(writer, "history_is_final", f"truncate {table} cascade")


async def test_the_purge_of_one_ledger_does_not_open_another(writer: Writer) -> None:
    async with writer.connection.transaction():
        await writer.run(f"set local doppia.purged_ledger = '{OTHER_LEDGER}'")
        await writer.run("delete from log where ledger_id = 8")
        await refused(writer, "history_is_final", "delete from log where ledger_id = 7")


async def test_an_entry_is_not_slipped_in_at_the_version_of_a_discard(writer: Writer) -> None:
    held = await hold(writer)
    await writer.run(DISCARD, held, 3)
    other = DISCARD.replace("account_sequence = 2", "account_sequence = 3").replace("now(), 2,", "now(), 3,")
    other = other.replace("pending_debits", "pending_credits").replace("0, 100, 0, 0", "100, 0, 0, 0")
    await writer.run(other, held + 1, 3)
    await writer.log(8)
    await writer.entries(8, ("1", "1"), (4, 4), ("101", "101"))
    await writer.log(9)
    with pytest.raises(asyncpg.CheckViolationError):
        await writer.entries(9, ("50", "50"), (3, 3), ("150", "150"), moves_balances=False)


PARTIAL_POST = """
with given as (
    select ordinal, account, side, $2::bigint[] as part, $3::bigint[] as rest
      from unnest(array[1, 2], array[2, 3], array['debit', 'credit']) as g (ordinal, account, side)
), sums as (
    select *, rest[ordinal] as left_over, part[ordinal] as taken,
           case side when 'debit' then 1 else 0 end as d, case side when 'credit' then 1 else 0 end as c
      from given
), lowered as (
    update transactions set entries_sequence = 7, version = 1 where transaction_sequence = 6
), created as (
    insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at,
                              posted_at, status, version, partially_posts_sequence)
    values (7, 8, 8, now(), now(), now(), case $4 when 'posted' then now() end, $4::transaction_status, 0, $1)
), moved as (
    update balances b
       set lock_version = 4, posted_credits = 100 * c + taken * c, posted_debits = 100 * d + taken * d,
           pending_credits = left_over * c, pending_debits = left_over * d
      from sums
     where ledger_id = 7 and account_sequence = account
), entered as (
    insert into entries
    select 7, (7 << 10) + ordinal, 6, account, 3, now(), now(), side::direction, 'pending'::transaction_status,
           left_over, 100 * c, 100 * d, left_over * c, left_over * d
      from sums
    union all
    select 7, (8 << 10) + ordinal, 8, account, 4, now(), now(), side::direction, 'posted'::transaction_status, taken,
           100 * c + taken * c, 100 * d + taken * d, left_over * c, left_over * d
      from sums
)
insert into discards
select 7, (6 << 10) + ordinal, 7, now(), account, 3 from sums
"""


async def partial_post(
    writer: Writer, taken: tuple[int, int], rest: tuple[int, int], hold: int = 6, status: str = "posted"
) -> None:
    """Lower the hold of `hold` by record 7, and post what is taken of its debit and credit by record 8."""
    await writer.log(8)
    async with writer.connection.transaction():
        await writer.run(PARTIAL_POST, hold, taken, rest, status)


async def test_a_part_is_posted_as_the_service_posts_it(writer: Writer) -> None:
    await hold(writer)
    await partial_post(writer, (3, 3), (4, 4))
    row = await writer.connection.fetchrow(
        "select lock_version, posted_debits, pending_debits from balances where ledger_id = 7 and account_sequence = 2"
    )
    assert tuple(row) == (4, 103, 4)


@pytest.mark.parametrize(
    ("taken", "rest"),
    [
        pytest.param((3, 3), (5, 5), id="more than was held"),
        pytest.param((8, 8), (0, 0), id="more than was held, and nothing left"),
        pytest.param((3, 3), (7, 7), id="nothing taken off the hold"),
        pytest.param((3, 3), (3, 3), id="less than was held"),
        pytest.param((0, 0), (6, 6), id="nothing, and the hold lowered"),
    ],
)
async def test_a_part_and_what_is_left_are_what_was_held(
    writer: Writer, taken: tuple[int, int], rest: tuple[int, int]
) -> None:
    await hold(writer)
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await partial_post(writer, taken, rest)
    assert refusal.value.constraint_name == "partial_posts_take_from_hold"


async def test_a_part_is_not_taken_from_what_holds_nothing(writer: Writer) -> None:
    await hold(writer)
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await partial_post(writer, (3, 3), (4, 4), hold=4)
    assert refusal.value.constraint_name == "partial_posts_take_from_hold"


@pytest.mark.parametrize("status", ["pending", "archived"])
async def test_a_part_is_posted_or_none(writer: Writer, status: str) -> None:
    await hold(writer)
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await partial_post(writer, (3, 3), (4, 4), status=status)
    assert refusal.value.constraint_name == "transactions_partial_posts_posted"


async def test_a_part_without_a_record_that_lowers_its_hold_is_refused(writer: Writer) -> None:
    await hold(writer)
    await writer.log(8)
    async with writer.connection.transaction():
        await writer.entries(8, ("3", "3"), (3, 3), ("103", "103"))
        with pytest.raises(asyncpg.RestrictViolationError) as refusal:
            await writer.run("update transactions set partially_posts_sequence = 6 where transaction_sequence = 8")
    assert refusal.value.constraint_name == "identity_is_final"
