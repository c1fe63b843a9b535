-- Categories: the chart of accounts.

-- name: get
-- A category with what its accounts sum to.
select c.ledger_id, c.category_sequence, c.name, c.description, c.currency, c.currency_exponent,
       c.normal_balance::text, c.external_id, c.metadata, c.created_at, c.updated_at, c.discarded_at,
       s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits
  from categories c
 cross join lateral category_sums(c.ledger_id, c.category_sequence) s
 where c.ledger_id = :ledger and c.category_sequence = :category;

-- template: list
select q.*, s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits
  from (select p.*
          from {ledgers} as g (ledger_id)
         cross join lateral (
               select c.ledger_id, c.category_sequence, c.name, c.description, c.currency, c.currency_exponent,
                      c.normal_balance::text, c.external_id, c.metadata, c.created_at, c.updated_at, c.discarded_at
                 from categories c
                where c.ledger_id = g.ledger_id {where}
                order by {order}
                limit {limit}) p
         order by {merge}
         limit :limit) q
 cross join lateral category_sums(q.ledger_id, q.category_sequence) s
 order by {merge};

-- filter: id
c.category_sequence = any(:value::bigint[])
-- filter: id_exact
concat(c.ledger_id, '.', c.category_sequence, '.', floor(extract(epoch from c.created_at))::bigint, '.0') = any(:value::text[])
-- filter: name
md5(c.name) = any(array(select md5(n) from unnest(:value::text[]) n)) and c.name = any(:value::text[])
-- filter: external_id
c.external_id = :value::text and c.external_id is not null
-- filter: currency
c.currency = :value::text
-- filter: discarded
(c.discarded_at is not null) = :value::boolean
-- filter: metadata
c.metadata @> :value::jsonb and c.metadata <> '{}'
-- filter: parent_ledger_account_category_id
c.category_sequence = any(array(
    select e.child_sequence
      from category_edges e
     where e.ledger_id = g.ledger_id and e.parent_sequence = :value::bigint))
-- filter: ledger_account_id
-- Those the account is directly in, and all above them; one that is discarded has nothing above it.
c.discarded_at is null and c.category_sequence = any(array(
    with recursive above (category_sequence) as (
        select m.category_sequence
          from balances b
         cross join lateral (select unnest(s.categories) as category_sequence
                               from category_sets s
                              where s.ledger_id = b.ledger_id and s.category_set = b.category_set) m
         where b.ledger_id = g.ledger_id and b.account_sequence = :value::bigint
        union
        select e.parent_sequence
          from above a
         cross join lateral edges_above(g.ledger_id, a.category_sequence) e)
    select category_sequence from above))

-- name: categories
select category_sequence, created_at, currency, currency_exponent, normal_balance::text, discarded_at is null as is_open
  from categories
 where ledger_id = :ledger and category_sequence = any(:categories::bigint[]);

-- name: chart
-- Categories, what their accounts sum to, and which of the sets they hold.
select c.category_sequence, c.created_at, c.currency, c.currency_exponent, c.normal_balance::text,
       c.discarded_at is null as is_open, t.*
  from categories c
 cross join lateral (
       select coalesce(array_agg(k.category_set) filter (where k.category_set in (select unnest(:sets::bigint[]))),
                       '{}') as sets,
              coalesce(sum(s.posted_credits), 0) as posted_credits, coalesce(sum(s.posted_debits), 0) as posted_debits,
              coalesce(sum(s.pending_credits), 0) as pending_credits, coalesce(sum(s.pending_debits), 0) as pending_debits
         from sets_of_category(c.ledger_id, c.category_sequence) as k (category_set)
         join category_sets s on s.ledger_id = c.ledger_id and s.category_set = k.category_set) t
 where c.ledger_id = :ledger and c.category_sequence = any(:categories::bigint[]);

-- name: sums_in_time
-- What the accounts that are in categories (pairs with their ledgers) today summed to, as known at a time, over the
-- entries effective from one time on and before another; null asks nothing.
select w.ledger_id, w.category_sequence, t.*
  from unnest(:ledgers::bigint[], :categories::bigint[]) as w (ledger_id, category_sequence)
 cross join lateral (
       select coalesce(sum(s.posted_credits), 0) as posted_credits, coalesce(sum(s.posted_debits), 0) as posted_debits,
              coalesce(sum(s.pending_credits), 0) as pending_credits, coalesce(sum(s.pending_debits), 0) as pending_debits
         from sets_of_category(w.ledger_id, w.category_sequence) as k (category_set)
         join balances b on b.ledger_id = w.ledger_id and b.category_set = k.category_set
        cross join lateral (
              select case when :recorded_at::timestamptz is null then b.lock_version
                          else account_version(b.ledger_id, b.account_sequence, :recorded_at::timestamptz)
                     end as lock_version
              offset 0) v
        cross join lateral sums_between(b.ledger_id, b.account_sequence, v.lock_version, :from_time::timestamptz,
                                        :before_time::timestamptz) s) t;

-- name: recompute
-- What the accounts of a category sum to as it is kept, and by their entries in force.
select s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits, f.*
  from category_sums(:ledger, :category) s
 cross join lateral (
       select coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'credit'), 0)
                  as folded_posted_credits,
              coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'debit'), 0)
                  as folded_posted_debits,
              coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'credit'), 0)
                  as folded_pending_credits,
              coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'debit'), 0)
                  as folded_pending_debits
         from sets_of_category(:ledger, :category) as k (category_set)
         join balances b on b.ledger_id = :ledger and b.category_set = k.category_set
        cross join lateral (
              select n.status, n.direction, n.amount
                from entries n
                left join discards d on d.ledger_id = n.ledger_id and d.entry = n.entry
               where n.ledger_id = b.ledger_id and n.account_sequence = b.account_sequence and d.entry is null
              offset 0) e) f;

-- name: sets_of
select sets_of_category(:ledger, :category);

-- name: accounts
-- Accounts that are in a category, and how many steps each has taken.
select account_sequence, lock_version
  from balances
 where ledger_id = :ledger and category_set = any(array(select sets_of_category(:ledger, :category)))
 limit :limit;

-- name: create
insert into categories (
    ledger_id, category_sequence, created_at, updated_at, name, description, currency, currency_exponent,
    normal_balance, external_id, metadata)
values (:ledger, :category, :created_at, :created_at, :name, :description, :currency, :currency_exponent,
        :normal_balance::text::direction, :external_id, :metadata);

-- name: update
update categories
   set name = :name, description = :description, external_id = :external_id, metadata = :metadata,
       updated_at = :updated_at
 where ledger_id = :ledger and category_sequence = :category;

-- name: end_edges
delete from category_edges where ledger_id = :ledger and (parent_sequence = :category or child_sequence = :category);

-- name: discard
update categories set discarded_at = :discarded_at, updated_at = :discarded_at
 where ledger_id = :ledger and category_sequence = :category;

-- name: external_id_holder
-- The category that has an external id and is not discarded.
select category_sequence, created_at
  from categories
 where ledger_id = :ledger and external_id = :external_id and discarded_at is null;

-- name: parents
-- The categories that a category is directly in.
select parent_sequence
  from category_edges
 where ledger_id = :ledger and child_sequence = :category
 order by parent_sequence;

-- name: edges
-- The edges from any of the upper categories upwards and from the lower one downwards, as parent and child.
with recursive above (parent_sequence, child_sequence) as (
    select e.parent_sequence, e.child_sequence
      from unnest(:uppers::bigint[]) as u (category_sequence)
     cross join lateral edges_above(:ledger, u.category_sequence) e
    union
    select e.parent_sequence, e.child_sequence
      from above a
     cross join lateral edges_above(:ledger, a.parent_sequence) e
), below (parent_sequence, child_sequence) as (
    select e.parent_sequence, e.child_sequence
      from edges_below(:ledger, :lower) e
    union
    select e.parent_sequence, e.child_sequence
      from below b
     cross join lateral edges_below(:ledger, b.child_sequence) e
)
select parent_sequence, child_sequence from above
union all
select parent_sequence, child_sequence from below;

-- name: join
-- Puts the lower category directly below the upper ones.
insert into category_edges (ledger_id, parent_sequence, child_sequence)
select :ledger, parent_sequence, :lower from unnest(:uppers::bigint[]) as parent_sequence;

-- name: part
delete from category_edges where ledger_id = :ledger and parent_sequence = :upper and child_sequence = :lower;

-- name: member
-- An account and the categories it is directly in, without those discarded.
select a.created_at, a.currency, a.currency_exponent, a.discarded_at is null as is_open,
       array(select c.category_sequence
               from category_sets s
              cross join lateral unnest(s.categories) as m (category_sequence)
               join categories c on c.ledger_id = s.ledger_id and c.category_sequence = m.category_sequence
              where s.ledger_id = b.ledger_id and s.category_set = b.category_set and c.discarded_at is null
              order by c.category_sequence) as categories
  from accounts a
  join balances b using (ledger_id, account_sequence)
 where a.ledger_id = :ledger and a.account_sequence = :account;

-- name: place
-- Brings an account into the set of those that are directly in exactly these categories, if there is one.
update balances b
   set category_set = s.category_set
  from category_sets s
 where b.ledger_id = :ledger and b.account_sequence = :account and s.ledger_id = :ledger
   and s.categories = :categories::bigint[]
returning s.category_set;

-- name: create_set
insert into category_sets (ledger_id, category_set, categories) values (:ledger, :set, :categories);

-- name: take_out
update balances set category_set = null where ledger_id = :ledger and account_sequence = :account;
