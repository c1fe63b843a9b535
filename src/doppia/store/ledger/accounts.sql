-- Accounts and their balances.

-- name: get
select a.ledger_id, a.account_sequence, a.name, a.description, a.currency, a.currency_exponent,
       a.normal_balance::text, a.external_id, a.ledgerable_type, a.ledgerable_id, a.metadata, a.created_at,
       a.updated_at, a.discarded_at, b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits,
       b.pending_debits
  from accounts a
  join balances b using (ledger_id, account_sequence)
 where a.ledger_id = $1 and a.account_sequence = any($2::bigint[]);

-- name: list
select p.*
  from unnest($1::bigint[]) as g (ledger_id)
 cross join lateral (
       select a.ledger_id, a.account_sequence, a.name, a.description, a.currency, a.currency_exponent,
              a.normal_balance::text, a.external_id, a.ledgerable_type, a.ledgerable_id, a.metadata, a.created_at,
              a.updated_at, a.discarded_at, b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits,
              b.pending_debits
         from accounts a
         join balances b using (ledger_id, account_sequence)
        where a.ledger_id = g.ledger_id /* where */
        order by /* order */
        limit $2) p
 order by /* merge */
 limit $2;

-- filter: id
a.account_sequence = any({value}::bigint[])
-- filter: id_exact
concat(a.ledger_id, '.', a.account_sequence, '.', floor(extract(epoch from a.created_at))::bigint, '.0') = any({value}::text[])
-- filter: name
md5(a.name) = any(array(select md5(n) from unnest({value}::text[]) n)) and a.name = any({value}::text[])
-- filter: external_id
a.external_id = {value}::text and a.external_id is not null
-- filter: currency
a.currency = {value}::text
-- filter: normal_balance
a.normal_balance = {value}::text::direction
-- filter: discarded
(a.discarded_at is not null) = {value}::boolean
-- filter: ledger_account_category_id
a.account_sequence = any(array(
    select k.account_sequence
      from balances k
     where k.ledger_id = g.ledger_id
       and k.category_set = any(array(select sets_of_category(g.ledger_id, {value}::bigint)))))
-- filter: created_at
a.created_at {is} {value}::timestamptz
and a.account_sequence > case
    when timestamptz '-infinity' {is} {value}::timestamptz then 0
    else log_position(g.ledger_id, {value}::timestamptz - interval '1 microsecond') end
and a.account_sequence <= case
    when timestamptz 'infinity' {is} {value}::timestamptz then 9223372036854775807
    else log_position(g.ledger_id, {value}::timestamptz) end
-- filter: updated_at
a.updated_at {is} {value}::timestamptz
-- filter: posted_balance_amount
case a.normal_balance when 'credit' then b.posted_credits - b.posted_debits
    else b.posted_debits - b.posted_credits end {is} {value}::numeric
-- filter: pending_balance_amount
case a.normal_balance when 'credit' then b.posted_credits + b.pending_credits - b.posted_debits - b.pending_debits
    else b.posted_debits + b.pending_debits - b.posted_credits - b.pending_credits end {is} {value}::numeric
-- filter: available_balance_amount
case a.normal_balance when 'credit' then b.posted_credits - b.posted_debits - b.pending_debits
    else b.posted_debits - b.posted_credits - b.pending_credits end {is} {value}::numeric
-- filter: metadata
a.metadata @> {value}::jsonb and a.metadata <> '{}'

-- name: create
-- Opens account $2 of ledger $1 at time $3.
with opened as (
    insert into accounts (
        ledger_id, account_sequence, created_at, updated_at, name, description, currency, currency_exponent,
        normal_balance, external_id, ledgerable_type, ledgerable_id, metadata)
    values ($1, $2, $3, $3, $4, $5, $6, $7, $8::text::direction, $9, $10, $11, $12)
)
insert into balances (ledger_id, account_sequence, lock_version, posted_credits, posted_debits, pending_credits,
                      pending_debits)
values ($1, $2, 0, 0, 0, 0, 0);

-- name: update
update accounts
   set name = $3, description = $4, external_id = $5, metadata = $6, updated_at = $7, ledgerable_type = $8,
       ledgerable_id = $9
 where ledger_id = $1 and account_sequence = $2;

-- name: discard
update accounts set discarded_at = $3, updated_at = $3 where ledger_id = $1 and account_sequence = $2;

-- name: external_id_holder
-- The active account of ledger $1 that has the external id $2.
select account_sequence, created_at
  from accounts
 where ledger_id = $1 and external_id = $2 and discarded_at is null;

-- name: count_pending_entries
-- Pending entries of account $2 of ledger $1 that are not discarded.
select count(*)
  from entries e
 where e.ledger_id = $1 and e.account_sequence = $2 and e.status = 'pending'
   and not exists (select from discards d where d.ledger_id = e.ledger_id and d.entry = e.entry);
