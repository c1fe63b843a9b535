-- Balance monitors.

-- template: list
-- Each with its account as it stands.
select p.*, a.created_at as account_created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       a.discarded_at is null as is_open, b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits,
       b.pending_debits
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select m.ledger_id, m.monitor_sequence, m.account_sequence, m.field::text, m.operator::text, m.value,
              m.is_triggered, m.description, m.metadata, m.created_at, m.updated_at, m.discarded_at
         from balance_monitors m
        where m.ledger_id = g.ledger_id {where}
        order by {order}
        limit {limit}) p
  join accounts a on a.ledger_id = p.ledger_id and a.account_sequence = p.account_sequence
  join balances b on b.ledger_id = p.ledger_id and b.account_sequence = p.account_sequence
 order by {merge}
 limit :limit;

-- filter: id
m.monitor_sequence = any(:value::bigint[])
-- filter: id_exact
concat(m.ledger_id, '.', m.monitor_sequence, '.', floor(extract(epoch from m.created_at))::bigint, '.0')
    = any(:value::text[])
-- filter: ledger_account_id
m.account_sequence = :value::bigint
-- filter: discarded
(m.discarded_at is not null) = :value::boolean
-- filter: metadata
m.metadata @> :value::jsonb and m.metadata <> '{}'

-- name: create
insert into balance_monitors (
    ledger_id, monitor_sequence, account_sequence, field, operator, value, is_triggered, description, metadata,
    created_at, updated_at)
values (:ledger, :monitor, :account, :field::text::monitored_field, :operator::text::alert_operator, :value,
        :is_triggered, :description, :metadata, :created_at, :created_at);

-- name: update
update balance_monitors set description = :description, metadata = :metadata, updated_at = :updated_at
 where ledger_id = :ledger and monitor_sequence = :monitor;

-- name: discard
update balance_monitors set discarded_at = :discarded_at, updated_at = :discarded_at
 where ledger_id = :ledger and monitor_sequence = :monitor;

-- name: watch
-- Lets an account be watched for as long as it has a monitor that is not discarded.
update balances b
   set is_monitored = n.is_monitored
  from (select exists (select from balance_monitors m
                        where m.ledger_id = :ledger and m.account_sequence = :account and m.discarded_at is null)
               as is_monitored) n
 where b.ledger_id = :ledger and b.account_sequence = :account and b.is_monitored <> n.is_monitored;

-- name: of_accounts
-- The monitors of accounts that are not discarded.
select ledger_id, monitor_sequence, account_sequence, field::text, operator::text, value, is_triggered, description,
       metadata, created_at, updated_at, discarded_at
  from balance_monitors
 where ledger_id = :ledger and account_sequence = any(:accounts::bigint[]) and discarded_at is null
 order by monitor_sequence;

-- name: trigger
-- Sets the states of monitors.
update balance_monitors m
   set is_triggered = n.is_triggered, updated_at = :updated_at
  from unnest(:monitors::bigint[], :states::boolean[]) as n (monitor_sequence, is_triggered)
 where m.ledger_id = :ledger and m.monitor_sequence = n.monitor_sequence;
