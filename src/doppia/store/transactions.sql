-- Transactions as they are read, with the entries in force.

-- name: get
-- Transactions $2 of ledger $1.
select t.ledger_id, t.transaction_sequence, t.entries_sequence, t.created_at, t.updated_at, t.effective_at,
       t.posted_at, t.expires_at, t.status::text, t.version, t.description, t.external_id, t.ledgerable_type, t.ledgerable_id,
       t.archived_reason, t.metadata, t.reverses_sequence, o.created_at as reverses_created_at,
       t.partially_posts_sequence, h.created_at as partially_posts_created_at,
       t.settlement_sequence, s.created_at as settlement_created_at,
       r.transaction_sequence as reversed_by_sequence, r.created_at as reversed_by_created_at
  from transactions t
  left join transactions o on o.ledger_id = t.ledger_id and o.transaction_sequence = t.reverses_sequence
  left join transactions h on h.ledger_id = t.ledger_id and h.transaction_sequence = t.partially_posts_sequence
  left join settlements s on s.ledger_id = t.ledger_id and s.settlement_sequence = t.settlement_sequence
  left join transactions r on r.ledger_id = t.ledger_id and r.reverses_sequence = t.transaction_sequence
       and r.status <> 'archived'
 where t.ledger_id = $1 and t.transaction_sequence = any($2::bigint[]);

-- name: list
select p.*, o.created_at as reverses_created_at, h.created_at as partially_posts_created_at,
       s.created_at as settlement_created_at,
       r.transaction_sequence as reversed_by_sequence, r.created_at as reversed_by_created_at
  from unnest($1::bigint[]) as g (ledger_id)
 cross join lateral (
       select t.ledger_id, t.transaction_sequence, t.entries_sequence, t.created_at, t.updated_at, t.effective_at,
              t.posted_at, t.expires_at, t.status::text, t.version, t.description, t.external_id, t.ledgerable_type,
              t.ledgerable_id, t.archived_reason, t.metadata, t.reverses_sequence, t.partially_posts_sequence,
              t.settlement_sequence
         from transactions t
        where t.ledger_id = g.ledger_id /* where */
        order by /* order */
        limit $2) p
  left join transactions o on o.ledger_id = p.ledger_id and o.transaction_sequence = p.reverses_sequence
  left join transactions h on h.ledger_id = p.ledger_id and h.transaction_sequence = p.partially_posts_sequence
  left join settlements s on s.ledger_id = p.ledger_id and s.settlement_sequence = p.settlement_sequence
  left join transactions r on r.ledger_id = p.ledger_id and r.reverses_sequence = p.transaction_sequence
       and r.status <> 'archived'
 order by /* merge */
 limit $2;

-- filter: id
t.transaction_sequence = any({value}::bigint[])
-- filter: id_exact
concat(t.ledger_id, '.', t.transaction_sequence, '.', floor(extract(epoch from t.created_at))::bigint, '.0') = any({value}::text[])
-- filter: ledger_account_id
exists (select from entries e
         where e.ledger_id = t.ledger_id and e.account_sequence = {value}::bigint
           and e.entry >= t.entries_sequence << 10 and e.entry < (t.entries_sequence + 1) << 10)
-- filter: external_id
-- Said twice, for each of the two indexes holds one half.
t.external_id = {value}::text and t.status <> 'archived' or t.external_id = {value}::text and t.status = 'archived'
-- filter: ledgerable_type
t.ledgerable_type = {value}::text
-- filter: ledgerable_id
t.ledgerable_id = {value}::text
-- filter: reverses
t.reverses_sequence = {value}::bigint and t.reverses_sequence is not null
-- filter: partially_posts
t.partially_posts_sequence = {value}::bigint and t.partially_posts_sequence is not null
-- filter: status
t.status = any({value}::text[]::transaction_status[])
-- filter: amount
-- What the debits of the entries in force sum to, over all units.
(select sum(e.amount) from entries e
  where e.ledger_id = t.ledger_id and e.direction = 'debit'
    and e.entry >= t.entries_sequence << 10 and e.entry < (t.entries_sequence + 1) << 10) {is} {value}::numeric
-- filter: effective_at
t.effective_at {is} {value}::timestamptz
-- filter: posted_at
t.posted_at {is} {value}::timestamptz
-- filter: created_at
t.created_at {is} {value}::timestamptz
-- filter: updated_at
t.updated_at {is} {value}::timestamptz
-- filter: metadata
t.metadata @> {value}::jsonb and t.metadata <> '{}'

-- name: entries
-- The entries that the records $2 of the ledgers $1 wrote (pairs), in order.
select e.ledger_id, e.entry, e.created_at, e.effective_at, e.direction::text, e.status::text, e.amount,
       e.lock_version, e.posted_credits, e.posted_debits, e.pending_credits, e.pending_debits, e.account_sequence,
       a.created_at as account_created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       a.discarded_at is null as is_open, m.metadata, m.updated_at as metadata_updated_at, d.discarded_at
  from unnest($1::bigint[], $2::bigint[]) as w (ledger_id, sequence)
  join entries e on e.ledger_id = w.ledger_id and e.entry >= w.sequence << 10 and e.entry < (w.sequence + 1) << 10
  join accounts a on a.ledger_id = e.ledger_id and a.account_sequence = e.account_sequence
  left join entry_metadata m on m.ledger_id = e.ledger_id and m.entry = e.entry
  left join discards d on d.ledger_id = e.ledger_id and d.entry = e.entry
 order by e.ledger_id, e.entry;

-- name: records
-- The log records $2 of ledger $1.
select payload from log where ledger_id = $1 and sequence = any($2::bigint[]);

-- name: by_external_id
-- In each of the ledgers $1 the transaction with the external id $2 that is in force, else the newest archived one.
select g.ledger_id, t.transaction_sequence, t.created_at, t.in_force
  from unnest($1::bigint[]) as g (ledger_id)
 cross join lateral (
       select b.transaction_sequence, b.created_at, b.in_force
         from (select c.transaction_sequence, c.created_at, true as in_force
                 from transactions c
                where c.ledger_id = g.ledger_id and c.external_id = $2 and c.status <> 'archived'
               union all
               select a.transaction_sequence, a.created_at, false
                 from transactions a
                where a.ledger_id = g.ledger_id and a.external_id = $2 and a.status = 'archived') b
        order by b.in_force desc, b.transaction_sequence desc
        limit 1) t;
