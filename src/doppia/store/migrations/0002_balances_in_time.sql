-- Balances in time: at a recorded time, and at an effective time whatever was written out of order.
--
-- The balance after a lock version stands in the step that made it. The balance at an effective time is kept as sums over
-- buckets of time that grow finer where an account's entries are dense: a bucket of 2^48 microseconds (nine years) that
-- holds more than 512 entries is split into 256 buckets of 2^40, these into 2^32, 2^24 and at last 2^16 (65 ms). Buckets
-- take an account's steps 512 at a time; what came after the last multiple of 512 is added up when it is asked for. So
-- an account with few entries has no buckets, a busy one pays for them once in 512 steps, and a balance costs the same
-- whether an account has ten thousand entries or ten million. ADR 10.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create table effective_sums (
    ledger_id bigint not null,
    account_sequence bigint not null,
    width_shift smallint not null,
    bucket bigint not null,
    entries bigint not null,
    is_split boolean not null,
    posted_credits numeric not null,
    posted_debits numeric not null,
    pending_credits numeric not null,
    pending_debits numeric not null,
    primary key (ledger_id, account_sequence, width_shift, bucket)
) with (fillfactor = 70);
comment on table effective_sums is 'Of an account''s steps up to the last multiple of 512: what entries in force sum to, by time at which they are effective.';
comment on column effective_sums.bucket is 'Microseconds since 1970 >> width_shift.';
comment on column effective_sums.entries is 'How many were written into it, those discarded since included.';
alter table effective_sums alter ledger_id set (n_distinct = 2);
alter table effective_sums alter account_sequence set (n_distinct = 10);

create function microseconds_of(at timestamptz) returns bigint language sql immutable strict as $$
    select (extract(epoch from at) * 1000000)::bigint
$$;

-- The lock version that an account had at a recorded time, 0 before its first step. Times never decrease along an
-- account, and every version is one step, so the search halves.
create function account_version(of_ledger bigint, of_account bigint, at timestamptz) returns bigint
    language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint;
    middle bigint;
    stepped_at timestamptz;
begin
    select lock_version + 1 into high from balances where ledger_id = of_ledger and account_sequence = of_account;
    while high - low > 1 loop
        middle := (low + high) / 2;
        select e.created_at into stepped_at
          from entries e
         where e.ledger_id = of_ledger and e.account_sequence = of_account and e.lock_version = middle;
        if not found then
            select d.discarded_at into strict stepped_at
              from discards d
             where d.ledger_id = of_ledger and d.account_sequence = of_account and d.lock_version = middle
               and d.posted_credits is not null;
        end if;
        if stepped_at <= at then
            low := middle;
        else
            high := middle;
        end if;
    end loop;
    return low;
end $$;

-- What the steps of an account after one lock version, up to another, added to its sums or took from them, and when it
-- is effective.
create function account_steps(of_ledger bigint, of_account bigint, after_version bigint, to_version bigint)
    returns table (effective_at timestamptz, entries integer, posted_credits numeric, posted_debits numeric,
                   pending_credits numeric, pending_debits numeric) language sql stable as $$
    select e.effective_at, 1,
           case when e.status = 'posted' and e.direction = 'credit' then e.amount else 0 end,
           case when e.status = 'posted' and e.direction = 'debit' then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'credit' then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'debit' then e.amount else 0 end
      from entries e
     where e.ledger_id = of_ledger and e.account_sequence = of_account
       and e.lock_version > after_version and e.lock_version <= to_version
    union all
    select e.effective_at, 0, 0, 0,
           case when e.direction = 'credit' then -e.amount else 0 end,
           case when e.direction = 'debit' then -e.amount else 0 end
      from discards d
      join entries e on e.ledger_id = d.ledger_id and e.entry = d.entry
     where d.ledger_id = of_ledger and d.account_sequence = of_account
       and d.lock_version > after_version and d.lock_version <= to_version
$$;

-- The entries of an account that were in force at a lock version and are effective from one time on, before another.
create function account_entries(of_ledger bigint, of_account bigint, to_version bigint, from_time timestamptz,
                                before_time timestamptz)
    returns table (effective_at timestamptz, entries integer, posted_credits numeric, posted_debits numeric,
                   pending_credits numeric, pending_debits numeric) language sql stable as $$
    select e.effective_at, 1,
           case when e.status = 'posted' and e.direction = 'credit' then e.amount else 0 end,
           case when e.status = 'posted' and e.direction = 'debit' then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'credit' and d.entry is null then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'debit' and d.entry is null then e.amount else 0 end
      from (select o.ledger_id, o.entry, o.effective_at, o.status, o.direction, o.amount
              from entries o
             where o.ledger_id = of_ledger and o.account_sequence = of_account and o.effective_at <> o.created_at
               and o.effective_at >= from_time and o.effective_at < before_time and o.lock_version <= to_version
            union all
            select i.ledger_id, i.entry, i.effective_at, i.status, i.direction, i.amount
              from entries i
             where i.ledger_id = of_ledger and i.account_sequence = of_account and i.effective_at = i.created_at
               and i.lock_version > account_version(of_ledger, of_account, from_time - interval '1 microsecond')
               and i.lock_version <= least(
                   to_version, account_version(of_ledger, of_account, before_time - interval '1 microsecond'))) e
      left join discards d on d.ledger_id = e.ledger_id and d.entry = e.entry and d.lock_version <= to_version
$$;

-- Takes the steps of an account after one multiple of 512, up to another, into its buckets.
create function fold_steps(of_ledger bigint, of_account bigint, after_version bigint, to_version bigint) returns void
    language plpgsql as $$
declare
    epoch constant timestamptz := '1970-01-01 00:00:00+00';
    shift smallint := 48;
    parents bigint[];
    new_parents bigint[] := '{}';
begin
    loop
        insert into effective_sums as s (ledger_id, account_sequence, width_shift, bucket, entries, is_split,
                                         posted_credits, posted_debits, pending_credits, pending_debits)
        select of_ledger, of_account, shift, microseconds_of(t.effective_at) >> shift, sum(t.entries), false,
               sum(t.posted_credits), sum(t.posted_debits), sum(t.pending_credits), sum(t.pending_debits)
          from account_steps(of_ledger, of_account, after_version, to_version) t
         where parents is null or microseconds_of(t.effective_at) >> (shift + 8) = any(parents)
         group by 4
        on conflict (ledger_id, account_sequence, width_shift, bucket) do update
           set entries = s.entries + excluded.entries,
               posted_credits = s.posted_credits + excluded.posted_credits,
               posted_debits = s.posted_debits + excluded.posted_debits,
               pending_credits = s.pending_credits + excluded.pending_credits,
               pending_debits = s.pending_debits + excluded.pending_debits;
        -- What was split only now takes all that its parent holds, those steps included.
        insert into effective_sums (ledger_id, account_sequence, width_shift, bucket, entries, is_split,
                                    posted_credits, posted_debits, pending_credits, pending_debits)
        select of_ledger, of_account, shift, microseconds_of(t.effective_at) >> shift, sum(t.entries), false,
               sum(t.posted_credits), sum(t.posted_debits), sum(t.pending_credits), sum(t.pending_debits)
          from unnest(new_parents) as p (bucket)
         cross join account_entries(
               of_ledger, of_account, to_version,
               epoch + (p.bucket << (shift + 8)) * interval '1 microsecond',
               epoch + ((p.bucket + 1) << (shift + 8)) * interval '1 microsecond') t
         group by 4;
        exit when shift = 16;
        select coalesce(array_agg(s.bucket), '{}') into parents
          from effective_sums s
         where s.ledger_id = of_ledger and s.account_sequence = of_account and s.width_shift = shift and s.is_split
           and s.bucket = any(array(
               select distinct microseconds_of(t.effective_at) >> shift
                 from account_steps(of_ledger, of_account, after_version, to_version) t));
        with split as (
            update effective_sums s set is_split = true
             where s.ledger_id = of_ledger and s.account_sequence = of_account and s.width_shift = shift
               and not s.is_split and s.entries > 512
               and (s.bucket >> 8 = any(new_parents) or s.bucket = any(array(
                   select distinct microseconds_of(t.effective_at) >> shift
                     from account_steps(of_ledger, of_account, after_version, to_version) t)))
            returning s.bucket
        )
        select coalesce(array_agg(bucket), '{}') into new_parents from split;
        exit when cardinality(parents) + cardinality(new_parents) = 0;
        shift := shift - 8;
    end loop;
end $$;

create function fold_effective_sums() returns trigger language plpgsql set enable_hashjoin = on as $$
begin
    perform fold_steps(a.ledger_id, a.account_sequence, b.lock_version / 512 * 512, a.lock_version / 512 * 512)
       from after a
       join before b on b.ledger_id = a.ledger_id and b.account_sequence = a.account_sequence
      where a.lock_version / 512 > b.lock_version / 512;
    return null;
end $$;
create trigger fold_effective_sums after update on balances
    referencing old table as before new table as after for each statement execute function fold_effective_sums();

-- The four sums of an account as of a lock version, over the entries that are effective before a time.
create function sums_before(of_ledger bigint, of_account bigint, at_version bigint, before_time timestamptz,
                            out posted_credits numeric, out posted_debits numeric, out pending_credits numeric,
                            out pending_debits numeric) language plpgsql stable as $$
declare
    epoch constant timestamptz := '1970-01-01 00:00:00+00';
    at_microsecond constant bigint := microseconds_of(before_time);
    folded bigint;
    shift smallint := 48;
    first_bucket bigint := -9223372036854775808;
    reached record;
    part record;
begin
    select lock_version / 512 * 512 into folded from balances
     where ledger_id = of_ledger and account_sequence = of_account;
    posted_credits := 0; posted_debits := 0; pending_credits := 0; pending_debits := 0;
    if at_version < folded - at_version then
        -- Nearer to the beginning than to the buckets.
        folded := 0;
    end if;
    while folded > 0 loop
        select coalesce(sum(s.posted_credits), 0) as pc, coalesce(sum(s.posted_debits), 0) as pd,
               coalesce(sum(s.pending_credits), 0) as nc, coalesce(sum(s.pending_debits), 0) as nd into part
          from effective_sums s
         where s.ledger_id = of_ledger and s.account_sequence = of_account and s.width_shift = shift
           and s.bucket >= first_bucket and s.bucket < at_microsecond >> shift;
        posted_credits := posted_credits + part.pc; posted_debits := posted_debits + part.pd;
        pending_credits := pending_credits + part.nc; pending_debits := pending_debits + part.nd;
        select s.is_split into reached
          from effective_sums s
         where s.ledger_id = of_ledger and s.account_sequence = of_account and s.width_shift = shift
           and s.bucket = at_microsecond >> shift;
        exit when not found;
        if not reached.is_split then
            select coalesce(sum(t.posted_credits), 0) as pc, coalesce(sum(t.posted_debits), 0) as pd,
                   coalesce(sum(t.pending_credits), 0) as nc, coalesce(sum(t.pending_debits), 0) as nd into part
              from account_entries(of_ledger, of_account, folded,
                                   epoch + (at_microsecond >> shift << shift) * interval '1 microsecond',
                                   before_time) t;
            posted_credits := posted_credits + part.pc; posted_debits := posted_debits + part.pd;
            pending_credits := pending_credits + part.nc; pending_debits := pending_debits + part.nd;
            exit;
        end if;
        first_bucket := at_microsecond >> shift << 8;
        shift := shift - 8;
    end loop;
    select coalesce(sum(t.posted_credits), 0) as pc, coalesce(sum(t.posted_debits), 0) as pd,
           coalesce(sum(t.pending_credits), 0) as nc, coalesce(sum(t.pending_debits), 0) as nd into part
      from account_steps(of_ledger, of_account, least(folded, at_version), greatest(folded, at_version)) t
     where t.effective_at < before_time;
    if at_version < folded then
        part.pc := -part.pc; part.pd := -part.pd; part.nc := -part.nc; part.nd := -part.nd;
    end if;
    posted_credits := posted_credits + part.pc; posted_debits := posted_debits + part.pd;
    pending_credits := pending_credits + part.nc; pending_debits := pending_debits + part.nd;
end $$;

-- The four sums of an account as they stood after a lock version.
create function sums_at_version(of_ledger bigint, of_account bigint, at_version bigint,
                                out posted_credits numeric, out posted_debits numeric, out pending_credits numeric,
                                out pending_debits numeric) language sql stable as $$
    select coalesce(s.posted_credits, 0), coalesce(s.posted_debits, 0), coalesce(s.pending_credits, 0),
           coalesce(s.pending_debits, 0)
      from (select) nothing
      left join lateral (
           select e.posted_credits, e.posted_debits, e.pending_credits, e.pending_debits
             from entries e
            where e.ledger_id = of_ledger and e.account_sequence = of_account and e.lock_version = at_version
           union all
           select d.posted_credits, d.posted_debits, d.pending_credits, d.pending_debits
             from discards d
            where d.ledger_id = of_ledger and d.account_sequence = of_account and d.lock_version = at_version
              and d.posted_credits is not null) s on true
$$;
