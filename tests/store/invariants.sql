-- What must hold in every snapshot of a whole database. Each `rule` returns the rows that break it; what
-- each `read` returns is compared with the log.

-- rule: I1, in each ledger, unit and status the debits in force equal the credits
select e.ledger_id, a.currency, a.currency_exponent, e.status,
       sum(case e.direction when 'debit' then e.amount else -e.amount end) as difference
  from entries e
  join accounts a using (ledger_id, account_sequence)
  left join discards d using (ledger_id, entry)
 where d.entry is null
 group by e.ledger_id, a.currency, a.currency_exponent, e.status
having sum(case e.direction when 'debit' then e.amount else -e.amount end) <> 0;

-- rule: I2, a stored balance is the fold of the entries that are not discarded
select b.*, f.*
  from balances b
 cross join lateral (
       select coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'credit'), 0) as folded_pc,
              coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'debit'), 0) as folded_pd,
              coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'credit'), 0) as folded_nc,
              coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'debit'), 0) as folded_nd
         from entries e
         left join discards d using (ledger_id, entry)
        where e.ledger_id = b.ledger_id and e.account_sequence = b.account_sequence and d.entry is null) f
 where (b.posted_credits, b.posted_debits, b.pending_credits, b.pending_debits)
    <> (f.folded_pc, f.folded_pd, f.folded_nc, f.folded_nd);

-- rule: I2, a stored balance is what the account's last step says
with steps as (
    select ledger_id, account_sequence, lock_version, posted_credits, posted_debits, pending_credits, pending_debits
      from entries
     where lock_version is not null
    union all
    select ledger_id, account_sequence, lock_version, posted_credits, posted_debits, pending_credits, pending_debits
      from discards
     where posted_credits is not null)
select b.*, s.*
  from balances b
  left join lateral (
       select * from steps
        where steps.ledger_id = b.ledger_id and steps.account_sequence = b.account_sequence
        order by steps.lock_version desc
        limit 1) s on true
 where (b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits, b.pending_debits)
    <> (coalesce(s.lock_version, 0), coalesce(s.posted_credits, 0), coalesce(s.posted_debits, 0),
        coalesce(s.pending_credits, 0), coalesce(s.pending_debits, 0));

-- rule: I2, what a category set keeps is what the balances of its accounts sum to
select s.*, f.*
  from category_sets s
 cross join lateral (
       select coalesce(sum(b.posted_credits), 0) as folded_pc, coalesce(sum(b.posted_debits), 0) as folded_pd,
              coalesce(sum(b.pending_credits), 0) as folded_nc, coalesce(sum(b.pending_debits), 0) as folded_nd
         from balances b
        where b.ledger_id = s.ledger_id and b.category_set = s.category_set) f
 where (s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits)
    <> (f.folded_pc, f.folded_pd, f.folded_nc, f.folded_nd);

-- rule: I2, a category set is named for each of its categories, and for no other
select s.ledger_id, s.category_set, s.categories, m.named
  from category_sets s
 cross join lateral (
       select array_agg(category_sequence order by category_sequence) as named
         from category_set_members m
        where m.ledger_id = s.ledger_id and m.category_set = s.category_set) m
 where m.named is distinct from s.categories;

-- rule: I2, the sums of a bucket of time are the fold of its entries, as of each multiple of 512 steps that touched it
with points as (
    select ledger_id, account_sequence, (lock_version + 511) / 512 * 512 as folded_at,
           floor(extract(epoch from at) * 1000000)::bigint as at, entries, steps, pc, pd, nc, nd
      from (select e.ledger_id, e.account_sequence, e.lock_version, e.effective_at as at, 1 as entries, 0 as steps,
                   case when e.status = 'posted' and e.direction = 'credit' then e.amount else 0 end as pc,
                   case when e.status = 'posted' and e.direction = 'debit' then e.amount else 0 end as pd,
                   case when e.status = 'pending' and e.direction = 'credit' then e.amount else 0 end as nc,
                   case when e.status = 'pending' and e.direction = 'debit' then e.amount else 0 end as nd
              from entries e
             where e.lock_version is not null
            union all
            select ledger_id, account_sequence, lock_version, created_at, 0, 1, 0, 0, 0, 0
              from entries
             where lock_version is not null
            union all
            select d.ledger_id, d.account_sequence, d.lock_version, e.effective_at, 0, 0, 0, 0,
                   case when e.direction = 'credit' then -e.amount else 0 end,
                   case when e.direction = 'debit' then -e.amount else 0 end
              from discards d
              join entries e using (ledger_id, entry)
            union all
            select ledger_id, account_sequence, lock_version, discarded_at, 0, 1, 0, 0, 0, 0
              from discards
             where posted_credits is not null) p
     where exists (select from balances b
                    where b.ledger_id = p.ledger_id and b.account_sequence = p.account_sequence
                      and b.lock_version >= (p.lock_version + 511) / 512 * 512)
), touched as (
    select ledger_id, account_sequence, width_shift, at >> width_shift as bucket, folded_at, sum(entries) as entries,
           sum(steps) as steps, sum(pc) as pc, sum(pd) as pd, sum(nc) as nc, sum(nd) as nd
      from points, generate_series(0, 52, 4) as width_shift
     group by 1, 2, 3, 4, 5
), split as (
    select ledger_id, account_sequence, width_shift, bucket, min(folded_at) as split_at
      from (select *, sum(entries) over grown as entries_until, sum(steps) over grown as steps_until
              from touched
            window grown as (partition by ledger_id, account_sequence, width_shift, bucket order by folded_at)) t
     where greatest(entries_until, steps_until) > 512 and width_shift > 0
     group by 1, 2, 3, 4
), written as (
    select t.ledger_id, t.account_sequence, t.width_shift, t.bucket,
           greatest(t.folded_at, p.split_at) as lock_version, sum(t.entries) as entries, sum(t.steps) as steps,
           sum(t.pc) as pc, sum(t.pd) as pd, sum(t.nc) as nc, sum(t.nd) as nd
      from touched t
      left join split p on p.ledger_id = t.ledger_id and p.account_sequence = t.account_sequence
           and p.width_shift = t.width_shift + 4 and p.bucket = t.bucket >> 4
     where t.width_shift = 52 or p.bucket is not null
     group by 1, 2, 3, 4, 5
), expected as (
    select w.ledger_id, w.account_sequence, w.width_shift, w.bucket, w.lock_version, s.bucket is not null as is_split,
           sum(w.entries) over grown as entries, sum(w.steps) over grown as steps, sum(w.pc) over grown as pc,
           sum(w.pd) over grown as pd, sum(w.nc) over grown as nc, sum(w.nd) over grown as nd
      from written w
      left join split s on s.ledger_id = w.ledger_id and s.account_sequence = w.account_sequence
           and s.width_shift = w.width_shift and s.bucket = w.bucket and s.split_at <= w.lock_version
    window grown as (partition by w.ledger_id, w.account_sequence, w.width_shift, w.bucket order by w.lock_version))
select x.*, s.*
  from expected x
  full join effective_sums s using (ledger_id, account_sequence, width_shift, bucket, lock_version)
 where ((s.entries, s.steps, s.is_split, s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits)
      = (x.entries, x.steps, x.is_split, x.pc, x.pd, x.nc, x.nd)) is not true;

-- rule: I3, lock versions and running sums of an account go step by step from nothing to its balance
with steps as (
    select e.ledger_id, e.account_sequence, e.lock_version,
           e.posted_credits, e.posted_debits, e.pending_credits, e.pending_debits,
           case when e.status = 'posted' and e.direction = 'credit' then e.amount else 0 end as by_pc,
           case when e.status = 'posted' and e.direction = 'debit' then e.amount else 0 end as by_pd,
           case when e.status = 'pending' and e.direction = 'credit' then e.amount else 0 end - o.credits as by_nc,
           case when e.status = 'pending' and e.direction = 'debit' then e.amount else 0 end - o.debits as by_nd,
           o.ended
      from entries e
     cross join lateral (
           select count(*) as ended,
                  coalesce(sum(old.amount) filter (where old.direction = 'credit'), 0) as credits,
                  coalesce(sum(old.amount) filter (where old.direction = 'debit'), 0) as debits
             from discards d
             join entries old using (ledger_id, entry)
            where d.ledger_id = e.ledger_id and d.account_sequence = e.account_sequence
              and d.lock_version = e.lock_version and d.posted_credits is null) o
     where e.lock_version is not null
    union all
    select d.ledger_id, d.account_sequence, d.lock_version,
           d.posted_credits, d.posted_debits, d.pending_credits, d.pending_debits, 0, 0,
           case when e.direction = 'credit' then -e.amount else 0 end,
           case when e.direction = 'debit' then -e.amount else 0 end, 1
      from discards d
      join entries e using (ledger_id, entry)
     where d.posted_credits is not null
), walked as (
    select steps.*,
           row_number() over account as place,
           lag(posted_credits, 1, 0) over account + by_pc as expected_pc,
           lag(posted_debits, 1, 0) over account + by_pd as expected_pd,
           lag(pending_credits, 1, 0) over account + by_nc as expected_nc,
           lag(pending_debits, 1, 0) over account + by_nd as expected_nd
      from steps
    window account as (partition by ledger_id, account_sequence order by lock_version))
select *
  from walked
 where place <> lock_version or ended > 1
    or (posted_credits, posted_debits, pending_credits, pending_debits)
    <> (expected_pc, expected_pd, expected_nc, expected_nd);

-- rule: I3, along an account, steps stand in the order in which they were recorded, and entries in that of their numbers
select *
  from (select *, lag(place) over account as place_before, lag(recorded_at) over account as recorded_before
          from (select ledger_id, account_sequence, lock_version, created_at as recorded_at, entry as place
                  from entries
                 where lock_version is not null
                union all
                select ledger_id, account_sequence, lock_version, discarded_at, (sequence << 10) + 1023
                  from discards
                 where posted_credits is not null) steps
        window account as (partition by ledger_id, account_sequence order by lock_version)) s
 where place < place_before or recorded_at < recorded_before;

-- rule: I3, a discard without sums of its own is taken in by its successor
select d.*
  from discards d
 where d.posted_credits is null
   and not exists (
       select from entries e
        where e.ledger_id = d.ledger_id and e.account_sequence = d.account_sequence
          and e.lock_version = d.lock_version and e.entry >> 10 = d.sequence);

-- rule: I3, a ledger's log has no gaps and ends where its head says
select l.ledger_id, l.first, l.last, l.records, h.sequence as head, l.newest, h.recorded_at
  from (select ledger_id, min(sequence) as first, max(sequence) as last, count(*) as records,
               max(recorded_at) as newest
          from log group by ledger_id) l
  full join ledger_heads h using (ledger_id)
 where (l.first = 1 and l.last = l.records and l.last = h.sequence and l.newest = h.recorded_at) is not true;

-- rule: I3, time never goes back along a log
select *
  from (select ledger_id, sequence, recorded_at,
               lag(recorded_at) over (partition by ledger_id order by sequence) as before
          from log) l
 where recorded_at < before;

-- rule: I5, idempotency keys of one ledger were consumed by different records, which are in the log
select k.ledger_id, k.sequence, count(*)
  from idempotency_keys k
  left join log l using (ledger_id, sequence)
 where k.sequence is not null
 group by k.ledger_id, k.sequence
having count(*) > 1 or count(l.sequence) = 0;

-- rule: I6, no external_id is there twice among pending and posted
select ledger_id, external_id, count(*)
  from transactions
 where external_id is not null and status <> 'archived'
 group by ledger_id, external_id
having count(*) > 1;

-- rule: I7, the entries not discarded are those that their transaction points at, in its status
select e.*
  from entries e
  left join discards d using (ledger_id, entry)
  left join transactions t using (ledger_id, transaction_sequence)
 where d.entry is null and (t.entries_sequence = e.entry >> 10 and t.status = e.status) is not true;

-- rule: I7, every transaction has the entries that it points at, and those of an archived one count nowhere
select t.ledger_id, t.transaction_sequence, t.status, t.entries_sequence
  from transactions t
 cross join lateral (
       select count(*) as written, count(d.entry) + count(*) filter (where e.status = 'archived') as ended
         from entries e
         left join discards d using (ledger_id, entry)
        where e.ledger_id = t.ledger_id and e.transaction_sequence = t.transaction_sequence
          and e.entry >> 10 = t.entries_sequence) w
 where w.written = 0 or w.ended <> case t.status when 'archived' then w.written else 0 end;

-- rule: I7, only pending entries are discarded, by a later record of their own transaction
select d.*
  from discards d
  join entries e using (ledger_id, entry)
  left join log l on l.ledger_id = d.ledger_id and l.sequence = d.sequence
 where (e.status = 'pending' and d.sequence > e.entry >> 10 and d.account_sequence = e.account_sequence
        and l.object_sequence = e.transaction_sequence and l.recorded_at = d.discarded_at) is not true;

-- rule: I7, a part and what it left of its hold are together what was held before it, on each account and side
select p.ledger_id, p.transaction_sequence, p.partially_posts_sequence, x.account_sequence, x.direction,
       sum(x.amount) as difference
  from transactions p
 cross join lateral (
       select e.account_sequence, e.direction, e.amount
         from discards d
         join entries e using (ledger_id, entry)
        where d.ledger_id = p.ledger_id and d.sequence = p.transaction_sequence - 1
          and e.transaction_sequence = p.partially_posts_sequence
       union all
       select e.account_sequence, e.direction, -e.amount
         from entries e
        where e.ledger_id = p.ledger_id and e.entry >> 10 in (p.transaction_sequence - 1, p.transaction_sequence)) x
 where p.partially_posts_sequence is not null
 group by p.ledger_id, p.transaction_sequence, p.partially_posts_sequence, x.account_sequence, x.direction
having sum(x.amount) <> 0;

-- rule: I7, all parts of a hold and its rest are what it held at first, where parts alone rewrote it
with holds as (
    select h.ledger_id, h.transaction_sequence, w.last
      from transactions h
     cross join lateral (
           select count(*) as parts from transactions p
            where p.ledger_id = h.ledger_id and p.partially_posts_sequence = h.transaction_sequence) p
     cross join lateral (
           select count(distinct e.entry >> 10) as records, max(e.entry >> 10) as last from entries e
            where e.ledger_id = h.ledger_id and e.transaction_sequence = h.transaction_sequence
              and e.status = 'pending') w
     where p.parts > 0 and w.records = p.parts + 1)
select h.ledger_id, h.transaction_sequence, x.account_sequence, x.direction, sum(x.amount) as difference
  from holds h
 cross join lateral (
       select e.account_sequence, e.direction,
              case e.entry >> 10 when h.transaction_sequence then e.amount else -e.amount end as amount
         from entries e
        where e.ledger_id = h.ledger_id and e.transaction_sequence = h.transaction_sequence
          and e.entry >> 10 in (h.transaction_sequence, h.last)
       union all
       select e.account_sequence, e.direction, -e.amount
         from transactions p
         join entries e using (ledger_id, transaction_sequence)
        where p.ledger_id = h.ledger_id and p.partially_posts_sequence = h.transaction_sequence) x
 group by h.ledger_id, h.transaction_sequence, x.account_sequence, x.direction
having sum(x.amount) <> 0;

-- rule: I7, a part is posted, by the record after that which lowered its hold, before the hold had expired
select p.*
  from transactions p
  left join transactions h on h.ledger_id = p.ledger_id and h.transaction_sequence = p.partially_posts_sequence
  left join log l on l.ledger_id = p.ledger_id and l.sequence = p.transaction_sequence - 1
 where p.partially_posts_sequence is not null
   and (p.status = 'posted' and l.object_sequence = h.transaction_sequence and h.reverses_sequence is null
        and (h.expires_at is null or p.posted_at < h.expires_at)) is not true;

-- rule: I7, nothing was posted after its time, nothing expired before it, and what expired was held until then
select t.*, e.early
  from transactions t
 cross join lateral (
       select count(*) filter (where d.entry is null or d.discarded_at < t.expires_at or e.status <> 'pending') as early
         from entries e
         left join discards d using (ledger_id, entry)
        where e.ledger_id = t.ledger_id and e.transaction_sequence = t.transaction_sequence
          and e.entry >> 10 = t.entries_sequence) e
 where t.posted_at >= t.expires_at
    or t.archived_reason = 'expired' and (t.expires_at is not null and e.early = 0) is not true;

-- rule: I4, what was archived because a balance lock failed never counted
select t.*
  from transactions t
  join entries e using (ledger_id, transaction_sequence)
 where t.archived_reason = 'balance_lock_failure' and (e.status <> 'archived' or e.lock_version is not null);

-- rule: I8, a transaction has at most one reversal that is not archived
select ledger_id, reverses_sequence, count(*)
  from transactions
 where reverses_sequence is not null and status <> 'archived'
 group by ledger_id, reverses_sequence
having count(*) > 1;

-- rule: I8, only posted transactions are reversed
select r.*
  from transactions r
  left join transactions t on t.ledger_id = r.ledger_id and t.transaction_sequence = r.reverses_sequence
 where r.reverses_sequence is not null and t.status is distinct from 'posted';

-- rule: a balance monitor that is not discarded is triggered exactly while its condition holds, and its account watched
select m.*, b.lock_version, b.is_monitored, v.amount
  from balance_monitors m
  join accounts a using (ledger_id, account_sequence)
  join balances b using (ledger_id, account_sequence)
 cross join lateral (
       select b.posted_credits - b.posted_debits as posted,
              b.posted_credits + b.pending_credits - b.posted_debits - b.pending_debits as pending,
              b.posted_credits - b.posted_debits
              + case a.normal_balance when 'debit' then b.pending_credits else -b.pending_debits end as available) c
 cross join lateral (
       select case m.field
              when 'ledger_account_lock_version' then b.lock_version
              else case a.normal_balance when 'debit' then -1 else 1 end
                   * case m.field
                     when 'posted_balance_amount' then c.posted
                     when 'pending_balance_amount' then c.pending
                     when 'available_balance_amount' then c.available end
              end as amount) v
 where m.discarded_at is null
   and (b.is_monitored
        and m.is_triggered = (sign(v.amount - m.value) = any(case m.operator
                                when 'less_than' then array[-1]
                                when 'less_than_or_equals' then array[-1, 0]
                                when 'equals' then array[0]
                                when 'greater_than_or_equals' then array[0, 1]
                                when 'greater_than' then array[1] end))) is not true;

-- rule: an account without monitors is not watched
select b.*
  from balances b
 where b.is_monitored
   and not exists (select from balance_monitors m
                    where m.ledger_id = b.ledger_id and m.account_sequence = b.account_sequence
                      and m.discarded_at is null);

-- rule: I11, a statement says what the entries in force at its lock version say, before each of its bounds
select s.*, f.*
  from account_statements s
 cross join lateral (
       select array[s.starting_posted_credits, s.starting_posted_debits, s.starting_pending_credits,
                    s.starting_pending_debits] as starting,
              array[s.ending_posted_credits, s.ending_posted_debits, s.ending_pending_credits,
                    s.ending_pending_debits] as ending) told
 cross join unnest(array[s.effective_at_lower_bound, s.effective_at_upper_bound],
                   array[told.starting::text, told.ending::text]) as p (bound, sums)
 cross join lateral (
       select array[coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'credit'), 0),
                    coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'debit'), 0),
                    coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'credit'), 0),
                    coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'debit'), 0)] as folded
         from entries e
         left join discards d using (ledger_id, entry)
        where e.ledger_id = s.ledger_id and e.account_sequence = s.account_sequence
          and e.lock_version <= s.lock_version and (d.lock_version > s.lock_version or d.entry is null)
          and e.effective_at < p.bound) f
 where f.folded::text <> p.sums;

-- rule: I14, no entry names another ledger's account
select e.*
  from entries e
  left join accounts a using (ledger_id, account_sequence)
  left join balances b using (ledger_id, account_sequence)
 where a.account_sequence is null or b.account_sequence is null;

-- rule: settlements, the net of one is that of its entries, and the amount of one that is settled is its net
select s.*, x.net as net_of_entries
  from settlements s
 cross join lateral (
       select coalesce(sum(case e.direction when 'credit' then e.amount else -e.amount end), 0) as net
         from settled_entries x
         join entries e using (ledger_id, entry)
        where x.ledger_id = s.ledger_id and x.settlement_sequence = s.settlement_sequence) x
 where s.net <> x.net or (s.status in ('pending', 'posted') and s.amount is distinct from abs(x.net));

-- rule: settlements, what is settled is a posted entry of the account that no settlement wrote, within the bounds
select x.*
  from settled_entries x
  left join settlements s using (ledger_id, settlement_sequence)
  left join entries e using (ledger_id, entry)
  left join transactions t on t.ledger_id = e.ledger_id and t.transaction_sequence = e.transaction_sequence
 where (e.status = 'posted' and e.account_sequence = s.settled_account_sequence and t.settlement_sequence is null
        and s.status <> 'archived' and (s.lock_version is null
        or e.lock_version <= s.lock_version and e.effective_at < s.effective_at_upper_bound)) is not true;

-- rule: settlements, up to the mark of an account every posted entry is settled or was written by a settlement
select m.*, e.entry
  from settled_accounts m
  join entries e using (ledger_id, account_sequence)
  join transactions t using (ledger_id, transaction_sequence)
  left join settled_entries x on x.ledger_id = e.ledger_id and x.entry = e.entry
 where e.status = 'posted' and e.lock_version <= m.swept_lock_version
   and t.settlement_sequence is null and x.entry is null;

-- rule: settlements, one and its transaction name each other, go through life together and move the same
select s.ledger_id, s.settlement_sequence, s.status, t.transaction_sequence, t.status
  from settlements s
  full join transactions t
    on t.ledger_id = s.ledger_id and t.settlement_sequence = s.settlement_sequence
   and t.transaction_sequence = s.transaction_sequence
 where s.transaction_sequence is not null and t.transaction_sequence is null
    or t.settlement_sequence is not null and s.settlement_sequence is null
    or t.settlement_sequence is not null and (
       t.status::text <> case s.status when 'archiving' then 'archived' else s.status::text end
       or s.amount is distinct from (
           select sum(e.amount) from entries e
            where e.ledger_id = t.ledger_id and e.entry >> 10 = t.entries_sequence
              and e.account_sequence = s.settled_account_sequence and e.direction = s.direction)
       or s.amount is distinct from (
           select sum(e.amount) from entries e
            where e.ledger_id = t.ledger_id and e.entry >> 10 = t.entries_sequence
              and e.account_sequence = s.contra_account_sequence and e.direction <> s.direction));

-- read: log
select ledger_id, sequence, object_sequence, recorded_at, kind, event, payload, texts
  from log
 order by ledger_id, sequence;

-- read: payloads
select ledger_id, payload from log order by ledger_id, sequence;

-- read: trees
select ledger_id, root, frontier from ledger_heads;

-- read: nodes
select ledger_id, level, place, hash from log_nodes;

-- read: ledgers
select ledger_id, name, description, metadata::text, discarded_at is not null
  from ledgers
  join ledger_heads using (ledger_id);

-- read: accounts
-- Those of a discarded ledger are discarded with it, by the ledger's record and not by their own.
select a.ledger_id, account_sequence, name, description, currency, currency_exponent, normal_balance::text,
       external_id, ledgerable_type, ledgerable_id, metadata::text,
       a.discarded_at is not null and a.discarded_at is distinct from h.discarded_at
  from accounts a
  join ledger_heads h using (ledger_id);

-- read: transactions
select ledger_id, transaction_sequence, version, status::text, effective_at, description,
       external_id, ledgerable_type, ledgerable_id, archived_reason, reverses_sequence,
       partially_posts_sequence, settlement_sequence, expires_at, coalesce(metadata, '{}')::text
  from transactions;

-- read: posting_times
select ledger_id, transaction_sequence, posted_at from transactions where posted_at is not null;

-- read: entries
select ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at, effective_at,
       direction::text, status::text, amount::text
  from entries;

-- read: settlements
select ledger_id, settlement_sequence, settled_account_sequence, contra_account_sequence, status::text, becomes::text,
       lock_version, effective_at_upper_bound, allow_either_direction, skip_transaction, transaction_sequence,
       amount::text, case direction when 'debit' then 0 when 'credit' then 1 end, description, metadata::text
  from settlements;

-- read: settled_entries
-- Those of a settlement that is archiving belong to none, though they are still to be freed.
select x.ledger_id, x.entry, x.settlement_sequence
  from settled_entries x
  join settlements s using (ledger_id, settlement_sequence)
 where s.status <> 'archiving';

-- read: entry_metadata
select ledger_id, entry, metadata::text
  from entry_metadata;

-- read: categories
select ledger_id, category_sequence, name, description, currency, currency_exponent, normal_balance::text, external_id,
       metadata::text, discarded_at is not null
  from categories;

-- read: category_parents
select ledger_id, child_sequence, array_agg(parent_sequence order by parent_sequence)
  from category_edges
 group by ledger_id, child_sequence;

-- read: account_categories
select ledger_id, account_sequence, categories
  from balances
  join category_sets using (ledger_id, category_set);

-- read: monitors
select ledger_id, monitor_sequence, account_sequence, field::text, operator::text, value::text, is_triggered, description,
       discarded_at is not null, metadata::text
  from balance_monitors;

-- read: statements
select ledger_id, statement_sequence, account_sequence, lock_version, effective_at_lower_bound,
       effective_at_upper_bound,
       array[starting_posted_credits::text, starting_posted_debits::text, starting_pending_credits::text,
             starting_pending_debits::text],
       array[ending_posted_credits::text, ending_posted_debits::text, ending_pending_credits::text,
             ending_pending_debits::text],
       description, created_at, metadata::text
  from account_statements;
