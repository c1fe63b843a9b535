-- Transactions as they are read, with the entries in force.

-- name: get
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
 where t.ledger_id = :ledger and t.transaction_sequence = any(:transactions::bigint[]);

-- template: list
select p.*, o.created_at as reverses_created_at, h.created_at as partially_posts_created_at,
       s.created_at as settlement_created_at,
       r.transaction_sequence as reversed_by_sequence, r.created_at as reversed_by_created_at
  from {ledgers} as g (ledger_id)
 cross join lateral ({rows}) p
  left join transactions o on o.ledger_id = p.ledger_id and o.transaction_sequence = p.reverses_sequence
  left join transactions h on h.ledger_id = p.ledger_id and h.transaction_sequence = p.partially_posts_sequence
  left join settlements s on s.ledger_id = p.ledger_id and s.settlement_sequence = p.settlement_sequence
  left join transactions r on r.ledger_id = p.ledger_id and r.reverses_sequence = p.transaction_sequence
       and r.status <> 'archived'
 order by {merge}
 limit :limit;

-- template: rows
select t.ledger_id, t.transaction_sequence, t.entries_sequence, t.created_at, t.updated_at, t.effective_at,
       t.posted_at, t.expires_at, t.status::text, t.version, t.description, t.external_id, t.ledgerable_type,
       t.ledgerable_id, t.archived_reason, t.metadata, t.reverses_sequence, t.partially_posts_sequence,
       t.settlement_sequence
  from transactions t {through}
 where t.ledger_id = g.ledger_id {where}
 order by {order}
 limit {limit};

-- filter: id
t.transaction_sequence = any(:value::bigint[])
-- filter: id_exact
concat(t.ledger_id, '.', t.transaction_sequence, '.', floor(extract(epoch from t.created_at))::bigint, '.0') = any(:value::text[])
-- filter: ledger_account_id
exists (select from entries e
         where e.ledger_id = t.ledger_id and e.account_sequence = :value::bigint
           and e.entry >= t.entries_sequence << 10 and e.entry < (t.entries_sequence + 1) << 10)
-- template: through_entries
-- What a list of an account's transactions joins: the account's entries, by names that no other filter has.
join (select ledger_id as of_ledger, entry as number, entry >> 10 as record, transaction_sequence as written_for,
             account_sequence as on_account, lock_version as step
        from entries) w on w.of_ledger = t.ledger_id and w.written_for = t.transaction_sequence
-- condition: created_on_account
-- By the first entry on account :value that the transaction was created with; one in force is there still.
w.on_account = :value::bigint and w.step is not null and w.record = w.written_for
and not exists (
    select from entries f
     where f.ledger_id = w.of_ledger and f.account_sequence = :value::bigint and f.lock_version = w.step - 1
       and f.entry >> 10 = w.record)
and (t.entries_sequence = w.record or exists (
    select from entries f
     where f.ledger_id = t.ledger_id and f.account_sequence + 0 = :value::bigint
       and f.entry >= t.entries_sequence << 10 and f.entry < (t.entries_sequence + 1) << 10))
-- condition: revised_on_account
-- By the first entry on account :value of those in force, where a change wrote them. No record after the one in force
-- wrote any; said as an equation, the planner would take it for rare, and go through all before it sorts.
w.on_account = :value::bigint and w.record <> w.written_for and t.entries_sequence <= w.record
and not exists (
    select from entries f
     where f.ledger_id = w.of_ledger and f.account_sequence = :value::bigint and f.lock_version = w.step - 1
       and f.entry >> 10 = w.record)
-- condition: archived_on_account
-- By the first entry on account :value, of those created as archived.
w.on_account = :value::bigint and w.step is null
and not exists (
    select from entries f
     where f.ledger_id = w.of_ledger and f.account_sequence + 0 = :value::bigint
       and f.entry >= w.record << 10 and f.entry < w.number)
-- condition: recorded_on_account
-- Against what the account :value[1] had at the microsecond :value[2].
w.step {operator} account_version(g.ledger_id, (:value::bigint[])[1], time_of((:value::bigint[])[2]))
-- condition: revised_place
w.written_for {operator} :value::bigint
-- condition: archived_place
w.number {operator} :value::bigint
-- filter: category_sets
-- Asked of transaction by transaction, in the order of the list: the accounts of a large category have too many to gather.
exists (select from entries e
          join balances k on k.ledger_id = e.ledger_id and k.account_sequence = e.account_sequence
         where e.ledger_id = t.ledger_id
           and e.entry >= t.entries_sequence << 10 and e.entry < (t.entries_sequence + 1) << 10
           and k.category_set = any(:value::bigint[])
        offset 0)
-- filter: few_accounts
-- The transactions of all entries of these accounts are gathered first; those entries may be no longer in force.
t.transaction_sequence = any(array(
    select i.transaction_sequence
      from unnest(:value::bigint[]) as k (account_sequence)
     cross join lateral (
           select n.transaction_sequence from entries n
            where n.ledger_id = g.ledger_id and n.account_sequence = k.account_sequence
           offset 0) i))
and exists (select from entries e
             where e.ledger_id = t.ledger_id and e.account_sequence = any(:value::bigint[])
               and e.entry >= t.entries_sequence << 10 and e.entry < (t.entries_sequence + 1) << 10)
-- filter: external_id
-- Said twice, for each of the two indexes holds one half.
t.external_id = :value::text and t.status <> 'archived' or t.external_id = :value::text and t.status = 'archived'
-- filter: ledgerable_type
t.ledgerable_type = :value::text
-- filter: ledgerable_id
t.ledgerable_id = :value::text and t.ledgerable_id is not null
-- filter: reverses
t.reverses_sequence = :value::bigint and t.reverses_sequence is not null
-- filter: partially_posts
t.partially_posts_sequence = :value::bigint and t.partially_posts_sequence is not null
-- filter: ledger_account_settlement_id
-- Those with an entry in it.
t.transaction_sequence = any(array(
    select e.transaction_sequence
      from settlements s
      join settled_entries x on x.ledger_id = s.ledger_id and x.settlement_sequence = s.settlement_sequence
      join entries e on e.ledger_id = x.ledger_id and e.entry = x.entry
     where s.ledger_id = g.ledger_id and s.settlement_sequence = :value::bigint and s.status <> 'archiving'))
-- filter: status
t.status = any(:value::text[]::transaction_status[])
-- filter: pending
t.status = 'pending'
-- filter: amount
-- What the debits of the entries in force sum to, over all units.
(select sum(e.amount) from entries e
  where e.ledger_id = t.ledger_id and e.direction = 'debit'
    and e.entry >= t.entries_sequence << 10 and e.entry < (t.entries_sequence + 1) << 10) {operator} :value::numeric
-- filter: effective_at
t.effective_at {operator} :value::timestamptz
-- condition: in_place
-- Effective when they were created, which are many: as an equation the planner would take them for few.
t.effective_at between t.created_at and t.created_at
-- condition: displaced
-- Effective at another time, as their index has it.
t.effective_at <> t.created_at
-- condition: recorded_in_ledger
-- Against where the log ended at the microsecond :value.
t.transaction_sequence {operator} log_position(g.ledger_id, time_of(:value::bigint))
-- condition: since_displaced_in_ledger
-- Not before the last of the displaced transactions, if these fill a page of :value.
t.transaction_sequence > log_position(g.ledger_id, (
    select case count(*) when :value::bigint then min(x.effective_at) - interval '1 microsecond' else '-infinity' end
      from displaced x))
-- condition: until_displaced_in_ledger
t.transaction_sequence <= log_position(g.ledger_id, (
    select case count(*) when :value::bigint then max(x.effective_at) else 'infinity' end from displaced x))
-- filter: posted_at
t.posted_at {operator} :value::timestamptz
-- filter: created_at
-- Times never decrease along a log, so that its positions bound them; a comparison that the end of time passes has none.
t.created_at {operator} :value::timestamptz
and t.transaction_sequence > case
    when timestamptz '-infinity' {operator} :value::timestamptz then 0
    else log_position(g.ledger_id, :value::timestamptz - interval '1 microsecond') end
and t.transaction_sequence <= case
    when timestamptz 'infinity' {operator} :value::timestamptz then 9223372036854775807
    else log_position(g.ledger_id, :value::timestamptz) end
-- filter: updated_at
t.updated_at {operator} :value::timestamptz
-- filter: metadata
t.metadata @> :value::jsonb and t.metadata <> '{}'

-- name: extent
-- How many steps an account has, and how many records its ledger.
select b.lock_version, h.sequence
  from balances b
  join ledger_heads h on h.ledger_id = b.ledger_id
 where b.ledger_id = :ledger and b.account_sequence = :account;

-- name: entries
-- The entries that records (pairs with their ledgers) wrote, in order.
select e.ledger_id, e.entry, e.created_at, e.effective_at, e.direction::text, e.status::text, e.amount,
       e.lock_version, e.posted_credits, e.posted_debits, e.pending_credits, e.pending_debits, e.account_sequence,
       a.created_at as account_created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       a.discarded_at is null as is_open, m.metadata, m.updated_at as metadata_updated_at, d.discarded_at
  from unnest(:ledgers::bigint[], :sequences::bigint[]) as w (ledger_id, sequence)
  join entries e on e.ledger_id = w.ledger_id and e.entry >= w.sequence << 10 and e.entry < (w.sequence + 1) << 10
  join accounts a on a.ledger_id = e.ledger_id and a.account_sequence = e.account_sequence
  left join entry_metadata m on m.ledger_id = e.ledger_id and m.entry = e.entry
  left join discards d on d.ledger_id = e.ledger_id and d.entry = e.entry
 order by e.ledger_id, e.entry;

-- name: recorded
-- What records (pairs with their ledgers) say of the transactions they wrote, and what they do not say: which record
-- had written the entries that were in force then, with its payload where that is another; the reversal that was in
-- force then; and when the transaction and those it names were created.
select l.ledger_id, l.sequence, l.payload, l.texts, w.sequence as entries_sequence, k.payload as entries_payload,
       k.texts as entries_texts, t.created_at,
       o.created_at as reverses_created_at, h.created_at as partially_posts_created_at,
       s.created_at as settlement_created_at,
       r.transaction_sequence as reversed_by_sequence, r.created_at as reversed_by_created_at
  from unnest(:ledgers::bigint[], :sequences::bigint[]) as p (ledger_id, sequence)
  join log l on l.ledger_id = p.ledger_id and l.sequence = p.sequence and l.kind = {TRANSACTION_KIND}
  join transactions t on t.ledger_id = l.ledger_id and t.transaction_sequence = l.object_sequence
 cross join lateral (
       -- Mostly they still are in force. Else the newest record until then that wrote any is looked for.
       select case when t.entries_sequence <= l.sequence then t.entries_sequence else coalesce((
              select c.sequence
                from log c
               where c.ledger_id = l.ledger_id and c.object_sequence = t.transaction_sequence
                 and c.object_sequence <> c.sequence and c.kind = {TRANSACTION_KIND} and c.sequence <= l.sequence
                 and exists (select from entries e where e.ledger_id = c.ledger_id and e.entry = (c.sequence << 10) + 1)
               order by c.sequence desc
               limit 1), t.transaction_sequence) end as sequence) w
  left join log k on k.ledger_id = l.ledger_id and k.sequence = w.sequence and k.sequence <> l.sequence
  left join transactions o on o.ledger_id = t.ledger_id and o.transaction_sequence = t.reverses_sequence
  left join transactions h on h.ledger_id = t.ledger_id and h.transaction_sequence = t.partially_posts_sequence
  left join settlements s on s.ledger_id = t.ledger_id and s.settlement_sequence = t.settlement_sequence
  left join transactions r on r.ledger_id = t.ledger_id and r.reverses_sequence = t.transaction_sequence
       and r.transaction_sequence < l.sequence
       and (r.status <> 'archived'
            -- It was archived only later.
            or exists (select from log a
                        where a.ledger_id = r.ledger_id and a.object_sequence = r.transaction_sequence
                          and a.object_sequence <> a.sequence and a.sequence > l.sequence
                          and a.kind + 0 = {TRANSACTION_KIND} and a.event + 0 = {ARCHIVED_EVENT}));

-- name: annotations
-- What was said later of entries that records (pairs with their ledgers) wrote, in order.
select l.ledger_id, l.object_sequence, l.payload, l.texts
  from unnest(:ledgers::bigint[], :sequences::bigint[]) as w (ledger_id, sequence)
  join log l on l.ledger_id = w.ledger_id and l.object_sequence = w.sequence and l.object_sequence <> l.sequence
       and l.kind + 0 = {ENTRY_KIND}
 order by l.ledger_id, l.sequence;

-- name: by_external_id
-- In each ledger the transaction with an external id that is in force, else the newest archived one.
select g.ledger_id, t.transaction_sequence, t.created_at, t.in_force
  from unnest(:ledgers::bigint[]) as g (ledger_id)
 cross join lateral (
       select b.transaction_sequence, b.created_at, b.in_force
         from (select c.transaction_sequence, c.created_at, true as in_force
                 from transactions c
                where c.ledger_id = g.ledger_id and c.external_id = :external_id and c.status <> 'archived'
               union all
               select a.transaction_sequence, a.created_at, false
                 from transactions a
                where a.ledger_id = g.ledger_id and a.external_id = :external_id and a.status = 'archived') b
        order by b.in_force desc, b.transaction_sequence desc
        limit 1) t;

-- name: keep_order
-- Lets the next query of this database transaction walk the index that has its order. The planner, asked while the table
-- was empty, would rather read any other index to its end and sort, and keep that plan.
set local enable_sort = off;

-- name: due
-- Pending transactions, of ledgers that are not discarded, that had expired at a time; those first that are due
-- longest, beginning behind one of them.
select t.ledger_id, t.transaction_sequence, t.created_at, t.expires_at, g.created_at
  from transactions t
  join ledger_heads h on h.ledger_id = t.ledger_id and h.discarded_at is null
  join ledgers g on g.ledger_id = t.ledger_id
 where t.expires_at <= :at and t.expires_at is not null and t.status not in ('posted', 'archived')
   and (t.expires_at, t.ledger_id, t.transaction_sequence) > (:after_time, :after_ledger, :after_sequence)
 order by t.expires_at, t.ledger_id, t.transaction_sequence
 limit :limit;
