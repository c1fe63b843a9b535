-- Account statements, and the entries that one holds.

-- name: sums
-- The four sums of an account as of a lock version over what is effective before each of the times.
select s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits
  from unnest(:times::timestamptz[]) with ordinality as t (at, place)
 cross join lateral sums_before(:ledger, :account, :lock_version, t.at) s
 order by t.place;

-- name: create
insert into account_statements (
    ledger_id, statement_sequence, account_sequence, lock_version, effective_at_lower_bound, effective_at_upper_bound,
    starting_posted_credits, starting_posted_debits, starting_pending_credits, starting_pending_debits,
    ending_posted_credits, ending_posted_debits, ending_pending_credits, ending_pending_debits, description, metadata,
    created_at)
values (:ledger, :statement, :account, :lock_version, :effective_at_lower_bound, :effective_at_upper_bound,
        :starting_posted_credits, :starting_posted_debits, :starting_pending_credits, :starting_pending_debits,
        :ending_posted_credits, :ending_posted_debits, :ending_pending_credits, :ending_pending_debits, :description,
        :metadata, :created_at);

-- template: list
select p.*, a.created_at as account_created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       a.discarded_at is null as is_open
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select s.ledger_id, s.statement_sequence, s.account_sequence, s.lock_version, s.effective_at_lower_bound,
              s.effective_at_upper_bound, s.starting_posted_credits, s.starting_posted_debits,
              s.starting_pending_credits, s.starting_pending_debits, s.ending_posted_credits, s.ending_posted_debits,
              s.ending_pending_credits, s.ending_pending_debits, s.description, s.metadata, s.created_at
         from account_statements s
        where s.ledger_id = g.ledger_id {where}
        order by {order}
        limit {limit}) p
  join accounts a on a.ledger_id = p.ledger_id and a.account_sequence = p.account_sequence
 order by {merge}
 limit :limit;

-- filter: id
s.statement_sequence = any(:value::bigint[])
-- filter: id_exact
concat(s.ledger_id, '.', s.statement_sequence, '.', floor(extract(epoch from s.created_at))::bigint, '.0')
    = any(:value::text[])
-- filter: ledger_account_id
s.account_sequence = :value::bigint
-- filter: created_at
s.created_at {operator} :value::timestamptz
-- filter: metadata
s.metadata @> :value::jsonb and s.metadata <> '{}'
