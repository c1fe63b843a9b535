-- Balances of accounts at other times than now.

-- template: in_time
-- What a query tells of accounts, and their balances as of lock version :lock_version, or as known at :recorded_at, over
-- the entries effective from :from_time on, before :before_time; null asks nothing.
select q.*, v.lock_version as as_of_lock_version, s.posted_credits as as_of_posted_credits,
       s.posted_debits as as_of_posted_debits, s.pending_credits as as_of_pending_credits,
       s.pending_debits as as_of_pending_debits
  from (
{accounts}
       ) q
 cross join lateral (
       select case when :lock_version::bigint is not null then :lock_version::bigint
                   when :recorded_at::timestamptz is not null
                   then account_version(q.ledger_id, q.account_sequence, :recorded_at::timestamptz)
                   else q.lock_version end as lock_version
       offset 0) v
 cross join lateral sums_between(q.ledger_id, q.account_sequence, v.lock_version, :from_time::timestamptz,
                                 :before_time::timestamptz) s
 order by q.created_at desc, q.ledger_id desc, q.account_sequence desc;

-- name: recompute
-- Of an account what is stored, and what its entries and discards say: how many steps, and the four sums.
select b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits, b.pending_debits, w.steps + g.steps as steps,
       w.posted_credits as folded_posted_credits, w.posted_debits as folded_posted_debits,
       w.pending_credits - g.pending_credits as folded_pending_credits,
       w.pending_debits - g.pending_debits as folded_pending_debits
  from balances b
 cross join lateral (
       select count(*) as steps,
              coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'credit'), 0) as posted_credits,
              coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'debit'), 0) as posted_debits,
              coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'credit'), 0) as pending_credits,
              coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'debit'), 0) as pending_debits
         from entries e
        where e.ledger_id = b.ledger_id and e.account_sequence = b.account_sequence and e.lock_version is not null) w
 cross join lateral (
       select count(*) filter (where d.posted_credits is not null) as steps,
              coalesce(sum(e.amount) filter (where e.direction = 'credit'), 0) as pending_credits,
              coalesce(sum(e.amount) filter (where e.direction = 'debit'), 0) as pending_debits
         from discards d
         join entries e on e.ledger_id = d.ledger_id and e.entry = d.entry
        where d.ledger_id = b.ledger_id and d.account_sequence = b.account_sequence) g
 where b.ledger_id = :ledger and b.account_sequence = :account;
