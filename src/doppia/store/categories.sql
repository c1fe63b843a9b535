-- Categories: the chart of accounts.

-- name: categories
-- The categories of ledger $1 among the sequences $2.
select category_sequence, created_at, currency, currency_exponent, normal_balance::text, discarded_at is null as is_open
  from categories
 where ledger_id = $1 and category_sequence = any($2::bigint[]);

-- name: sets
-- For each of the categories $2 of ledger $1 the sets that hold it or a category below it, with their sums.
with recursive below (top, category_sequence) as (
    select c, c from unnest($2::bigint[]) as c
    union
    select b.top, e.child_sequence
      from below b
      join category_edges e on e.ledger_id = $1 and e.parent_sequence = b.category_sequence
)
select distinct b.top, s.category_set, s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits
  from below b
  join category_set_members m on m.ledger_id = $1 and m.category_sequence = b.category_sequence
  join category_sets s on s.ledger_id = $1 and s.category_set = m.category_set;
