-- Balance monitors.

-- name: of_accounts
-- The monitors of accounts $2 of ledger $1 that are not discarded.
select ledger_id, monitor_sequence, account_sequence, field::text, operator::text, value, is_triggered, description,
       metadata, created_at, updated_at, discarded_at
  from balance_monitors
 where ledger_id = $1 and account_sequence = any($2::bigint[]) and discarded_at is null
 order by monitor_sequence;

-- name: trigger
-- Sets the states $3 of monitors $2 of ledger $1 at time $4.
update balance_monitors m
   set is_triggered = n.is_triggered, updated_at = $4
  from unnest($2::bigint[], $3::boolean[]) as n (monitor_sequence, is_triggered)
 where m.ledger_id = $1 and m.monitor_sequence = n.monitor_sequence;
