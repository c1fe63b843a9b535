"""A ledger of a million entries, written by plain SQL past every trigger, and what a query reads of it.

Ledger 7 has accounts 2 to 1001 and half a million transactions, twenty seconds apart. Each debits the hot account 2. It
credits one of the accounts 3 to 999, or one in 25 the account 1000, whose entries all are effective more than a year
before, or one in 25,000 the small account 1001. One transaction in 20 is a hold that was captured ten seconds later,
one in 700 a hold that was archived then, one in 5,000 a hold that is open, one in 1,000 was archived from the start,
and one in 10 is effective up to three days before it was recorded. Ledger 8 is small.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from tests.store.log.blank_trees import blank_tree

TRANSACTIONS: Final = 500_000
HOT, IMPORTED, SMALL = 2, 1000, 1001
CUSTOM_PLANS_MAX: Final = 5
"""So often PostgreSQL plans a prepared query for its arguments before it considers a plan for any."""

BOOKS: Final = f"""
insert into organizations values ('00000000-0000-0000-0000-000000000001', 'first', now());
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
select ledger, '00000000-0000-0000-0000-000000000001', 'books', '2026-01-01', now()
  from generate_series(7, 8) as ledger;
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier)
values (7, 2 * {TRANSACTIONS} + 2001, '2026-06-01', {blank_tree(2 * TRANSACTIONS + 2001)}),
       (8, 3000, '2026-06-01', {blank_tree(3000)});
create temporary table moves as
select i, 2000 + 2 * i as sequence, at, case i % 20 when 5 then 'captured' else case
       when i % 700 = 11 then 'given up' when i % 5000 = 7 then 'open' when i % 1000 = 9 then 'archived' else 'posted'
       end end as life,
       case when i % 25 = 1 then at - interval '400 days' when i % 10 = 3 then at - i % 72 * interval '1 hour' else at
       end as effective_at,
       case when i % 25000 = 24 then {SMALL} when i % 25 = 1 then {IMPORTED} else 3 + i % 997 end as credited
  from generate_series(1, {TRANSACTIONS}) as i,
       lateral (select '2026-01-01'::timestamptz + i * interval '20 seconds' as at) t;
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select 7, n, n, '2026-01-01'::timestamptz, 2, 1, 'record'::bytea from generate_series(1, 2001) as n
union all
select 7, m.sequence + half, case when half = 1 and m.life in ('captured', 'given up') then m.sequence
                                  else m.sequence + half end,
       m.at + half * interval '10 seconds', 3, 1, 'record'::bytea
  from moves m, generate_series(0, 1) as half
 order by 2;
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select 8, n, n, '2026-01-01'::timestamptz + n * interval '1 hour', 3, 1, 'record'::bytea
  from generate_series(1, 3000) as n;
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at, external_id, metadata)
select ledger, n, 'account ' || n, 'PHP', 2, 'credit', '2026-01-01',
       '2026-01-01'::timestamptz + n * interval '1 second', 'a' || n, jsonb_build_object('order', n::text)
  from generate_series(7, 8) as ledger, generate_series(2, 1001) as n;
insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at,
                          posted_at, status, version, external_id, ledgerable_id, reverses_sequence,
                          partially_posts_sequence, metadata)
select 7, sequence, case life when 'captured' then sequence + 1 else sequence end, at, at, effective_at,
       case when life in ('posted', 'captured') then at end,
       case when life in ('archived', 'given up') then 'archived' when life = 'open' then 'pending' else 'posted'
       end::transaction_status,
       0, 't' || i, case when i % 100 = 50 then 'order ' || i end, case when i % 100 = 60 then sequence - 40 end,
       case when i % 100 = 70 then sequence - 40 end, jsonb_build_object('order', i::text, 'shop', (i % 10)::text)
  from moves order by i;
create temporary table steps as
select m.sequence + later as record, side, m.sequence, case side when 1 then {HOT} else m.credited end as account,
       m.at + later * interval '10 seconds' as at, m.effective_at,
       case when later = 1 or m.life = 'posted' then 'posted' when m.life = 'archived' then 'archived' else 'pending'
       end as status, later = 1 and m.life = 'given up' as ends
  from moves m, generate_series(0, 1) as later, generate_series(1, 2) as side
 where later = 0 or m.life in ('captured', 'given up');
create temporary table versions as
select *, row_number() over (partition by account order by record, side) as lock_version
  from steps where status <> 'archived';
insert into entries (ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at, effective_at,
                     direction, status, amount, posted_credits, posted_debits, pending_credits, pending_debits)
select 7, (record << 10) + side, sequence, account, lock_version, at, effective_at,
       case side when 1 then 'debit' else 'credit' end::direction, status::transaction_status, 1 + sequence % 1000,
       0, 0, 0, 0
  from versions where not ends order by record, side;
insert into entries (ledger_id, entry, transaction_sequence, account_sequence, created_at, effective_at, direction,
                     status, amount)
select 7, (record << 10) + side, sequence, account, at, effective_at,
       case side when 1 then 'debit' else 'credit' end::direction, 'archived', 1 + sequence % 1000
  from steps where status = 'archived';
insert into discards (ledger_id, entry, sequence, discarded_at, account_sequence, lock_version, posted_credits,
                      posted_debits, pending_credits, pending_debits)
select 7, (v.sequence << 10) + v.side, v.record, v.at, v.account, v.lock_version,
       none, none, none, none
  from versions v cross join lateral (select case when v.ends then 0 end as none) n where v.record > v.sequence;
insert into balances
select 7, n, coalesce(max(lock_version), 0), 0, 0, 0, 0
  from generate_series(2, 1001) as n left join versions v on v.account = n group by n;
insert into balances select 8, n, 0, 0, 0, 0, 0 from generate_series(2, 1001) as n;
select fold_steps(7, b.account_sequence, v)
  from balances b, generate_series(512, b.lock_version, 512) as v where b.ledger_id = 7
 order by b.account_sequence, v;
insert into entry_metadata
select ledger_id, entry, created_at, jsonb_build_object('order', transaction_sequence::text)
  from entries where transaction_sequence % 100 = 0;
insert into idempotency_keys
select 7, sequence, decode(md5(sequence::text), 'hex'), 'body', null from moves where i % 10 = 0;
"""

CHART: Final = """
insert into categories (ledger_id, category_sequence, name, currency, currency_exponent, normal_balance, created_at,
                        updated_at, external_id)
select ledger, n, 'category ' || n, 'PHP', 2, 'credit', '2026-01-01', now(), 'c' || n
  from generate_series(7, 8) as ledger, generate_series(2, 1000) as n;
insert into category_edges
select ledger_id, category_sequence / 10, category_sequence from categories where category_sequence >= 20;
insert into category_sets (ledger_id, category_set, categories)
select ledger_id, category_sequence, array[category_sequence] from categories;
insert into category_set_members
select ledger_id, category_set, category_set from category_sets;
update balances set category_set = account_sequence where account_sequence <= 1000;
insert into balance_monitors (ledger_id, monitor_sequence, account_sequence, field, operator, value, is_triggered,
                              created_at, updated_at, metadata)
select ledger, n, 2 + n % 999, 'posted_balance_amount', 'less_than', 5, false, '2026-01-01', now(),
       jsonb_build_object('order', n::text)
  from generate_series(7, 8) as ledger, generate_series(1001, 2000) as n;
"""

SETTLED: Final = """
insert into account_statements
select ledger, n, 2 + n % 999, 40, '2025-12-31', '2026-01-01', 0, 0, 0, 0, 20, 20, 0, 0, null,
       jsonb_build_object('order', n::text), '2026-01-01'
  from generate_series(7, 8) as ledger, generate_series(1001, 2000) as n;
insert into settlements (ledger_id, settlement_sequence, settled_account_sequence, contra_account_sequence, status,
                         allow_either_direction, skip_transaction, created_at, updated_at)
select ledger, n, n, n + 1, 'drafting', false, false, '2026-01-01', now()
  from generate_series(7, 8) as ledger, generate_series(2, 1000) as n;
insert into settled_entries
select ledger_id, entry, account_sequence from entries where account_sequence between 3 and 50 and status = 'posted';
"""

# What each subject adds; it may use the tables of those before it.
PARTS: Final = (BOOKS, CHART, SETTLED)


async def seed(connection: asyncpg.Connection) -> None:
    """Write the books."""
    await connection.execute("set synchronous_commit = off; set session_replication_role = replica")
    for part in PARTS:
        await connection.execute(part)
    await connection.execute("set session_replication_role = origin; analyze")


class Read(NamedTuple):
    """What a query read: blocks of tables and indexes, what it called included, and where its plan went astray."""

    blocks: int
    faults: list[str]


class Watched(NamedTuple):
    """A connection that notes what each query reads at first, and when the server may have settled for one plan."""

    connection: asyncpg.Connection
    reads: list[Read]

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """Read in a transaction that is rolled back, for some queries write."""
        await self.connection.execute(f"prepare watched as {query}")
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            asked = f"execute watched({', '.join(map(literal, arguments))})"
            for times in range(CUSTOM_PLANS_MAX + 1):
                if times in {0, CUSTOM_PLANS_MAX}:
                    [[plan]] = await self.connection.fetch(
                        f"explain (analyze, buffers, timing off, format json) {asked}"
                    )
                    top = json.loads(plan)[0]["Plan"]
                    self.reads.append(Read(top["Shared Hit Blocks"] + top["Shared Read Blocks"], list(faults(top))))
                else:
                    await self.connection.execute(f"explain {asked}")
            found: list[Any] = await self.connection.fetch(query, *arguments)
            return found
        finally:
            await transaction.rollback()
            await self.connection.execute("deallocate watched")

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        rows = await self.fetch(query, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        row = await self.fetchrow(query, *arguments)
        return row and row[0]

    def forget(self) -> list[Read]:
        """Return what was read since this was last asked."""
        noted = list(self.reads)
        self.reads.clear()
        return noted


class Planned(Watched):
    """One that notes what each query would read, without the reading: it answers with nothing."""

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        [[plan]] = await self.connection.fetch(f"explain (format json) {query}", *arguments)
        self.reads.append(Read(0, list(faults(json.loads(plan)[0]["Plan"]))))
        return []


def literal(value: Any) -> str:
    """Write an argument as SQL; the query says of which type it is."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list():
            parts = [str(part) if isinstance(part, int) else json.dumps(str(part)) for part in value]
            return literal("{" + ",".join(parts) + "}")
        case dict():
            return literal(json.dumps(value))
        case bytes():
            return literal(f"\\x{value.hex()}")
        case datetime():
            return literal(value.isoformat())
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def faults(plan: dict[str, Any]) -> Iterator[str]:
    """Tell which tables a plan reads otherwise than by an index that it enters with a condition."""
    kind, table = plan["Node Type"], plan.get("Relation Name")
    wanders = kind in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"} and "Index Cond" not in plan
    if kind == "Seq Scan" or wanders:
        yield f"{kind} on {table or plan.get('Index Name')}"
    for part in plan.get("Plans", ()):
        yield from faults(part)
