-- Accounts and their balances.

-- name: get
select a.ledger_id, a.account_sequence, a.name, a.description, a.currency, a.currency_exponent,
       a.normal_balance::text, a.external_id, a.ledgerable_type, a.ledgerable_id, a.metadata, a.created_at,
       a.updated_at, a.discarded_at, b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits,
       b.pending_debits
  from accounts a
  join balances b using (ledger_id, account_sequence)
 where a.ledger_id = $1 and a.account_sequence = any($2::bigint[]);

-- template: list
select p.*
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select a.ledger_id, a.account_sequence, a.name, a.description, a.currency, a.currency_exponent,
              a.normal_balance::text, a.external_id, a.ledgerable_type, a.ledgerable_id, a.metadata, a.created_at,
              a.updated_at, a.discarded_at, b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits,
              b.pending_debits
         from accounts a
         join balances b using (ledger_id, account_sequence)
        where a.ledger_id = g.ledger_id {where}
        order by {order}
        limit {limit}) p
 order by {merge}
 limit :limit;

-- filter: id
a.account_sequence = any(:value::bigint[])
-- filter: id_exact
concat(a.ledger_id, '.', a.account_sequence, '.', floor(extract(epoch from a.created_at))::bigint, '.0') = any(:value::text[])
-- filter: name
md5(a.name) = any(array(select md5(n) from unnest(:value::text[]) n)) and a.name = any(:value::text[])
-- filter: external_id
a.external_id = :value::text and a.external_id is not null
-- filter: currency
a.currency = :value::text
-- filter: normal_balance
a.normal_balance = :value::text::direction
-- filter: discarded
(a.discarded_at is not null) = :value::boolean
-- filter: ledger_account_category_id
a.account_sequence = any(array(
    select k.account_sequence
      from balances k
     where k.ledger_id = g.ledger_id
       and k.category_set = any(array(select sets_of_category(g.ledger_id, :value::bigint)))))
-- filter: created_at
a.created_at {operator} :value::timestamptz
and a.account_sequence > case
    when timestamptz '-infinity' {operator} :value::timestamptz then 0
    else log_position(g.ledger_id, :value::timestamptz - interval '1 microsecond') end
and a.account_sequence <= case
    when timestamptz 'infinity' {operator} :value::timestamptz then 9223372036854775807
    else log_position(g.ledger_id, :value::timestamptz) end
-- filter: updated_at
a.updated_at {operator} :value::timestamptz
-- filter: posted_balance_amount
case a.normal_balance when 'credit' then b.posted_credits - b.posted_debits
    else b.posted_debits - b.posted_credits end {operator} :value::numeric
-- filter: pending_balance_amount
case a.normal_balance when 'credit' then b.posted_credits + b.pending_credits - b.posted_debits - b.pending_debits
    else b.posted_debits + b.pending_debits - b.posted_credits - b.pending_credits end {operator} :value::numeric
-- filter: available_balance_amount
case a.normal_balance when 'credit' then b.posted_credits - b.posted_debits - b.pending_debits
    else b.posted_debits - b.posted_credits - b.pending_credits end {operator} :value::numeric
-- filter: metadata
a.metadata @> :value::jsonb and a.metadata <> '{}'

-- name: create
-- Opens an account at zero.
with opened as (
    insert into accounts (
        ledger_id, account_sequence, created_at, updated_at, name, description, currency, currency_exponent,
        normal_balance, external_id, ledgerable_type, ledgerable_id, metadata)
    values (:ledger, :account, :created_at, :created_at, :name, :description, :currency, :currency_exponent,
            :normal_balance::text::direction, :external_id, :ledgerable_type, :ledgerable_id, :metadata)
)
insert into balances (ledger_id, account_sequence, lock_version, posted_credits, posted_debits, pending_credits,
                      pending_debits)
values (:ledger, :account, 0, 0, 0, 0, 0);

-- name: update
update accounts
   set name = :name, description = :description, external_id = :external_id, ledgerable_type = :ledgerable_type,
       ledgerable_id = :ledgerable_id, metadata = :metadata, updated_at = :updated_at
 where ledger_id = :ledger and account_sequence = :account;

-- name: discard
update accounts set discarded_at = :discarded_at, updated_at = :discarded_at
 where ledger_id = :ledger and account_sequence = :account;

-- name: external_id_holder
-- The active account that has an external id.
select account_sequence, created_at
  from accounts
 where ledger_id = :ledger and external_id = :external_id and discarded_at is null;

-- name: count_pending_entries
-- Pending entries of an account that are not discarded.
select count(*)
  from entries e
 where e.ledger_id = :ledger and e.account_sequence = :account and e.status = 'pending'
   and not exists (select from discards d where d.ledger_id = e.ledger_id and d.entry = e.entry);
