-- Entries as they are read one by one.

-- template: list
select p.*, t.created_at as transaction_created_at,
       a.created_at as account_created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       a.discarded_at is null as is_open
  from {ledgers} as g (ledger_id)
 cross join lateral ({rows}) p
  join transactions t on t.ledger_id = p.ledger_id and t.transaction_sequence = p.transaction_sequence
  join accounts a on a.ledger_id = p.ledger_id and a.account_sequence = p.account_sequence
 order by {merge}
 limit :limit;

-- template: rows
select e.ledger_id, e.entry, e.transaction_sequence, e.created_at, e.effective_at, e.direction::text,
       e.status::text, e.amount, e.lock_version, e.posted_credits, e.posted_debits, e.pending_credits,
       e.pending_debits, e.account_sequence, m.metadata, m.updated_at as metadata_updated_at, d.discarded_at
  from entries e
  left join entry_metadata m using (ledger_id, entry)
  left join (select ledger_id, entry, discarded_at, lock_version as discarded_lock_version from discards) d
       using (ledger_id, entry)
 where e.ledger_id = g.ledger_id {where}
 order by {order}
 limit {limit};

-- filter: id
e.entry = any(:value::bigint[])
-- filter: id_exact
concat(e.ledger_id, '.', e.entry >> 10, '.', floor(extract(epoch from e.created_at))::bigint, '.', e.entry & 1023)
    = any(:value::text[])
-- filter: ledger_account_id
e.account_sequence = :value::bigint
-- filter: category_sets
-- Asked of entry by entry, in the order of the list: the accounts of a large category have too many to gather.
exists (select from balances k
         where k.ledger_id = e.ledger_id and k.account_sequence = e.account_sequence
           and k.category_set = any(:value::bigint[])
        offset 0)
-- filter: few_accounts
-- All entries of these accounts are gathered first.
e.entry = any(array(
    select i.entry
      from unnest(:value::bigint[]) as k (account_sequence)
     cross join lateral (
           select n.entry from entries n
            where n.ledger_id = g.ledger_id and n.account_sequence = k.account_sequence
           offset 0) i))
-- filter: ledger_transaction_id
-- The entries of a transaction were written by its own record and by those that changed it.
e.transaction_sequence = :value::bigint and e.entry = any(array(
    select (w.sequence << 10) + o.ordinal
      from (select :value::bigint as sequence
            union all
            select l.sequence from log l
             where l.ledger_id = g.ledger_id and l.object_sequence = :value::bigint
               and l.object_sequence <> l.sequence) w
     cross join generate_series(1, 1000) as o (ordinal)))
-- filter: of_settlement
-- Those of settlement :value[1] whose numbers are from :value[2] to :value[3], in the order of its index; of one that
-- is archiving, those that are still to be freed count no more.
e.entry in (
    select x.entry from settled_entries x
     where x.ledger_id = g.ledger_id and x.settlement_sequence = (:value::bigint[])[1]
       and x.entry >= (:value::bigint[])[2] and x.entry <= (:value::bigint[])[3])
and exists (
    select from settlements s
     where s.ledger_id = g.ledger_id and s.settlement_sequence = (:value::bigint[])[1] and s.status <> 'archiving')
-- filter: direction
e.direction = :value::text::direction
-- filter: status
e.status = any(:value::text[]::transaction_status[])
-- filter: amount
e.amount {operator} :value::numeric
-- filter: effective_at
e.effective_at {operator} :value::timestamptz
-- filter: updated_at
greatest(e.created_at, m.updated_at, d.discarded_at) {operator} :value::timestamptz
-- filter: as_of_lock_version
-- Said so that the planner does not take an entry without a discard for a rare one.
e.lock_version <= :value::bigint and coalesce(d.discarded_lock_version, 9223372036854775807) > :value::bigint
-- filter: lock_version
e.lock_version {operator} :value::bigint
-- condition: counted_on_account
e.account_sequence = :value::bigint and e.lock_version is not null
-- condition: uncounted_on_account
-- Those written as archived.
e.account_sequence = :value::bigint and e.lock_version is null
-- condition: in_place
-- Effective when they were recorded, which are many: as an equation the planner would take them for few.
e.effective_at between e.created_at and e.created_at
-- condition: displaced
-- Effective at another time, as their indexes have it.
e.effective_at <> e.created_at
-- condition: displaced_outside
-- The same, but for those that were recorded on account :value[1] after the microsecond :value[2], until :value[3]. An
-- account has one ledger, so these places are sought once.
e.effective_at <> e.created_at
and (e.lock_version is null
     or e.lock_version <= (
        select account_version((:ledgers::bigint[])[1], (:value::bigint[])[1], time_of((:value::bigint[])[2])))
     or e.lock_version > (
        select account_version((:ledgers::bigint[])[1], (:value::bigint[])[1], time_of((:value::bigint[])[3]))))
-- condition: recorded_on_account
-- Against what the account :value[1] had at the microsecond :value[2].
e.lock_version {operator} account_version(g.ledger_id, (:value::bigint[])[1], time_of((:value::bigint[])[2]))
-- condition: recorded_in_ledger
-- Against where the log ended at the microsecond :value.
e.entry {operator} ((log_position(g.ledger_id, time_of(:value::bigint)) + 1) << 10) - 1
-- condition: since_displaced_on_account
-- Of account :value[1], not before the last of the displaced entries, if these fill a page of :value[2].
e.lock_version > account_version(g.ledger_id, (:value::bigint[])[1], (
    select case count(*) when (:value::bigint[])[2] then min(x.effective_at) - interval '1 microsecond'
                         else '-infinity' end
      from displaced x))
-- condition: until_displaced_on_account
e.lock_version <= account_version(g.ledger_id, (:value::bigint[])[1], (
    select case count(*) when (:value::bigint[])[2] then max(x.effective_at) else 'infinity' end from displaced x))
-- condition: since_displaced_in_ledger
e.entry >= (log_position(g.ledger_id, (
    select case count(*) when :value::bigint then min(x.effective_at) - interval '1 microsecond' else '-infinity' end
      from displaced x)) + 1) << 10
-- condition: until_displaced_in_ledger
e.entry < (log_position(g.ledger_id, (
    select case count(*) when :value::bigint then max(x.effective_at) else 'infinity' end from displaced x)) + 1) << 10
-- filter: pending
e.status = 'pending'
-- filter: show_deleted
d.entry is null or :value::boolean
-- filter: metadata
m.metadata @> :value::jsonb

-- name: annotate
insert into entry_metadata (ledger_id, entry, metadata, updated_at) values (:ledger, :entry, :metadata, :updated_at)
on conflict (ledger_id, entry) do update set metadata = excluded.metadata, updated_at = excluded.updated_at;
