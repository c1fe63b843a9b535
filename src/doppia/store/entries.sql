-- Entries as they are read one by one.

-- name: list
select p.*, t.created_at as transaction_created_at,
       a.created_at as account_created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       a.discarded_at is null as is_open
  from unnest($1::bigint[]) as g (ledger_id)
 cross join lateral (
       select e.ledger_id, e.entry, e.transaction_sequence, e.created_at, e.effective_at, e.direction::text,
              e.status::text, e.amount, e.lock_version, e.posted_credits, e.posted_debits, e.pending_credits,
              e.pending_debits, e.account_sequence, m.metadata, m.updated_at as metadata_updated_at, d.discarded_at
         from entries e
         left join entry_metadata m using (ledger_id, entry)
         left join discards d using (ledger_id, entry)
        where e.ledger_id = g.ledger_id /* where */
        order by /* order */
        limit $2) p
  join transactions t on t.ledger_id = p.ledger_id and t.transaction_sequence = p.transaction_sequence
  join accounts a on a.ledger_id = p.ledger_id and a.account_sequence = p.account_sequence
 order by /* merge */
 limit $2;

-- filter: id
e.entry = any({value}::bigint[])
-- filter: id_exact
concat(e.ledger_id, '.', e.entry >> 10, '.', floor(extract(epoch from e.created_at))::bigint, '.', e.entry & 1023)
    = any({value}::text[])
-- filter: ledger_account_id
e.account_sequence = {value}::bigint
-- filter: ledger_transaction_id
-- The entries of a transaction were written by its own record and by those that changed it.
e.transaction_sequence = {value}::bigint and e.entry = any(array(
    select (w.sequence << 10) + o.ordinal
      from (select {value}::bigint as sequence
            union all
            select l.sequence from log l
             where l.ledger_id = g.ledger_id and l.object_sequence = {value}::bigint
               and l.object_sequence <> l.sequence) w
     cross join generate_series(1, 1000) as o (ordinal)))
-- filter: direction
e.direction = {value}::text::direction
-- filter: status
e.status = any({value}::text[]::transaction_status[])
-- filter: amount
e.amount {is} {value}::numeric
-- filter: effective_at
e.effective_at {is} {value}::timestamptz
-- filter: updated_at
greatest(e.created_at, m.updated_at, d.discarded_at) {is} {value}::timestamptz
-- filter: as_of_lock_version
e.lock_version <= {value}::bigint and (d.lock_version is null or d.lock_version > {value}::bigint)
-- filter: lock_version
e.lock_version {is} {value}::bigint
-- filter: show_deleted
d.entry is null or {value}::boolean
-- filter: metadata
m.metadata @> {value}::jsonb

-- name: annotate
insert into entry_metadata (ledger_id, entry, metadata, updated_at) values ($1, $2, $3, $4)
on conflict (ledger_id, entry) do update set metadata = excluded.metadata, updated_at = excluded.updated_at;
