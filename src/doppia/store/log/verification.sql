-- What is read of a ledger to see whether all of it follows from its log. A row of a table is a line of text, so that the
-- rows of hundreds of records are compared at once; times are in hexadecimal, as they are sent on the wire.

-- name: heads
-- Where the logs end of all ledgers, or of one.
select h.ledger_id, case when isfinite(l.created_at) then floor(extract(epoch from l.created_at))::bigint else 0 end,
       l.organization_id, h.sequence, encode(timestamptz_send(h.recorded_at), 'hex'), h.root, h.frontier
  from ledger_heads h
  join ledgers l using (ledger_id)
 where h.ledger_id = :ledger or :ledger::bigint is null
 order by h.ledger_id;

-- name: without_head
-- Ledgers that have a row in one of the first tables and no head; of all, or one.
select ledger_id
  from (select ledger_id from ledgers
        union
        select distinct ledger_id from log
        union
        select distinct ledger_id from accounts) l
 where (ledger_id = :ledger or :ledger::bigint is null)
   and not exists (select from ledger_heads h join ledgers g using (ledger_id) where h.ledger_id = l.ledger_id)
 order by ledger_id
 limit 1;

-- name: owners
-- Whose each ledger came to be, by its id; the last one counts.
select payload ->> 'ledger_id', organization_id
  from organization_log
 where kind in ('ledger_created', 'ledger_imported')
 order by recorded_at, organization_id, sequence;

-- name: payloads
-- Of the records from the first to before the end, and their texts.
select array_agg(payload), array_agg(texts)
  from (select payload, texts
          from log
         where ledger_id = :ledger and sequence >= :first and sequence < :end
         order by sequence) l;

-- name: chunk
-- What the records from the first to the last wrote, with the numbers of their entries: the records with their columns;
-- entries; discards; of each transaction written, what is final about it, and where the record is its newest, the rest,
-- and its texts where it has any; metadata of entries, and whether it may have been replaced since.
select r.*, e.*, d.*, t.*, m.*
  from (select array_agg(payload) as payloads, array_agg(texts) as record_texts, array_agg(line) as records
          from (select payload, texts,
                       format('%s %s %s %s %s', sequence, object_sequence, encode(timestamptz_send(recorded_at), 'hex'),
                              kind, event) as line
                  from log
                 where ledger_id = :ledger and sequence >= :first and sequence <= :last
                 order by sequence) l) r
 cross join (
       select array_agg(line) as entries
         from (select format('%s %s %s %s %s %s %s %s %s %s %s %s %s', entry, transaction_sequence, account_sequence,
                             lock_version, encode(timestamptz_send(created_at), 'hex'),
                             encode(timestamptz_send(effective_at), 'hex'), direction, status, amount, posted_credits,
                             posted_debits, pending_credits, pending_debits) as line
                 from entries
                where ledger_id = :ledger and entry >= :first_entry and entry <= :last_entry
                order by entry) e) e
 cross join (
       select array_agg(line) as discards
         from (select format('%s %s %s %s %s %s %s %s %s', entry, sequence,
                             encode(timestamptz_send(discarded_at), 'hex'), account_sequence, lock_version,
                             posted_credits, posted_debits, pending_credits, pending_debits) as line
                 from discards
                where ledger_id = :ledger and sequence >= :first and sequence <= :last
                order by sequence, entry) d) d
 cross join (
       select array_agg(final) as final, array_agg(newest) as newest,
              array_agg(sequence) filter (where has_texts) as with_texts,
              array_agg(texts) filter (where has_texts) as texts
         from (select l.sequence,
                      format('%s %s %s %s', t.entries_sequence, encode(timestamptz_send(t.posted_at), 'hex'),
                             encode(timestamptz_send(t.effective_at), 'hex'),
                             encode(timestamptz_send(t.expires_at), 'hex')) as final,
                      case when n.is_newest then
                          format('%s %s %s %s %s %s %s', t.version, t.status,
                                 t.created_at = case when l.sequence = l.object_sequence then l.recorded_at else (
                                     select c.recorded_at from log c
                                      where c.ledger_id = :ledger and c.sequence = l.object_sequence) end,
                                 encode(timestamptz_send(t.updated_at), 'hex'), t.reverses_sequence,
                                 t.partially_posts_sequence, t.settlement_sequence) end as newest,
                      n.is_newest and (
                          num_nonnulls(t.description, t.external_id, t.ledgerable_type, t.ledgerable_id,
                                       t.archived_reason, nullif(t.metadata, '{}')) > 0) as has_texts,
                      array[t.description, t.external_id, t.ledgerable_type, t.ledgerable_id, t.archived_reason,
                            coalesce(t.metadata, '{}')::text] as texts
                 from log l
                 left join transactions t on t.ledger_id = :ledger and t.transaction_sequence = l.object_sequence
                cross join lateral (
                      select not exists (
                          select from log c
                           where c.ledger_id = :ledger and c.object_sequence = l.object_sequence
                             and c.sequence > l.sequence
                             and c.object_sequence <> c.sequence and c.kind = {TRANSACTION_KIND}) as is_newest) n
                where l.ledger_id = :ledger and l.sequence >= :first and l.sequence <= :last and l.kind = {TRANSACTION_KIND}
                order by l.sequence) t) t
 cross join (
       select array_agg(entry) as with_metadata, array_agg(metadata) as metadata, array_agg(updated_at) as metadata_times,
              array_agg(is_replaced) as metadata_replaced
         from (select m.entry, m.metadata::text, encode(timestamptz_send(m.updated_at), 'hex') as updated_at,
                      exists (select from log c
                               where c.ledger_id = :ledger and c.object_sequence = m.entry >> 10
                                 and c.object_sequence <> c.sequence and c.kind = {ENTRY_KIND}) as is_replaced
                 from entry_metadata m
                where m.ledger_id = :ledger and m.entry >= :first_entry and m.entry <= :last_entry
                order by m.entry) m) m;

-- name: columns
-- The records from the first to the last with their columns, as in a chunk.
select array_agg(payload) as payloads, array_agg(line) as records
  from (select payload,
               format('%s %s %s %s %s', sequence, object_sequence, encode(timestamptz_send(recorded_at), 'hex'), kind,
                      event) as line
          from log
         where ledger_id = :ledger and sequence >= :first and sequence <= :last
         order by sequence) l;

-- name: nodes
-- The nodes of the tree over a log on levels at places.
select n.level, n.place, n.hash
  from unnest(:levels::smallint[], :places::bigint[]) as w (level, place)
  join log_nodes n on n.ledger_id = :ledger and n.level = w.level and n.place = w.place;

-- name: entry_metadata
select entry, metadata, encode(timestamptz_send(updated_at), 'hex')
  from entry_metadata
 where ledger_id = :ledger and entry = any(:entries::bigint[]);

-- name: ledger
-- For records the ledger, where the record is its newest.
select l.sequence, l.recorded_at as newest_at, g.name, g.description, g.metadata, h.discarded_at,
       g.updated_at, g.created_at,
       c.recorded_at as created_as
  from log l
  join log c on c.ledger_id = :ledger and c.sequence = 1
  left join ledgers g on g.ledger_id = :ledger
  left join ledger_heads h on h.ledger_id = :ledger
 where l.ledger_id = :ledger and l.sequence = any(:records::bigint[])
   and not exists (select from log n
                    where n.ledger_id = :ledger and n.object_sequence = 1 and n.sequence > l.sequence and n.kind = {LEDGER_KIND})
 order by l.sequence;

-- name: accounts
-- For records the accounts that they wrote, each where the record is its newest. Those of a discarded ledger were
-- discarded with it.
select l.sequence, l.recorded_at as newest_at, a.name, a.description, a.currency, a.currency_exponent,
       a.normal_balance::text, a.external_id, a.ledgerable_type, a.ledgerable_id, a.metadata,
       case when a.discarded_at is distinct from h.discarded_at then a.discarded_at end as discarded_at,
       case when a.updated_at is distinct from h.discarded_at then a.updated_at else l.recorded_at end as updated_at,
       a.created_at, c.recorded_at as created_as
  from log l
  join log c on c.ledger_id = :ledger and c.sequence = l.object_sequence
  join ledger_heads h on h.ledger_id = :ledger
  left join accounts a on a.ledger_id = :ledger and a.account_sequence = l.object_sequence
 where l.ledger_id = :ledger and l.sequence = any(:records::bigint[])
   and not exists (select from log n
                    where n.ledger_id = :ledger and n.object_sequence = l.object_sequence and n.sequence > l.sequence
                      and n.object_sequence <> n.sequence and n.kind = {ACCOUNT_KIND})
 order by l.sequence;

-- name: categories
select l.sequence, l.recorded_at as newest_at, a.name, a.description, a.currency, a.currency_exponent,
       a.normal_balance::text, a.external_id, a.metadata, a.discarded_at, a.updated_at, a.created_at,
       c.recorded_at as created_as
  from log l
  join log c on c.ledger_id = :ledger and c.sequence = l.object_sequence
  left join categories a on a.ledger_id = :ledger and a.category_sequence = l.object_sequence
 where l.ledger_id = :ledger and l.sequence = any(:records::bigint[])
   and not exists (select from log n
                    where n.ledger_id = :ledger and n.object_sequence = l.object_sequence and n.sequence > l.sequence
                      and n.object_sequence <> n.sequence and n.kind = {CATEGORY_KIND})
 order by l.sequence;

-- name: monitors
select l.sequence, l.recorded_at as newest_at, a.account_sequence, a.field::text, a.operator::text, a.value::text,
       a.is_triggered, a.description, a.metadata, a.discarded_at, a.updated_at, a.created_at,
       c.recorded_at as created_as
  from log l
  join log c on c.ledger_id = :ledger and c.sequence = l.object_sequence
  left join balance_monitors a on a.ledger_id = :ledger and a.monitor_sequence = l.object_sequence
 where l.ledger_id = :ledger and l.sequence = any(:records::bigint[])
   and not exists (select from log n
                    where n.ledger_id = :ledger and n.object_sequence = l.object_sequence and n.sequence > l.sequence
                      and n.object_sequence <> n.sequence and n.kind = {MONITOR_KIND})
 order by l.sequence;

-- name: statements
-- With them, what the entries of their accounts come to.
select l.sequence, l.recorded_at as newest_at, a.account_sequence, a.lock_version, a.effective_at_lower_bound,
       a.effective_at_upper_bound, a.starting_posted_credits, a.starting_posted_debits, a.starting_pending_credits,
       a.starting_pending_debits, a.ending_posted_credits, a.ending_posted_debits, a.ending_pending_credits,
       a.ending_pending_debits, a.description, a.metadata, a.created_at, l.recorded_at as created_as,
       (s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits, e.posted_credits, e.posted_debits,
        e.pending_credits, e.pending_debits)
       = (a.starting_posted_credits, a.starting_posted_debits, a.starting_pending_credits, a.starting_pending_debits,
          a.ending_posted_credits, a.ending_posted_debits, a.ending_pending_credits, a.ending_pending_debits) as is_sum
  from log l
  left join account_statements a on a.ledger_id = :ledger and a.statement_sequence = l.sequence
 cross join lateral sums_before(:ledger, a.account_sequence, a.lock_version, a.effective_at_lower_bound) s
 cross join lateral sums_before(:ledger, a.account_sequence, a.lock_version, a.effective_at_upper_bound) e
 where l.ledger_id = :ledger and l.sequence = any(:records::bigint[])
 order by l.sequence;

-- name: settlements
select l.sequence, l.recorded_at as newest_at, a.settled_account_sequence, a.contra_account_sequence, a.status::text,
       a.becomes::text, a.lock_version, a.effective_at_upper_bound, a.allow_either_direction, a.skip_transaction,
       a.transaction_sequence, a.amount, case a.direction when 'debit' then 0 when 'credit' then 1 end as direction,
       a.description, a.metadata, a.created_at, c.recorded_at as created_as
  from log l
  join log c on c.ledger_id = :ledger and c.sequence = l.object_sequence
  left join settlements a on a.ledger_id = :ledger and a.settlement_sequence = l.object_sequence
 where l.ledger_id = :ledger and l.sequence = any(:records::bigint[])
   and not exists (select from log n
                    where n.ledger_id = :ledger and n.object_sequence = l.object_sequence and n.sequence > l.sequence
                      and n.object_sequence <> n.sequence and n.kind = {SETTLEMENT_KIND})
 order by l.sequence;

-- name: balances
select b.account_sequence, b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits, b.pending_debits,
       b.is_monitored, b.category_set, coalesce(s.categories, '{}') as categories,
       s.category_set is not distinct from b.category_set as is_set
  from balances b
  left join category_sets s on s.ledger_id = :ledger and s.category_set = b.category_set
 where b.ledger_id = :ledger and b.account_sequence >= :begin
 order by b.account_sequence
 limit :limit;

-- name: category_sets
-- With the record that first made each.
select s.category_set, s.categories, s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits,
       array(select m.category_sequence from category_set_members m
              where m.ledger_id = :ledger and m.category_set = s.category_set order by m.category_sequence) as named,
       l.payload
  from category_sets s
  left join log l on l.ledger_id = :ledger and l.sequence = s.category_set
 where s.ledger_id = :ledger and s.category_set >= :begin
 order by s.category_set
 limit :limit;

-- name: stray_member
-- The first category that is named in a set which is not there.
select m.category_sequence, m.category_set
  from category_set_members m
  left join category_sets s on s.ledger_id = :ledger and s.category_set = m.category_set
 where m.ledger_id = :ledger and s.category_set is null
 order by m.category_set, m.category_sequence
 limit 1;

-- name: category_edges
select child_sequence, parent_sequence
  from category_edges
 where ledger_id = :ledger
 order by child_sequence, parent_sequence;

-- name: settled_entries
-- Those of a settlement that is archiving belong to none.
select x.entry, x.settlement_sequence, s.status = 'archiving' as is_freed
  from settled_entries x
  left join settlements s on s.ledger_id = :ledger and s.settlement_sequence = x.settlement_sequence
 where x.ledger_id = :ledger and x.entry >= :begin
 order by x.entry
 limit :limit;

-- name: settlements_changed
-- When settlements last changed.
select settlement_sequence, encode(timestamptz_send(updated_at), 'hex') as updated_at
  from settlements
 where ledger_id = :ledger and settlement_sequence >= :begin
 order by settlement_sequence
 limit :limit;

-- name: swept_past
-- The first account that is said to be swept up to where it has not come, or past a posted entry that is in no
-- settlement and was written by none.
select m.account_sequence, m.swept_lock_version, e.entry
  from settled_accounts m
  left join balances b on b.ledger_id = :ledger and b.account_sequence = m.account_sequence
  left join lateral (
       select e.entry
         from entries e
         left join settled_entries x on x.ledger_id = :ledger and x.entry = e.entry
         left join transactions t on t.ledger_id = :ledger and t.transaction_sequence = e.transaction_sequence
        where e.ledger_id = :ledger and e.account_sequence = m.account_sequence
          and e.lock_version <= m.swept_lock_version
          and e.status = 'posted' and x.entry is null and t.settlement_sequence is null
        order by e.lock_version
        limit 1) e on true
 where m.ledger_id = :ledger and (e.entry is not null or m.swept_lock_version > coalesce(b.lock_version, 0))
 order by m.account_sequence
 limit 1;

-- name: wrong_settlements
-- Settlements whose entries are not posted ones of their account, or do not come to their amount.
select s.settlement_sequence
  from settlements s
  left join (
       select x.settlement_sequence, sum(case e.direction when 'credit' then e.amount else -e.amount end) as net,
              bool_and((e.status = 'posted' and e.account_sequence = k.settled_account_sequence
                        and t.settlement_sequence is null) is true) as are_own
         from settled_entries x
         join settlements k on k.ledger_id = :ledger and k.settlement_sequence = x.settlement_sequence
         left join entries e on e.ledger_id = :ledger and e.entry = x.entry
         left join transactions t on t.ledger_id = :ledger and t.transaction_sequence = e.transaction_sequence
        where x.ledger_id = :ledger
        group by x.settlement_sequence) n on n.settlement_sequence = s.settlement_sequence
 where s.ledger_id = :ledger
   and (s.net <> coalesce(n.net, 0) or n.are_own is false
        or s.status in ('pending', 'posted') and s.amount is distinct from abs(s.net))
 order by s.settlement_sequence
 limit 1;

-- name: shared_external_ids
-- The first of each kind that has an external id which an older one has as well, of those that may not share one.
select 'transaction' as kind, min(sequence) as sequence
  from (select transaction_sequence as sequence,
               row_number() over (partition by external_id order by transaction_sequence) as place
          from transactions
         where ledger_id = :ledger and external_id is not null and status <> 'archived') t
 where place > 1
having count(*) > 0
union all
select 'account', min(sequence)
  from (select account_sequence as sequence,
               row_number() over (partition by external_id order by account_sequence) as place
          from accounts
         where ledger_id = :ledger and external_id is not null and discarded_at is null) a
 where place > 1
having count(*) > 0
union all
select 'category', min(sequence)
  from (select category_sequence as sequence,
               row_number() over (partition by external_id order by category_sequence) as place
          from categories
         where ledger_id = :ledger and external_id is not null and discarded_at is null) c
 where place > 1
having count(*) > 0;

-- name: counts
select (select count(*) from transactions where ledger_id = :ledger) as transactions,
       (select count(*) from accounts where ledger_id = :ledger) as accounts,
       (select count(*) from categories where ledger_id = :ledger) as categories,
       (select count(*) from balance_monitors where ledger_id = :ledger) as monitors,
       (select count(*) from account_statements where ledger_id = :ledger) as statements,
       (select count(*) from settlements where ledger_id = :ledger) as settlements,
       (select count(*) from log_nodes where ledger_id = :ledger) as nodes;

-- name: unfounded
-- The first row that no record made, and when it says that it was created.
select k.kind, k.sequence, encode(timestamptz_send(k.created_at), 'hex') as created_at
  from (select 'transaction' as kind, {TRANSACTION_KIND} as number, transaction_sequence as sequence, created_at
          from transactions
         where ledger_id = :ledger
        union all
        select 'account', {ACCOUNT_KIND}, account_sequence, created_at from accounts where ledger_id = :ledger
        union all
        select 'category', {CATEGORY_KIND}, category_sequence, created_at from categories where ledger_id = :ledger
        union all
        select 'monitor', {MONITOR_KIND}, monitor_sequence, created_at from balance_monitors where ledger_id = :ledger
        union all
        select 'statement', {STATEMENT_KIND}, statement_sequence, created_at from account_statements where ledger_id = :ledger
        union all
        select 'settlement', {SETTLEMENT_KIND}, settlement_sequence, created_at from settlements where ledger_id = :ledger) k
  left join log l on l.ledger_id = :ledger and l.sequence = k.sequence and l.kind = k.number
       and l.object_sequence = l.sequence
 where l.sequence is null
 order by k.sequence
 limit 1;

-- name: accounts_with_buckets
-- Accounts that have sums in buckets of time, or should, with how many steps they took, and the level below their
-- narrowest bucket.
select coalesce(b.account_sequence, s.account_sequence) as account_sequence, coalesce(b.lock_version, 0) as lock_version,
       greatest(coalesce(s.narrowest, 52) - 4, 0) as level
  from (select account_sequence, lock_version from balances where ledger_id = :ledger and lock_version >= 512) b
  full join (select account_sequence, min(width_shift) as narrowest
               from effective_sums where ledger_id = :ledger group by account_sequence) s using (account_sequence)
 order by 1;

-- name: wrong_bucket
-- The first bucket of an account that is not the fold of the account's steps: `level` is the narrowest that there may
-- be. Steps are summed in buckets of that level, and these in wider ones.
with points as (
    select (lock_version + 511) / 512 * 512 as folded_at, microseconds_of(at) >> :level::integer as bucket, entries,
           steps,
           case when status = 'posted' and direction = 'credit' then amount end as pc,
           case when status = 'posted' and direction = 'debit' then amount end as pd,
           case when status = 'pending' and direction = 'credit' then amount end as nc,
           case when status = 'pending' and direction = 'debit' then amount end as nd
      from (select lock_version, effective_at as at, 1 as entries, (effective_at = created_at)::integer as steps, status,
                   direction, amount
              from entries
             where ledger_id = :ledger and account_sequence = :account and lock_version <= :steps::bigint / 512 * 512
            union all
            select lock_version, created_at, 0, 1, null, null, null
              from entries
             where ledger_id = :ledger and account_sequence = :account and lock_version <= :steps::bigint / 512 * 512
               and effective_at <> created_at
            union all
            select d.lock_version, e.effective_at, 0, 0, 'pending', e.direction, -e.amount
              from discards d
              join entries e using (ledger_id, entry)
             where d.ledger_id = :ledger and d.account_sequence = :account
               and d.lock_version <= :steps::bigint / 512 * 512
            union all
            select lock_version, discarded_at, 0, 1, null, null, null
              from discards
             where ledger_id = :ledger and account_sequence = :account and lock_version <= :steps::bigint / 512 * 512
               and posted_credits is not null) p
), narrowest as (
    select bucket, folded_at, sum(entries) as entries, sum(steps) as steps, coalesce(sum(pc), 0) as pc,
           coalesce(sum(pd), 0) as pd, coalesce(sum(nc), 0) as nc, coalesce(sum(nd), 0) as nd
      from points
     group by bucket, folded_at
), touched as (
    select w.width_shift, n.bucket >> (w.width_shift - :level::integer) as bucket, n.folded_at,
           sum(n.entries) as entries,
           sum(n.steps) as steps, sum(n.pc) as pc, sum(n.pd) as pd, sum(n.nc) as nc, sum(n.nd) as nd
      from narrowest n, generate_series(:level::integer, 52, 4) as w (width_shift)
     group by 1, 2, 3
), split as (
    select width_shift, bucket, min(folded_at) as split_at
      from (select *, sum(entries) over grown as entries_until, sum(steps) over grown as steps_until
              from touched
            window grown as (partition by width_shift, bucket order by folded_at)) t
     where greatest(entries_until, steps_until) > 512 and width_shift > 0
     group by 1, 2
), written as (
    select t.width_shift, t.bucket, greatest(t.folded_at, p.split_at) as lock_version, sum(t.entries) as entries,
           sum(t.steps) as steps, sum(t.pc) as pc, sum(t.pd) as pd, sum(t.nc) as nc, sum(t.nd) as nd
      from touched t
      left join split p on p.width_shift = t.width_shift + 4 and p.bucket = t.bucket >> 4
     where t.width_shift = 52 or p.bucket is not null
     group by 1, 2, 3
), expected as (
    select w.width_shift, w.bucket, w.lock_version, s.bucket is not null as is_split,
           sum(w.entries) over grown as entries, sum(w.steps) over grown as steps, sum(w.pc) over grown as pc,
           sum(w.pd) over grown as pd, sum(w.nc) over grown as nc, sum(w.nd) over grown as nd
      from written w
      left join split s on s.width_shift = w.width_shift and s.bucket = w.bucket and s.split_at <= w.lock_version
    window grown as (partition by w.width_shift, w.bucket order by w.lock_version)
)
select width_shift, bucket, lock_version
  from expected x
  full join (select * from effective_sums where ledger_id = :ledger and account_sequence = :account) s
       using (width_shift, bucket, lock_version)
 where ((s.entries, s.steps, s.is_split, s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits)
      = (x.entries, x.steps, x.is_split, x.pc, x.pd, x.nc, x.nd)) is not true
 order by lock_version, width_shift desc, bucket
 limit 1;
