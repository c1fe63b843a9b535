-- The chart of accounts: categories, the graph they form, and what the accounts in them sum to.
--
-- Accounts that are directly in the same categories share a category set, which keeps their sums. A category's balance
-- is that of the sets which hold it or a category below it: an account is in one set, so it counts once however many
-- paths lead to it, and neither a membership nor an edge costs more with the number of accounts. ADR 11.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create table categories (
    ledger_id bigint not null references ledgers,
    category_sequence bigint not null,
    name text not null,
    description text,
    currency text not null,
    currency_exponent smallint not null check (currency_exponent between 0 and 30),
    normal_balance direction not null,
    external_id text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    discarded_at timestamptz,
    primary key (ledger_id, category_sequence)
);
create unique index categories_external_id_key on categories (ledger_id, external_id)
    where external_id is not null and discarded_at is null;
create index categories_external_id_idx on categories (ledger_id, external_id) where external_id is not null;
create index categories_name_idx on categories (ledger_id, md5(name));
create index categories_metadata_idx on categories using gin (metadata jsonb_path_ops) where metadata <> '{}';

create table category_edges (
    ledger_id bigint not null,
    parent_sequence bigint not null,
    child_sequence bigint not null check (child_sequence <> parent_sequence),
    primary key (ledger_id, parent_sequence, child_sequence),
    foreign key (ledger_id, parent_sequence) references categories (ledger_id, category_sequence),
    foreign key (ledger_id, child_sequence) references categories (ledger_id, category_sequence)
);
comment on table category_edges is 'Of categories that are not discarded; a discard ends its edges.';
create index category_edges_child_idx on category_edges (ledger_id, child_sequence);

create function is_ascending(numbers bigint[]) returns boolean language sql immutable strict as $$
    select coalesce(bool_and(number < next), true)
      from (select number, lead(number) over (order by place) as next
              from unnest(numbers) with ordinality as n (number, place)) n
     where next is not null
$$;

create table category_sets (
    ledger_id bigint not null references ledgers,
    category_set bigint not null,
    categories bigint[] not null check (cardinality(categories) between 1 and 100 and is_ascending(categories)),
    posted_credits minor_units not null default 0,
    posted_debits minor_units not null default 0,
    pending_credits minor_units not null default 0,
    pending_debits minor_units not null default 0,
    primary key (ledger_id, category_set),
    unique (ledger_id, categories)
) with (fillfactor = 50);
comment on table category_sets is 'Accounts that are directly in exactly these categories, together.';
comment on column category_sets.category_set is 'Sequence of the log record that first made it.';
comment on column category_sets.categories is 'Sequences in ascending order; those discarded since are still named.';

create table category_set_members (
    ledger_id bigint not null,
    category_sequence bigint not null,
    category_set bigint not null,
    primary key (ledger_id, category_sequence, category_set),
    foreign key (ledger_id, category_sequence) references categories,
    foreign key (ledger_id, category_set) references category_sets
);
comment on table category_set_members is 'Which sets a category is named in.';

-- No account is in a set yet, so there is nothing to validate and next to nothing to index.
alter table balances add constraint balances_category_set_fkey
    foreign key (ledger_id, category_set) references category_sets not valid;
-- squawk-ignore require-concurrent-index-creation
create index balances_category_set_idx on balances (ledger_id, category_set, account_sequence)
    where category_set is not null;

do $$
declare
    name text;
begin
    foreach name in array array['categories', 'category_edges', 'category_sets', 'category_set_members'] loop
        execute format('alter table %I alter ledger_id set (n_distinct = 2)', name);
    end loop;
end $$;
-- And that a category is joined to few others, even where most are below one.
alter table category_edges alter parent_sequence set (n_distinct = -0.5);
alter table category_edges alter child_sequence set (n_distinct = -0.5);

-- The edges of a category, downwards and upwards. By the offset each category's own are looked up by an index; else all of
-- a ledger might be read and compared with each category.
create function edges_below(of_ledger bigint, of_category bigint)
    returns table (parent_sequence bigint, child_sequence bigint) language sql stable as $$
    select e.parent_sequence, e.child_sequence
      from category_edges e
     where e.ledger_id = of_ledger and e.parent_sequence = of_category
    offset 0
$$;
create function edges_above(of_ledger bigint, of_category bigint)
    returns table (parent_sequence bigint, child_sequence bigint) language sql stable as $$
    select e.parent_sequence, e.child_sequence
      from category_edges e
     where e.ledger_id = of_ledger and e.child_sequence = of_category
    offset 0
$$;

-- The sets whose accounts are in a category, directly or through categories below it. One that is discarded holds none.
create function sets_of_category(of_ledger bigint, of_category bigint) returns setof bigint language sql stable as $$
    with recursive below (category_sequence) as (
        select c.category_sequence
          from categories c
         where c.ledger_id = of_ledger and c.category_sequence = of_category and c.discarded_at is null
        union
        select e.child_sequence
          from below b
         cross join lateral edges_below(of_ledger, b.category_sequence) e
    )
    select distinct m.category_set
      from below b
     cross join lateral (
           select category_set from category_set_members
            where ledger_id = of_ledger and category_sequence = b.category_sequence
           offset 0) m
$$;

-- What the accounts of a category sum to.
create function category_sums(of_ledger bigint, of_category bigint)
    returns table (posted_credits numeric, posted_debits numeric, pending_credits numeric, pending_debits numeric)
    language sql stable as $$
    select coalesce(sum(s.posted_credits), 0), coalesce(sum(s.posted_debits), 0),
           coalesce(sum(s.pending_credits), 0), coalesce(sum(s.pending_debits), 0)
      from sets_of_category(of_ledger, of_category) as k (category_set)
      join category_sets s on s.ledger_id = of_ledger and s.category_set = k.category_set
$$;

-- What a set holds is named for each of its categories, once and by no other hand.
create function name_category_set_members() returns trigger language plpgsql as $$
begin
    insert into category_set_members (ledger_id, category_sequence, category_set)
    select new.ledger_id, category_sequence, new.category_set from unnest(new.categories) as category_sequence;
    return null;
end $$;
create trigger name_category_set_members after insert on category_sets
    for each row execute function name_category_set_members();

-- I2: what accounts in a set sum to changes with their balances and with their membership, by no other hand.
create function keep_category_sets() returns trigger language plpgsql as $$
begin
    if exists (select from after where category_set is not null)
       or exists (select from before where category_set is not null) then
        update category_sets s
           set posted_credits = s.posted_credits + d.posted_credits, posted_debits = s.posted_debits + d.posted_debits,
               pending_credits = s.pending_credits + d.pending_credits,
               pending_debits = s.pending_debits + d.pending_debits
          from (select c.ledger_id, c.category_set, sum(c.posted_credits) as posted_credits,
                       sum(c.posted_debits) as posted_debits, sum(c.pending_credits) as pending_credits,
                       sum(c.pending_debits) as pending_debits
                  from (select a.ledger_id, a.category_set, a.posted_credits, a.posted_debits, a.pending_credits,
                               a.pending_debits
                          from after a
                         where a.category_set is not null
                        union all
                        select b.ledger_id, b.category_set, -b.posted_credits, -b.posted_debits, -b.pending_credits,
                               -b.pending_debits
                          from before b
                         where b.category_set is not null) c
                 group by c.ledger_id, c.category_set) d
         where s.ledger_id = d.ledger_id and s.category_set = d.category_set;
    end if;
    return null;
end $$;
create trigger keep_category_sets after update on balances
    referencing old table as before new table as after for each statement execute function keep_category_sets();

create function check_category_sums() returns trigger language plpgsql as $$
begin
    raise exception 'what the accounts of set % of ledger % sum to follows from their balances alone',
        new.category_set, new.ledger_id
        using errcode = 'check_violation', constraint = 'category_sets_follow_balances', table = 'category_sets';
end $$;
create trigger check_sums_begin before insert on category_sets for each row
    when (new.posted_credits + new.posted_debits + new.pending_credits + new.pending_debits <> 0)
    execute function check_category_sums();
create trigger check_sums before update on category_sets for each row
    when (pg_trigger_depth() = 0 and
          (new.posted_credits, new.posted_debits, new.pending_credits, new.pending_debits) is distinct from
          (old.posted_credits, old.posted_debits, old.pending_credits, old.pending_debits))
    execute function check_category_sums();

-- An account and the categories it is in share a unit.
create function check_category_unit() returns trigger language plpgsql as $$
begin
    if exists (select
                 from accounts a
                 join category_sets s on s.ledger_id = new.ledger_id and s.category_set = new.category_set
                cross join lateral unnest(s.categories) as m (category_sequence)
                 join categories c on c.ledger_id = s.ledger_id and c.category_sequence = m.category_sequence
                where a.ledger_id = new.ledger_id and a.account_sequence = new.account_sequence
                  and (c.currency, c.currency_exponent) <> (a.currency, a.currency_exponent)) then
        raise exception 'account % of ledger % is of another unit than its category', new.account_sequence, new.ledger_id
            using errcode = 'check_violation', constraint = 'categories_hold_one_unit', table = 'balances';
    end if;
    return null;
end $$;
create trigger check_category_unit after insert or update of category_set on balances for each row
    when (new.category_set is not null) execute function check_category_unit();

-- Categories form no cycle, stand at most five deep, and an edge joins two of the same unit.
create function check_category_edges() returns trigger language plpgsql as $$
begin
    if exists (
        with recursive below (ledger_id, top, reached, depth) as (
            select ledger_id, parent_sequence, child_sequence, 2 from written
            union
            select b.ledger_id, b.top, e.child_sequence, b.depth + 1
              from below b
             cross join lateral edges_below(b.ledger_id, b.reached) e
             where b.depth < 6
        ), above (ledger_id, bottom, reached, depth) as (
            select ledger_id, parent_sequence, parent_sequence, 0 from written
            union
            select a.ledger_id, a.bottom, e.parent_sequence, a.depth + 1
              from above a
             cross join lateral edges_above(a.ledger_id, a.reached) e
             where a.depth < 6
        )
        select from below b
          join above a on a.ledger_id = b.ledger_id and a.bottom = b.top
         where a.depth + b.depth > 5 or b.reached = b.top)
       or exists (
        select from written w
          join categories p on p.ledger_id = w.ledger_id and p.category_sequence = w.parent_sequence
          join categories c on c.ledger_id = w.ledger_id and c.category_sequence = w.child_sequence
         where (p.currency, p.currency_exponent) <> (c.currency, c.currency_exponent)
            or p.discarded_at is not null or c.discarded_at is not null) then
        raise exception 'an edge closes a cycle, goes more than five deep, or joins two units'
            using errcode = 'check_violation', constraint = 'categories_form_a_graph', table = 'category_edges';
    end if;
    return null;
end $$;
create trigger check_category_edges after insert on category_edges
    referencing new table as written for each statement execute function check_category_edges();

-- A discarded category holds nothing and is in nothing, for good.
create function check_category_discard() returns trigger language plpgsql as $$
begin
    if exists (select from category_edges e
                where e.ledger_id = new.ledger_id
                  and (e.parent_sequence = new.category_sequence or e.child_sequence = new.category_sequence)) then
        raise exception 'category % of ledger % is discarded and still joined to others',
            new.category_sequence, new.ledger_id
            using errcode = 'check_violation', constraint = 'categories_end_with_their_edges', table = 'categories';
    end if;
    return new;
end $$;
create trigger check_category_discard before update on categories for each row
    when (old.discarded_at is null and new.discarded_at is not null) execute function check_category_discard();

create trigger check_identity before update on categories for each row
    when ((new.ledger_id, new.category_sequence, new.currency, new.currency_exponent, new.normal_balance, new.created_at)
          is distinct from
          (old.ledger_id, old.category_sequence, old.currency, old.currency_exponent, old.normal_balance, old.created_at)
          or (old.discarded_at is not null and new.discarded_at is distinct from old.discarded_at))
    execute function check_identity();
create trigger check_identity before update on category_edges for each row execute function check_identity();
create trigger check_identity before insert on category_set_members for each row
    when (pg_trigger_depth() = 0) execute function check_identity();
create trigger check_identity before update on category_sets for each row
    when ((new.ledger_id, new.category_set, new.categories) is distinct from
          (old.ledger_id, old.category_set, old.categories))
    execute function check_identity();
create trigger refuse_delete before delete on categories for each row execute function refuse_delete();
create trigger refuse_delete before delete on category_sets for each row execute function refuse_delete();
create trigger refuse_change before update or delete on category_set_members
    for each row execute function refuse_change();
create trigger refuse_truncate before truncate on categories execute function refuse_truncate();
create trigger refuse_truncate before truncate on category_edges execute function refuse_truncate();
create trigger refuse_truncate before truncate on category_sets execute function refuse_truncate();
create trigger refuse_truncate before truncate on category_set_members execute function refuse_truncate();
