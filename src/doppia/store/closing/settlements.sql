-- Settlements, their entries, and what a sweep asks for.

-- template: list
select p.*, a.created_at as settled_created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       c.created_at as contra_created_at, t.created_at as transaction_created_at
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select s.ledger_id, s.settlement_sequence, s.settled_account_sequence, s.contra_account_sequence, s.status::text,
              s.becomes::text, s.lock_version, s.searched_lock_version, s.effective_at_upper_bound,
              s.allow_either_direction, s.skip_transaction, s.transaction_sequence, s.net, s.amount, s.direction::text,
              s.description, s.metadata, s.created_at, s.updated_at
         from settlements s
        where s.ledger_id = g.ledger_id {where}
        order by {order}
        limit {limit}) p
  join accounts a on a.ledger_id = p.ledger_id and a.account_sequence = p.settled_account_sequence
  join accounts c on c.ledger_id = p.ledger_id and c.account_sequence = p.contra_account_sequence
  left join transactions t on t.ledger_id = p.ledger_id and t.transaction_sequence = p.transaction_sequence
 order by {merge}
 limit :limit;

-- filter: id
s.settlement_sequence = any(:value::bigint[])
-- filter: id_exact
concat(s.ledger_id, '.', s.settlement_sequence, '.', floor(extract(epoch from s.created_at))::bigint, '.0') = any(:value::text[])
-- filter: transaction
s.transaction_sequence = :value::bigint and s.transaction_sequence is not null
-- filter: settled_account
s.settled_account_sequence = :value::bigint
-- filter: direction
s.direction = :value::text::direction
-- filter: status
s.status = any(:value::text[]::settlement_status[])
-- filter: created_at
s.created_at {operator} :value::timestamptz
-- filter: updated_at
s.updated_at {operator} :value::timestamptz
-- filter: metadata
s.metadata @> :value::jsonb and s.metadata <> '{}'

-- name: create
insert into settlements (
    ledger_id, settlement_sequence, settled_account_sequence, contra_account_sequence, status, becomes, lock_version,
    searched_lock_version, effective_at_upper_bound, allow_either_direction, skip_transaction, description, metadata,
    created_at, updated_at)
values (:ledger, :settlement, :settled_account, :contra_account, :status::text::settlement_status,
        :becomes::text::settlement_status, :lock_version, :searched_lock_version, :effective_at_upper_bound,
        :allow_either_direction, :skip_transaction, :description, :metadata, :created_at, :created_at);

-- name: update
update settlements
   set status = :status::text::settlement_status, becomes = :becomes::text::settlement_status,
       skip_transaction = :skip_transaction, transaction_sequence = :transaction, amount = :amount,
       direction = :direction::text::direction, description = :description, metadata = :metadata,
       updated_at = :updated_at
 where ledger_id = :ledger and settlement_sequence = :settlement;

-- name: lock_account
-- Locks what is settled of an account until the database transaction ends; there may be no such account.
insert into settled_accounts as m (ledger_id, account_sequence, swept_lock_version)
select ledger_id, account_sequence, 0 from accounts where ledger_id = :ledger and account_sequence = :account
on conflict (ledger_id, account_sequence) do update set swept_lock_version = m.swept_lock_version;

-- name: lock_account_of
-- The same for the account of a settlement, if there is one.
insert into settled_accounts as m (ledger_id, account_sequence, swept_lock_version)
select ledger_id, settled_account_sequence, 0
  from settlements
 where ledger_id = :ledger and settlement_sequence = :settlement
on conflict (ledger_id, account_sequence) do update set swept_lock_version = m.swept_lock_version;

-- name: lock_accounts
-- Locks what is settled of all accounts of a ledger, in order.
select from settled_accounts where ledger_id = :ledger order by account_sequence for update;

-- name: mark
-- Where a sweep of an account may begin to look, how far there is anything to look for, and whether entries are still
-- to be freed.
select coalesce(m.swept_lock_version, 0), b.lock_version,
       exists (select from settlements s
                where s.ledger_id = b.ledger_id and s.settled_account_sequence = b.account_sequence
                  and s.status = 'archiving')
  from balances b
  left join settled_accounts m on m.ledger_id = b.ledger_id and m.account_sequence = b.account_sequence
 where b.ledger_id = :ledger and b.account_sequence = :account;

-- name: unsettled
-- The first posted entries of an account, after one lock version up to another, that are in no settlement and were not
-- written by one. The "offset 0" keeps the planner from reading all settled entries of a ledger that it knows nothing
-- of.
select e.entry, e.lock_version, e.effective_at
  from entries e
  join transactions t on t.ledger_id = e.ledger_id and t.transaction_sequence = e.transaction_sequence
 where e.ledger_id = :ledger and e.account_sequence = :account and e.lock_version > :after and e.lock_version <= :to
   and e.status = 'posted' and t.settlement_sequence is null
   and not exists (select from settled_entries x where x.ledger_id = e.ledger_id and x.entry = e.entry offset 0)
 order by e.lock_version
 limit :limit;

-- name: unsettled_net
-- Credits less debits of all of those that are effective before a time.
select coalesce(sum(case e.direction when 'credit' then e.amount else -e.amount end), 0)
  from entries e
  join transactions t on t.ledger_id = e.ledger_id and t.transaction_sequence = e.transaction_sequence
 where e.ledger_id = :ledger and e.account_sequence = :account and e.lock_version > :after and e.lock_version <= :to
   and e.status = 'posted' and t.settlement_sequence is null and e.effective_at < :before_time
   and not exists (select from settled_entries x where x.ledger_id = e.ledger_id and x.entry = e.entry offset 0);

-- name: note_search
-- A sweep has come from the lock version `searched` to `reached` and left no entry up to `clear_to`.
with noted as (
    update settlements set searched_lock_version = :reached
     where ledger_id = :ledger and settlement_sequence = :settlement
)
update settled_accounts set swept_lock_version = :clear_to
 where ledger_id = :ledger and account_sequence = :account and swept_lock_version >= :searched
   and swept_lock_version < :clear_to;

-- name: add_entries
-- Puts those of the entries that are in no settlement into this one.
insert into settled_entries (ledger_id, entry, settlement_sequence)
select :ledger, e.entry, :settlement from unnest(:entries::bigint[]) as e (entry)
on conflict do nothing
returning entry;

-- name: remove_entries
delete from settled_entries
 where ledger_id = :ledger and settlement_sequence = :settlement and entry = any(:entries::bigint[])
returning entry;

-- name: free_entries
-- Frees some entries of a settlement.
delete from settled_entries
 where ledger_id = :ledger and entry = any(array(
       select x.entry from settled_entries x
        where x.ledger_id = :ledger and x.settlement_sequence = :settlement
        order by x.entry
        limit :limit));

-- name: has_entries
select exists (select from settled_entries where ledger_id = :ledger and settlement_sequence = :settlement);

-- name: holders
-- Which of the entries are in which settlement.
select x.entry, x.settlement_sequence, s.created_at, s.status::text
  from settled_entries x
  join settlements s on s.ledger_id = x.ledger_id and s.settlement_sequence = x.settlement_sequence
 where x.ledger_id = :ledger and x.entry = any(:entries::bigint[]);

-- name: entries
-- What is to be known of entries before they are picked.
select e.entry, e.created_at, e.account_sequence, e.status::text, t.settlement_sequence is not null
  from entries e
  join transactions t on t.ledger_id = e.ledger_id and t.transaction_sequence = e.transaction_sequence
 where e.ledger_id = :ledger and e.entry = any(:entries::bigint[]);

-- name: unfinished
-- The first, behind one of them, of the settlements of ledgers that take writes of which something is left to do; a
-- sweep waits until the entries of its account that are to be freed are free.
select s.ledger_id, s.settlement_sequence, s.created_at
  from settlements s
  join ledger_heads h on h.ledger_id = s.ledger_id
 where s.status in ('processing', 'archiving') and h.discarded_at is null
   and (s.ledger_id, s.settlement_sequence) > (:after_ledger::bigint, :after_settlement::bigint)
   and not (s.status = 'processing' and exists (
       select from settlements o
        where o.ledger_id = s.ledger_id and o.settled_account_sequence = s.settled_account_sequence
          and o.status = 'archiving'))
 order by s.ledger_id, s.settlement_sequence
 limit :limit;
