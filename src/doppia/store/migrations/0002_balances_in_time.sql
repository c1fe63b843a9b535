-- Balances in time: as of a lock version, as known at a recorded time, over what is effective by a time.
--
-- The balance after a lock version stands in the step that made it. For the balance at an effective time, entries are
-- summed in buckets of time: one of 2^52 microseconds (143 years) that holds more than 512 entries is split into
-- sixteen of 2^48, and so on down to a single microsecond. Every 512 steps of an account are taken into its buckets at
-- once, and those they touch are written anew beside what they were before, so that a balance as of an old version is
-- read like that of today. What came after the last multiple of 512 is added up when it is asked for. So an account
-- with few entries has no buckets, a busy one pays for them once in 512 steps, and a balance costs the same whether an
-- account has ten thousand entries or ten million. ADR 10.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create table effective_sums (
    ledger_id bigint not null,
    account_sequence bigint not null,
    width_shift smallint not null,
    bucket bigint not null,
    lock_version bigint not null check (lock_version % 512 = 0),
    entries bigint not null,
    steps bigint not null,
    is_split boolean not null,
    posted_credits numeric not null,
    posted_debits numeric not null,
    pending_credits numeric not null,
    pending_debits numeric not null,
    primary key (ledger_id, account_sequence, width_shift, bucket, lock_version)
);
comment on table effective_sums is 'What an account''s entries in force sum to, by the time at which they are effective.';
comment on column effective_sums.bucket is 'Microseconds since 1970 >> width_shift.';
comment on column effective_sums.lock_version is 'As of which; a newer row of the same bucket supersedes it for newer versions.';
comment on column effective_sums.entries is 'How many are effective in it, those discarded since included.';
comment on column effective_sums.steps is 'How many of the account''s steps were recorded in it.';
alter table effective_sums alter ledger_id set (n_distinct = 2);
alter table effective_sums alter account_sequence set (n_distinct = 10);
create trigger refuse_change before update or delete on effective_sums for each row execute function refuse_change();
create trigger refuse_truncate before truncate on effective_sums execute function refuse_truncate();

create function microseconds_of(at timestamptz) returns bigint language sql immutable strict as $$
    select (extract(epoch from at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint
$$;

-- By the hour, for an interval times a number is exact only as far as a double is.
create function time_of(microseconds bigint) returns timestamptz language sql immutable strict as $$
    select timestamptz '1970-01-01 00:00:00+00' + microseconds / 3600000000 * interval '1 hour'
           + microseconds % 3600000000 * interval '1 microsecond'
$$;

-- The lock version that an account had at a recorded time, 0 before its first step. Times never decrease along an
-- account, and every version is one step, so the search halves.
create function account_version(of_ledger bigint, of_account bigint, at timestamptz) returns bigint
    language plpgsql stable set plan_cache_mode = force_generic_plan as $$
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

-- What entries and discards did to an account's sums after one lock version, up to another: when each was recorded and
-- when it is effective, whether it is an entry, and whether it is a step.
create function account_steps(of_ledger bigint, of_account bigint, after_version bigint, to_version bigint)
    returns table (recorded_at timestamptz, effective_at timestamptz, entries integer, steps integer,
                   posted_credits numeric, posted_debits numeric, pending_credits numeric, pending_debits numeric)
    language sql stable as $$
    select e.created_at, e.effective_at, 1, 1,
           case when e.status = 'posted' and e.direction = 'credit' then e.amount else 0 end,
           case when e.status = 'posted' and e.direction = 'debit' then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'credit' then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'debit' then e.amount else 0 end
      from entries e
     where e.ledger_id = of_ledger and e.account_sequence = of_account
       and e.lock_version > after_version and e.lock_version <= to_version
    union all
    select d.discarded_at, e.effective_at, 0, (d.posted_credits is not null)::integer, 0, 0,
           case when e.direction = 'credit' then -e.amount else 0 end,
           case when e.direction = 'debit' then -e.amount else 0 end
      from discards d
      join entries e on e.ledger_id = d.ledger_id and e.entry = d.entry
     where d.ledger_id = of_ledger and d.account_sequence = of_account
       and d.lock_version > after_version and d.lock_version <= to_version
$$;

-- The entries of an account as of a lock version that are effective from one time on, before another, each with what of
-- it is in force. The steps that were recorded between these times are those after one version, up to another; among
-- them are the entries effective when they were recorded, and all others have an index.
create function account_entries(of_ledger bigint, of_account bigint, at_version bigint, from_time timestamptz,
                                before_time timestamptz, after_version bigint, to_version bigint)
    returns table (effective_at timestamptz, posted_credits numeric, posted_debits numeric, pending_credits numeric,
                   pending_debits numeric) language sql stable as $$
    select e.effective_at,
           case when e.status = 'posted' and e.direction = 'credit' then e.amount else 0 end,
           case when e.status = 'posted' and e.direction = 'debit' then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'credit' and d.entry is null then e.amount else 0 end,
           case when e.status = 'pending' and e.direction = 'debit' and d.entry is null then e.amount else 0 end
      from (select o.ledger_id, o.entry, o.effective_at, o.status, o.direction, o.amount
              from entries o
             where o.ledger_id = of_ledger and o.account_sequence = of_account and o.effective_at <> o.created_at
               and o.effective_at >= from_time and o.effective_at < before_time and o.lock_version <= at_version
            union all
            select i.ledger_id, i.entry, i.effective_at, i.status, i.direction, i.amount
              from entries i
             where i.ledger_id = of_ledger and i.account_sequence = of_account and i.effective_at = i.created_at
               and i.effective_at >= from_time and i.effective_at < before_time
               and i.lock_version > after_version and i.lock_version <= to_version) e
      left join discards d on d.ledger_id = e.ledger_id and d.entry = e.entry and d.lock_version <= at_version
$$;

create type effective_point as (
    at bigint, entries bigint, steps bigint, posted_credits numeric, posted_debits numeric, pending_credits numeric,
    pending_debits numeric
);
comment on type effective_point is 'What is effective, and how many steps were recorded, at one microsecond since 1970.';

-- Divides buckets of one width that have just been split, as of a lock version, and those in them that are to be split
-- in their turn: what is in them, little more than the steps that split them, is read once.
create function split_buckets(of_ledger bigint, of_account bigint, to_version bigint, of_shift smallint,
                              of_buckets bigint[]) returns void language plpgsql
    set plan_cache_mode = force_generic_plan as $$
declare
    shift smallint := of_shift - 4;
    points effective_point[];
begin
    select array_agg(row(p.at, p.entries, p.steps, p.posted_credits, p.posted_debits, p.pending_credits,
                         p.pending_debits)::effective_point) into points
      from (select t.at, sum(t.entries) as entries, sum(t.steps) as steps, sum(t.posted_credits) as posted_credits,
                   sum(t.posted_debits) as posted_debits, sum(t.pending_credits) as pending_credits,
                   sum(t.pending_debits) as pending_debits
              from unnest(of_buckets) as n (bucket)
             cross join lateral (
                   select time_of(n.bucket << of_shift) as from_time,
                          time_of((n.bucket + 1) << of_shift) as before_time) w
             cross join lateral (
                   select account_version(of_ledger, of_account, w.from_time - interval '1 microsecond')
                              as after_version,
                          least(to_version, account_version(of_ledger, of_account,
                                                            w.before_time - interval '1 microsecond')) as last_version
                   offset 0) v
             cross join lateral (
                   select microseconds_of(e.effective_at) as at, 1 as entries, 0 as steps, e.posted_credits,
                          e.posted_debits, e.pending_credits, e.pending_debits
                     from account_entries(of_ledger, of_account, to_version, w.from_time, w.before_time,
                                          v.after_version, v.last_version) e
                    union all
                   select microseconds_of(s.recorded_at), 0, s.steps, 0, 0, 0, 0
                     from account_steps(of_ledger, of_account, v.after_version, v.last_version) s) t
             group by t.at) p;
    while cardinality(points) > 0 loop
        with written as (
            insert into effective_sums (ledger_id, account_sequence, width_shift, bucket, lock_version, entries, steps,
                                        is_split, posted_credits, posted_debits, pending_credits, pending_debits)
            select of_ledger, of_account, shift, p.at >> shift, to_version, sum(p.entries), sum(p.steps),
                   shift > 0 and greatest(sum(p.entries), sum(p.steps)) > 512, sum(p.posted_credits),
                   sum(p.posted_debits), sum(p.pending_credits), sum(p.pending_debits)
              from unnest(points) p
             group by p.at >> shift
            returning bucket, is_split)
        select array_agg(p) into points
          from unnest(points) p
         where p.at >> shift in (select bucket from written where is_split);
        shift := shift - 4;
    end loop;
end $$;

-- Takes the 512 steps of an account up to a lock version into its buckets.
create function fold_steps(of_ledger bigint, of_account bigint, to_version bigint) returns void language plpgsql
    set plan_cache_mode = force_generic_plan as $$
declare
    points effective_point[];
    narrowest smallint;
    just_split record;
begin
    select array_agg(row(p.at, p.entries, p.steps, p.posted_credits, p.posted_debits, p.pending_credits,
                         p.pending_debits)::effective_point) into points
      from (select v.at, sum(v.entries) as entries, sum(v.steps) as steps, sum(v.posted_credits) as posted_credits,
                   sum(v.posted_debits) as posted_debits, sum(v.pending_credits) as pending_credits,
                   sum(v.pending_debits) as pending_debits
              from account_steps(of_ledger, of_account, to_version - 512, to_version) s
             cross join lateral (
                   select microseconds_of(s.effective_at), s.entries,
                          case when s.effective_at = s.recorded_at then s.steps else 0 end,
                          s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits
                    union all
                   select microseconds_of(s.recorded_at), 0, s.steps, 0, 0, 0, 0
                    where s.effective_at <> s.recorded_at) v (at, entries, steps, posted_credits, posted_debits,
                                                              pending_credits, pending_debits)
             group by v.at) p;
    select s.width_shift into narrowest
      from effective_sums s
     where s.ledger_id = of_ledger and s.account_sequence = of_account
     order by s.width_shift
     limit 1;
    for just_split in
        with grown as materialized (
            -- What was there, and what these steps add, where there is a bucket: of the widest, where there was one
            -- before, and in those that were split before.
            select a.width_shift, a.bucket, o.is_split is true as was_split,
                   coalesce(o.entries, 0) + a.entries as entries, coalesce(o.steps, 0) + a.steps as steps,
                   coalesce(o.posted_credits, 0) + a.posted_credits as posted_credits,
                   coalesce(o.posted_debits, 0) + a.posted_debits as posted_debits,
                   coalesce(o.pending_credits, 0) + a.pending_credits as pending_credits,
                   coalesce(o.pending_debits, 0) + a.pending_debits as pending_debits
              from (select w.shift as width_shift, p.at >> w.shift as bucket, sum(p.entries) as entries,
                           sum(p.steps) as steps, sum(p.posted_credits) as posted_credits,
                           sum(p.posted_debits) as posted_debits, sum(p.pending_credits) as pending_credits,
                           sum(p.pending_debits) as pending_debits
                      from unnest(points) p
                     cross join generate_series(coalesce(narrowest, 52), 52, 4) as w (shift)
                     group by 1, 2) a
              left join lateral (
                   select s.* from effective_sums s
                    where s.ledger_id = of_ledger and s.account_sequence = of_account and s.width_shift = a.width_shift
                      and s.bucket = a.bucket and s.lock_version < to_version
                    order by s.lock_version desc
                    limit 1) o on true
             where a.width_shift = 52 or o.bucket is not null or (
                   select s.is_split from effective_sums s
                    where s.ledger_id = of_ledger and s.account_sequence = of_account
                      and s.width_shift = a.width_shift + 4 and s.bucket = a.bucket >> 4 and s.lock_version < to_version
                    order by s.lock_version desc
                    limit 1)
        ), written as (
            insert into effective_sums (ledger_id, account_sequence, width_shift, bucket, lock_version, entries, steps,
                                        is_split, posted_credits, posted_debits, pending_credits, pending_debits)
            select of_ledger, of_account, g.width_shift, g.bucket, to_version, g.entries, g.steps,
                   g.width_shift > 0 and greatest(g.entries, g.steps) > 512, g.posted_credits, g.posted_debits,
                   g.pending_credits, g.pending_debits
              from grown g
        )
        select g.width_shift, array_agg(g.bucket) as buckets
          from grown g
         where not g.was_split and g.width_shift > 0 and greatest(g.entries, g.steps) > 512
         group by g.width_shift
    loop
        perform split_buckets(of_ledger, of_account, to_version, just_split.width_shift::smallint, just_split.buckets);
    end loop;
end $$;

create function fold_effective_sums() returns trigger language plpgsql as $$
declare
    due record;
begin
    -- Versions only grow, by `balances_follow_entries`: each that passes a multiple makes these two differ.
    if (select sum(lock_version / 512) from before) = (select sum(lock_version / 512) from after) then
        return null;
    end if;
    for due in
        select m.ledger_id, m.account_sequence, v.lock_version
          from (select c.ledger_id, c.account_sequence, min(c.lock_version) as from_version,
                       max(c.lock_version) as to_version
                  from (select ledger_id, account_sequence, lock_version from before
                        union all
                        select ledger_id, account_sequence, lock_version from after) c
                 group by c.ledger_id, c.account_sequence) m
         cross join lateral generate_series((m.from_version / 512 + 1) * 512, m.to_version, 512) as v (lock_version)
         order by m.ledger_id, m.account_sequence, v.lock_version
    loop
        perform fold_steps(due.ledger_id, due.account_sequence, due.lock_version);
    end loop;
    return null;
end $$;
create trigger fold_effective_sums after update on balances
    referencing old table as before new table as after for each statement execute function fold_effective_sums();

-- The four sums of an account as of a lock version, over the entries that are effective before a time.
create function sums_before(of_ledger bigint, of_account bigint, at_version bigint, before_time timestamptz,
                            out posted_credits numeric, out posted_debits numeric, out pending_credits numeric,
                            out pending_debits numeric) language plpgsql stable
    set plan_cache_mode = force_generic_plan as $$
declare
    at constant bigint := microseconds_of(before_time);
    folded constant bigint := at_version / 512 * 512;
    shift smallint := 52;
    steps_before bigint := 0;
    steps_reached bigint;
    is_split boolean;
begin
    posted_credits := 0; posted_debits := 0; pending_credits := 0; pending_debits := 0;
    while folded > 0 loop
        -- The buckets before the one that holds the time, and that one; 64 times 143 years ago there was no calendar.
        select sums_before.posted_credits + coalesce(sum(s.posted_credits) filter (where s.bucket < at >> shift), 0),
               sums_before.posted_debits + coalesce(sum(s.posted_debits) filter (where s.bucket < at >> shift), 0),
               sums_before.pending_credits + coalesce(sum(s.pending_credits) filter (where s.bucket < at >> shift), 0),
               sums_before.pending_debits + coalesce(sum(s.pending_debits) filter (where s.bucket < at >> shift), 0),
               steps_before + coalesce(sum(s.steps) filter (where s.bucket < at >> shift), 0),
               max(s.steps) filter (where s.bucket = at >> shift),
               bool_or(s.is_split) filter (where s.bucket = at >> shift)
          into posted_credits, posted_debits, pending_credits, pending_debits, steps_before, steps_reached, is_split
          from generate_series(case shift when 52 then -64 else (at >> (shift + 4)) << 4 end, at >> shift) as b (bucket)
         cross join lateral (
               select t.* from effective_sums t
                where t.ledger_id = of_ledger and t.account_sequence = of_account and t.width_shift = shift
                  and t.bucket = b.bucket and t.lock_version <= folded
                order by t.lock_version desc
                limit 1) s;
        if not is_split and shift > 0 then
            select sums_before.posted_credits + coalesce(sum(e.posted_credits), 0),
                   sums_before.posted_debits + coalesce(sum(e.posted_debits), 0),
                   sums_before.pending_credits + coalesce(sum(e.pending_credits), 0),
                   sums_before.pending_debits + coalesce(sum(e.pending_debits), 0)
              into posted_credits, posted_debits, pending_credits, pending_debits
              from account_entries(of_ledger, of_account, folded, time_of((at >> shift) << shift), before_time,
                                   steps_before, steps_before + steps_reached) e;
        end if;
        exit when is_split is not true;
        shift := shift - 4;
    end loop;
    select sums_before.posted_credits + coalesce(sum(s.posted_credits), 0),
           sums_before.posted_debits + coalesce(sum(s.posted_debits), 0),
           sums_before.pending_credits + coalesce(sum(s.pending_credits), 0),
           sums_before.pending_debits + coalesce(sum(s.pending_debits), 0)
      into posted_credits, posted_debits, pending_credits, pending_debits
      from account_steps(of_ledger, of_account, folded, at_version) s
     where s.effective_at < before_time;
end $$;

-- The four sums of an account as of a lock version, over the entries that are effective from one time on, before
-- another; null sets no bound.
create function sums_between(of_ledger bigint, of_account bigint, at_version bigint, from_time timestamptz,
                             before_time timestamptz, out posted_credits numeric, out posted_debits numeric,
                             out pending_credits numeric, out pending_debits numeric) language plpgsql stable as $$
declare
    earlier record;
begin
    if before_time is null then
        select s.* into posted_credits, posted_debits, pending_credits, pending_debits
          from sums_at_version(of_ledger, of_account, at_version) s;
    else
        select s.* into posted_credits, posted_debits, pending_credits, pending_debits
          from sums_before(of_ledger, of_account, at_version, before_time) s;
    end if;
    if from_time is not null then
        select s.* into earlier from sums_before(of_ledger, of_account, at_version, from_time) s;
        posted_credits := posted_credits - earlier.posted_credits;
        posted_debits := posted_debits - earlier.posted_debits;
        pending_credits := pending_credits - earlier.pending_credits;
        pending_debits := pending_debits - earlier.pending_debits;
    end if;
end $$;
